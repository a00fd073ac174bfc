"""Test targets whose truth is exact: line pairs, single lines, rings and Siemens stars, all in focus (z = 0).

Each has a function that gives its shapes as numbers, and one that fills them evenly with emitters; truth.py gives the
exact image of the shapes. Light is 1 a micrometre of line, and 1 a square micrometre of star.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.emitters import Emitters, emitters, join
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Range, draw, draw_one

Float64 = NDArray[np.float64]

GRAIN_UM = 0.01
"""Distance of the emitters that fill a target: far below any optical resolution."""


class Segments(NamedTuple):
    """Straight lines from (y0, x0) to (y1, x1), in micrometres, float64 [n]."""

    y0: Float64
    x0: Float64
    y1: Float64
    x1: Float64


class Rings(NamedTuple):
    """Circles: centre and radius in micrometres, float64 [n]."""

    y: Float64
    x: Float64
    radius: Float64


class Star(NamedTuple):
    """A Siemens star: `spokes` bright sectors and as many dark ones, between two radii in micrometres.

    turn   angle from y towards x, in radians, at which the first bright sector begins
    """

    y: float
    x: float
    inner: float
    outer: float
    spokes: int
    turn: float


class LinePairs(Parameters):
    """Every cell holds one pair of each spacing, side by side, all at the angle of that cell.

    spacings_um   from centre to centre;  stretch  that multiplies each, per pair
    length_um     of the lines;  angle_rad  from the y axis, per cell
    """

    stretch: Positive = (1.0, 1.0)
    spacings_um: tuple[float, ...] = pydantic.Field(
        default=(0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4), validate_default=True
    )
    length_um: float = pydantic.Field(default=4.0, gt=0, le=14)
    angle_rad: Range = (0.0, math.pi)

    cell_um: ClassVar[float] = 16.0

    @pydantic.field_validator("spacings_um")
    @classmethod
    def _fits(cls, value: tuple[float, ...], info: pydantic.ValidationInfo) -> tuple[float, ...]:
        most = info.data.get("stretch", (1.0, 1.0))[1]
        if not value or min(value) <= 0 or most * sum(value) + len(value) - 1 > 14:
            raise ValueError(
                f"needs spacings above 0 that fit side by side, 1 um apart, within 14 um; got {value}, stretched "
                f"{most:g} times at most: try fewer"
            )
        return value

    @property
    def reach_um(self) -> float:
        """A turned block of 14 um by 14 um fits in a circle of 9.9 um about the middle of its cell of 16 um."""
        return 2.0


def line_pair_segments(cell: Cell, parameters: LinePairs) -> Segments:
    """The lines of a cell: those of pair i are numbers 2 i and 2 i + 1."""
    rng = cell.rng()
    angle = draw_one(rng, parameters.angle_rad)
    # The block moves by less than a pixel or so from cell to cell, so that lines fall on pixels in every way.
    middle_y, middle_x = cell.side_um / 2 + rng.uniform(-0.1, 0.1, 2)
    spacings = np.array(parameters.spacings_um)
    gaps = spacings * draw(rng, parameters.stretch, spacings.size)
    left = np.cumsum(gaps + 1) - gaps - 1 - (gaps.sum() + gaps.size - 1) / 2
    across = np.stack((left, left + gaps), axis=1).ravel()
    cos, sin, half = math.cos(angle), math.sin(angle), parameters.length_um / 2
    y, x = middle_y - across * sin, middle_x + across * cos
    return Segments(y - half * cos, x - half * sin, y + half * cos, x + half * sin)


def line_pairs(cell: Cell, parameters: LinePairs) -> Emitters:
    """Line pairs of known spacings."""
    return fill_segments(line_pair_segments(cell, parameters))


class Lines(Parameters):
    """Single straight lines at any place and angle.

    per_um2   lines a square micrometre, once a specimen;  length_um  of each
    """

    per_um2: Amount = 0.03, 0.03
    length_um: Positive = (2.0, 10.0)
    angle_rad: Range = (0.0, math.pi)

    cell_um: ClassVar[float] = 16.0

    @property
    def reach_um(self) -> float:
        """Half a line."""
        return self.length_um[1] / 2 + 0.01


def line_segments(cell: Cell, parameters: Lines) -> Segments:
    """The lines whose middles lie in a cell."""
    density = draw_one(cell.specimen(), parameters.per_um2)
    rng = cell.rng()
    y, x = cell.scatter(rng, density, 0.0)
    angle, half = draw(rng, parameters.angle_rad, y.size), draw(rng, parameters.length_um, y.size) / 2
    dy, dx = half * np.cos(angle), half * np.sin(angle)
    return Segments(y - dy, x - dx, y + dy, x + dx)


def lines(cell: Cell, parameters: Lines) -> Emitters:
    """Single lines."""
    return fill_segments(line_segments(cell, parameters))


class RingField(Parameters):
    """Circles of any place and size: per_um2 once a specimen, radius_um of each."""

    per_um2: Amount = 0.1, 0.1
    radius_um: Positive = (0.1, 1.5)

    cell_um: ClassVar[float] = 16.0

    @property
    def reach_um(self) -> float:
        """The largest radius."""
        return self.radius_um[1] + 0.01


def ring_circles(cell: Cell, parameters: RingField) -> Rings:
    """The rings whose centres lie in a cell."""
    density = draw_one(cell.specimen(), parameters.per_um2)
    rng = cell.rng()
    y, x = cell.scatter(rng, density, 0.0)
    return Rings(y, x, draw(rng, parameters.radius_um, y.size))


def rings(cell: Cell, parameters: RingField) -> Emitters:
    """Rings, filled evenly."""
    parts = []
    for y, x, radius in zip(*ring_circles(cell, parameters), strict=True):
        n = max(8, math.ceil(2 * math.pi * radius / GRAIN_UM))
        angle = 2 * math.pi * (np.arange(n) + 0.5) / n
        parts.append(emitters(0.0, y + radius * np.cos(angle), x + radius * np.sin(angle), 2 * math.pi * radius / n))
    return join(parts)


class Stars(Parameters):
    """One Siemens star in the middle of each cell of 16 um.

    spokes   bright sectors;  the period at radius r is 2 pi r / spokes;  inner_um, outer_um  radii
    turn_rad   of each star
    """

    spokes: int = pydantic.Field(default=36, ge=2, le=360)
    inner_um: float = pydantic.Field(default=0.0, ge=0)
    outer_um: float = pydantic.Field(default=6.0, gt=0, le=8)
    turn_rad: Range = (0.0, math.pi)

    cell_um: ClassVar[float] = 16.0

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Stars:
        if self.inner_um >= self.outer_um:
            raise ValueError(f"inner_um {self.inner_um} must be below outer_um {self.outer_um}")
        return self

    @property
    def reach_um(self) -> float:
        """A star lies within its cell, but for a tenth of a micrometre by which it is moved."""
        return 0.2


def star(cell: Cell, parameters: Stars) -> Star:
    """The star of a cell."""
    rng = cell.rng()
    y, x = (float(cell.side_um / 2 + moved) for moved in rng.uniform(-0.1, 0.1, 2))
    return Star(y, x, parameters.inner_um, parameters.outer_um, parameters.spokes, draw_one(rng, parameters.turn_rad))


def siemens_star(cell: Cell, parameters: Stars) -> Emitters:
    """A Siemens star, filled ring by ring with twice the grain of a line."""
    shape = star(cell, parameters)
    if not cell.sees(np.array([shape.y]), np.array([shape.x]), shape.outer).any():
        return join(())
    sector, grain = math.pi / shape.spokes, 2 * GRAIN_UM
    n = math.ceil((shape.outer - shape.inner) / grain)
    radii = shape.inner + (np.arange(n) + 0.5) * (shape.outer - shape.inner) / n
    each = np.maximum(1, np.ceil(radii * sector / grain)).astype(np.int64)
    ring = np.repeat(np.arange(n), each)
    part = (np.arange(ring.size) - np.repeat(np.cumsum(each) - each, each) + 0.5) / each[ring]
    light = radii[ring] * sector / each[ring] * (shape.outer - shape.inner) / n
    angle = shape.turn + sector * (part[:, None] + 2 * np.arange(shape.spokes))
    y = shape.y + radii[ring, None] * np.cos(angle)
    return emitters(0.0, y, shape.x + radii[ring, None] * np.sin(angle), light[:, None])


def fill_segments(segments: Segments) -> Emitters:
    """Emitters along lines, evenly, GRAIN_UM apart or a little closer."""
    parts = []
    for y0, x0, y1, x1 in zip(*segments, strict=True):
        length = math.hypot(y1 - y0, x1 - x0)
        n = max(1, math.ceil(length / GRAIN_UM))
        part = (np.arange(n) + 0.5) / n
        parts.append(emitters(0.0, y0 + part * (y1 - y0), x0 + part * (x1 - x0), length / n))
    return join(parts)
