"""Points of light, and the rectangle of the plane they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


class Emitters(NamedTuple):
    """Points of light; all columns float32 [n].

    z       position along the optical axis in micrometres, 0 in focus, rising away from the objective
    y, x    position in the plane in micrometres from the corner of what was asked for
    light   brightness: 1 is one label of usual brightness, or a micrometre of a line or square micrometre of an area
            in the test targets
    """

    z: Float
    y: Float
    x: Float
    light: Float


class Area(NamedTuple):
    """A rectangle of the endless plane, in micrometres: from `start` (y, x) up to, and not including, `stop` (y, x)."""

    start: tuple[float, float]
    stop: tuple[float, float]

    @property
    def size(self) -> tuple[float, float]:
        """Height and width in micrometres."""
        return self.stop[0] - self.start[0], self.stop[1] - self.start[1]


def emitters(z: Any, y: Any, x: Any, light: Any) -> Emitters:
    """Emitters from arrays or numbers of any real dtype, broadcast against each other."""
    columns = np.broadcast_arrays(z, y, x, light)
    return Emitters(*(np.ascontiguousarray(column, dtype=np.float32).ravel() for column in columns))


def join(parts: Iterable[Emitters]) -> Emitters:
    """All emitters of several specimens; none at all of no specimens."""
    columns = list(zip(*parts, strict=True)) or [()] * 4
    return Emitters(*(np.concatenate((np.zeros(0, dtype=np.float32), *column)) for column in columns))


def choose(points: Emitters, chosen: NDArray[Any]) -> Emitters:
    """The emitters that a mask or an array of indices selects."""
    return Emitters(*(column[chosen] for column in points))


def crop(points: Emitters, area: Area) -> Emitters:
    """The emitters inside `area`, given in the coordinates of `points`, which they keep."""
    inside = (points.y >= area.start[0]) & (points.y < area.stop[0])
    inside &= (points.x >= area.start[1]) & (points.x < area.stop[1])
    return points if inside.all() else choose(points, inside)


def transform(
    points: Emitters,
    *,
    shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    turn_rad: float = 0.0,
    light: float = 1.0,
) -> Emitters:
    """Turn about the axis through (0, 0), from y towards x, then shift by (z, y, x); `light` multiplies."""
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    y, x = points.y.astype(np.float64), points.x.astype(np.float64)
    return emitters(
        points.z + shift_um[0], y * cos - x * sin + shift_um[1], y * sin + x * cos + shift_um[2], points.light * light
    )
