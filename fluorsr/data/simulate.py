"""The microscope in software: a specimen -> what a microscope shows of it, and what a better one would.

    specimen in 3-D  -->  light of every plane, blurred  -->  photons  -->  detector  -->  degraded   uint16 [F, Y, X]
    (structures/)         (spots.py, render.py)               (scene.py)              -->  target   float32 [sY, sX]

Both are in counts of the input's detector per input-pixel area: the target is sharper, not brighter. Sample `index` of
seed `seed` is always the same, whatever was drawn before, in whatever process. Any part of a field of any size is
had from `Scene.read`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.presets import PRESETS, steady
from fluorsr.data.scene import Scene
from fluorsr.data.simulation_config import SimulationConfig
from fluorsr.errors import InputError
from fluorsr.optics.illumination import SimFrames

__all__ = ["PRESETS", "Field", "Scene", "SimulationConfig", "configure", "simulate_field", "simulate_pair"]


@dataclass(frozen=True)
class Field:
    """One simulated field.

    degraded    [F, Y, X] uint16 counts (F is 1 but for raw SIM frames)
    target      [scale * Y, scale * X] float32 counts per input-pixel area, free of noise
    pixel_size_um, target_pixel_size_um   of the two;  structure and photons as drawn
    drawn       every quantity that was drawn, by its name in SimulationConfig
    stripes     of raw SIM frames: the phases are those at the corner of pixel (0, 0)
    """

    degraded: NDArray[np.uint16]
    target: NDArray[np.float32]
    pixel_size_um: float
    target_pixel_size_um: float
    structure: str
    photons: float
    drawn: dict[str, float]
    stripes: SimFrames | None = None


def simulate_pair(config: SimulationConfig, seed: int, index: int, structure: str | None = None) -> Field:
    """Sample `index` of the endless set that `config` and `seed` describe; of one structure only where it is given.

    Raises InputError for a negative seed or index, an unknown structure, or a target wider than a confocal spot.
    """
    scene = Scene(config, seed, index, structure)
    degraded, target = scene.read(0, config.size_px, 0, config.size_px)
    pixel_um = scene.pixel_um
    return Field(
        degraded,
        target,
        pixel_um,
        pixel_um / config.scale,
        scene.structure,
        scene.photons,
        dict(scene.drawn),
        scene.stripes,
    )


def configure(preset: str, *, fixed: bool = False, **changes: object) -> SimulationConfig:
    """A preset with some entries replaced; `fixed` takes the middle of every range that is not.

    Raises InputError that names every fault, or the presets there are.
    """
    if preset not in PRESETS:
        raise InputError(f"there is no preset {preset!r}; use one of {', '.join(PRESETS)}")
    base = steady(PRESETS[preset]) if fixed else PRESETS[preset]
    try:
        return SimulationConfig.model_validate(base.model_dump() | changes)
    except pydantic.ValidationError as error:
        faults = [": ".join(filter(None, (".".join(map(str, f["loc"])), str(f["msg"])))) for f in error.errors()]
        raise InputError(f"cannot simulate this: {'; '.join(faults)}") from error


def simulate_field(
    size_px: int, structure: str, seed: int, *, preset: str = "confocal-280", **changes: object
) -> Field:
    """One field by the middle microscope of a preset; `changes` to any entry, as in `configure`.

    Raises InputError where a value is out of its range.
    """
    return simulate_pair(configure(preset, fixed=True, size_px=size_px, **changes), seed, 0, structure)
