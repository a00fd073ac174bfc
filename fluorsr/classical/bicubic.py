"""Bicubic interpolation: the input itself on the output's grid, and the yardstick that everything has to beat."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fluorsr.restorer import RestorerSpec


def upsample(images: Tensor, scale: int) -> Tensor:
    """Interpolate [B, C, Y, X] -> [B, C, scale * Y, scale * X]; pixel edges stay where they are."""
    if scale == 1:
        return images
    return functional.interpolate(images, scale_factor=scale, mode="bicubic", align_corners=False)


class Bicubic:
    """Restorer that only interpolates. Its kernel spans four input pixels: a halo of 2."""

    def __init__(self, scale: int = 2) -> None:
        self._spec = RestorerSpec(name=f"bicubic-x{scale}", scale=scale, halo=2 if scale > 1 else 0)

    @property
    def spec(self) -> RestorerSpec:
        return self._spec

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer."""
        return upsample(tiles, self._spec.scale)
