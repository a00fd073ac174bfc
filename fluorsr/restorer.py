"""The contract between models and everything that runs them.

A Restorer turns tiles into restored tiles. Networks, Richardson-Lucy and a loaded TorchScript file are all Restorers,
so one pipeline, one evaluation and one contract test-suite (tests/contract) serve all of them.

                 <------ tile of T input pixels ------>
    input        | halo |        its centre       | halo |
    output              |  scale x scale x centre |            the centre depends on nothing outside the tile
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from fluorsr.errors import ModelError

MAX_FRAMES, MAX_SCALE, MAX_HALO, MAX_MULTIPLE = 64, 16, 4096, 1024


@dataclass(frozen=True)
class RestorerSpec:
    """What a caller must know to run a restorer, and to tell its misuse.

    frames         input channels: 1, or 15, 9 or 3 raw frames for SIM
    scale          output pixels per input pixel along y and x
    halo           input pixels on each side that a tile's centre may depend on (receptive-field radius)
    multiple       tile origins and sizes must be multiples of this (2**depth of a U-Net)
    exact          True where the halo is finite and sufficient; False for global statistics or attention
    stochastic     True where the result depends on the seed
    percentiles    of the input's intensities that are mapped to 0 and 1 before `restore`
    pixel_size_um  of the input it was trained at; None where it does not matter or is not known
    modality, structures   what it was trained on

    `halo`, `multiple` and `exact` are measured (fluorsr.models.measure), never typed in by hand.
    """

    name: str
    frames: int = 1
    scale: int = 1
    halo: int = 0
    multiple: int = 1
    exact: bool = True
    stochastic: bool = False
    percentiles: tuple[float, float] = (0.1, 99.9)
    pixel_size_um: float | None = None
    modality: str = ""
    structures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, value, lowest, highest in (
            ("frames", self.frames, 1, MAX_FRAMES),
            ("scale", self.scale, 1, MAX_SCALE),
            ("halo", self.halo, 0, MAX_HALO),
            ("multiple", self.multiple, 1, MAX_MULTIPLE),
        ):
            if not lowest <= value <= highest:
                raise ModelError(f"{self.name}: {what} is {value}; it must be {lowest} to {highest}")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ModelError(f"{self.name}: percentiles {low}, {high} must rise and lie in 0 to 100")

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values; `from_json` inverts it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RestorerSpec:
        """Rebuild a spec from `to_json`'s dict. Raises ModelError on unknown or wrongly typed entries."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ModelError(f"a spec has no {', '.join(unknown)}; this file may come from a newer fluorsr")
        try:
            return TypeAdapter(cls).validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise ModelError(f"the spec is not one of fluorsr's: {faults}") from error


class Restorer(Protocol):
    """Anything that restores tiles. One that needs facts about the whole plane is a MeasuringRestorer as well."""

    @property
    def spec(self) -> RestorerSpec: ...

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """Restore a batch of tiles.

        tiles    [B, frames, Y, X] float32, normalised; Y and X are multiples of spec.multiple
        origin   [B, 2] int64: global (y, x) of each tile's first pixel, in input pixels (may be negative)
        seed     of the noise, for stochastic restorers; a pixel's noise depends on it and its global position only
        returns  [B, 1, scale * Y, scale * X] float32; of an exact restorer the tile's halo, scale * halo on each side,
                 may hold anything
        """
        ...


@runtime_checkable
class MeasuringRestorer(Restorer, Protocol):
    """A Restorer that measures each plane once, on a part of it, before its tiles are restored.

    So tiles of one plane agree, and what was measured goes into the run's record.
    """

    def measure(self, frames: Tensor, origin: tuple[int, int]) -> dict[str, Any]:
        """Measure a plane on a part of it: plain JSON values.

        frames   [frames, Y, X] float32, normalised as tiles are;  origin  global (y, x) of its first pixel
        Raises InputError where there is nothing to measure.
        """
        ...

    def measured(self, facts: dict[str, Any]) -> Restorer:
        """The restorer of a plane of which `measure` told `facts`."""
        ...
