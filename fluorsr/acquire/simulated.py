"""A microscope that is not there: camera and stage as Micro-Manager devices in Python, over a simulated specimen.

    stage, um from the field's middle -> which pixels of a field (fluorsr.data.scene) -> camera: fresh noise each time

Acquisition programs can be written and tested with it at a desk, without adapters or hardware. It is made of the device
classes in pymmcore_plus.experimental.unicore, which may change from version to version of that package.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fluorsr.data.scene import Scene
from fluorsr.data.simulate import configure
from fluorsr.errors import InputError, import_extra

import_extra("pymmcore_plus", "acquire")

from pymmcore_plus.experimental.unicore import (  # noqa: E402  (only after the word on how to install it)
    SimpleCameraDevice,
    UniMMCore,
    XYStageDevice,
)


class SimulatedStage(XYStageDevice):
    """Where the camera's middle looks: (x, y) um from the field's middle. It stops at its limits, `reach_um` away."""

    def __init__(self, reach_um: float) -> None:
        super().__init__()
        self._reach = reach_um
        self._place = [0.0, 0.0]
        self._zero = [0.0, 0.0]

    @property
    def place_um(self) -> tuple[float, float]:
        """(x, y) from the field's middle, whatever the origin is."""
        return self._place[0], self._place[1]

    def set_position_um(self, x: float, y: float) -> None:
        """Move there, or as far as it goes."""
        wanted = (x + self._zero[0], y + self._zero[1])
        self._place = [min(max(value, -self._reach), self._reach) for value in wanted]

    def get_position_um(self) -> tuple[float, float]:
        """Where it is, from its origin."""
        return self._place[0] - self._zero[0], self._place[1] - self._zero[1]

    def set_origin_x(self) -> None:
        """Call this x zero."""
        self._zero[0] = self._place[0]

    def set_origin_y(self) -> None:
        """Call this y zero."""
        self._zero[1] = self._place[1]

    def home(self) -> None:
        """Go to the field's middle."""
        self._place = [0.0, 0.0]

    def stop(self) -> None:
        """It is wherever it was sent at once, so there is nothing to stop."""


class SimulatedCamera(SimpleCameraDevice):
    """`side` x `side` pixels of a scene, uint16 counts, around the stage's place. An exposure takes its time."""

    def __init__(self, scene: Scene, side: int, stage: SimulatedStage, exposure_ms: float) -> None:
        super().__init__()
        self._scene, self._side, self._stage, self._exposure_ms = scene, side, stage, exposure_ms
        self._exposures = itertools.count()

    def sensor_shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self._side, self._side

    def dtype(self) -> DTypeLike:
        """Of the counts."""
        return np.uint16

    def get_exposure(self) -> float:
        """Milliseconds."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Milliseconds that a frame takes; its light is the simulator's, whatever they are."""
        self._exposure_ms = exposure

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, Any]:
        """The next frame."""
        began = time.perf_counter()
        x_um, y_um = self._stage.place_um
        middle = (self._scene.config.size_px - self._side) / 2
        top, left = (round(middle + um / self._scene.pixel_um) for um in (y_um, x_um))
        place = (top, top + self._side, left, left + self._side)
        buffer[:] = self._scene.read(*place, exposure=next(self._exposures)).degraded[0]
        time.sleep(max(0.0, self._exposure_ms / 1000 - (time.perf_counter() - began)))
        return {}


def simulated_microscope(
    structure: str = "microtubules",
    *,
    preset: str = "confocal-280",
    side: int = 128,
    field_px: int = 512,
    seed: int = 0,
    exposure_ms: float = 10.0,
    **changes: object,
) -> UniMMCore:
    """A core whose camera shows `side` x `side` pixels of a simulated field of `field_px`; its stage moves over that.

    preset, changes   the microscope, as in fluorsr.data.simulate.simulate_field
    Raises MissingDependencyError without the extra `acquire`, InputError where the camera does not fit into the field
    or the preset takes several raw frames, and what simulate_field raises.
    """
    config = configure(preset, fixed=True, size_px=field_px, **changes)
    if config.frames != 1:
        raise InputError(f"{preset} takes {config.frames} raw frames for an image; this camera takes presets of one")
    if not 1 <= side <= field_px:
        raise InputError(f"a camera of {side} pixels does not fit into a field of {field_px}; make the field larger")
    scene = Scene(config, seed, 0, structure)
    stage = SimulatedStage((field_px - side) / 2 * scene.pixel_um)
    core = UniMMCore()
    for label, device in (("XY", stage), ("Camera", SimulatedCamera(scene, side, stage, exposure_ms))):
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    core.setXYStageDevice("XY")
    core.setCameraDevice("Camera")
    core.definePixelSizeConfig("simulated")
    core.setPixelSizeUm("simulated", scene.pixel_um)
    core.setPixelSizeConfig("simulated")
    return core
