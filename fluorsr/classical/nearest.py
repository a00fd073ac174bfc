"""The input itself on the output's grid, its pixels repeated: what the camera gave, and nothing else."""

from __future__ import annotations

from torch import Tensor

from fluorsr.restorer import RestorerSpec


class Nearest:
    """Restorer that repeats each pixel scale x scale times."""

    def __init__(self, scale: int = 2) -> None:
        self._spec = RestorerSpec(name=f"nearest-x{scale}", scale=scale)

    @property
    def spec(self) -> RestorerSpec:
        return self._spec

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer."""
        return tiles.repeat_interleave(self._spec.scale, -1).repeat_interleave(self._spec.scale, -2)
