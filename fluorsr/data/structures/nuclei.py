"""Nuclei: an envelope, chromatin in domains, and dark nucleoli."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.chromatin import VARIANTS, texture
from fluorsr.data.structures.emitters import Emitters, emitters, join
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Share, draw, draw_one

Float64 = NDArray[np.float64]

LAYERS = 4
"""Layers of sites that are drawn at a time."""
SHELL_PER_UM2 = 300.0
SHELL_PATCHES = (12, 32)
"""Sites of the envelope, and the bands and sectors that it is divided into."""


class Nuclei(Parameters):
    """Once a specimen: density, contrast, envelope share, sites. Each nucleus: size, shape, texture, nucleoli.

    per_um2         1 in 1000 to 1 in 550 square micrometres; nuclei never overlap, and placed
                    at random no more than one in 2.4 mean lengths squared fits
    length_um       long axis, 10 to 20 um;  aspect  short to long axis;  height_um  3 to 8 um in adherent cells
                    (HeLa and fibroblasts: Milo and Phillips, Cell Biology by the Numbers)
    domain_um       size of chromatin domains, 0.2 to 1 um (Cremer et al. 2015);  contrast  sd of log density
    rim             extra chromatin within 0.2 um of the envelope and of nucleoli, relative (heterochromatin)
    nucleoli        number, 1 to 5;  nucleolus_um  radius, 0.6 to 1.6 um;  nucleolar_light  left inside them
    chromocentres   number of bright foci of 0.3 to 0.6 um radius, as mouse nuclei have (10 to 25); none by default
    envelope        share of the light that is a thin shell: 0 a DNA stain, 1 a lamin stain
    labels_per_um3  mean light of the chromatin;  spacing_um  between the sites that hold it (twice that along z)
    """

    per_um2: Amount = (0.001, 0.0018)
    length_um: Positive = (11.0, 19.0)
    aspect: Share = (0.6, 0.95)
    height_um: Positive = (3.0, 6.0)
    domain_um: Positive = (0.25, 0.7)
    contrast: Amount = (0.5, 1.1)
    rim: Amount = (0.2, 0.9)
    nucleoli: Amount = (1.0, 5.0)
    nucleolus_um: Positive = (0.6, 1.6)
    nucleolar_light: Share = (0.1, 0.4)
    chromocentres: Amount = (0.0, 0.0)
    envelope: Share = (0.0, 0.1)
    labels_per_um3: Positive = (200.0, 800.0)
    spacing_um: float = pydantic.Field(default=0.08, ge=0.02, le=0.3)

    cell_um: ClassVar[float] = 24.0

    @pydantic.field_validator("aspect")
    @classmethod
    def _solid(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] < 0.1:
            raise ValueError(
                f"a nucleus is at least a tenth as wide as long; got an aspect of {value[0]}, try 0.5 to 1"
            )
        return value

    @property
    def reach_um(self) -> float:
        """Half of the longest axis, with the irregular outline."""
        return 0.6 * self.length_um[1]


class Ellipsoids(NamedTuple):
    """The nuclei of a cell: centres z, y, x, half axes (z, long, short), turn of the long axis; float64 [n].

    object   the number of each among the candidates of its cell
    """

    z: Float64
    y: Float64
    x: Float64
    half: tuple[Float64, Float64, Float64]
    turn: Float64
    object: NDArray[np.int64]


def nuclei(cell: Cell, parameters: Nuclei) -> Emitters:
    """The nuclei whose centres lie in a cell."""
    specimen = cell.specimen()
    contrast = draw_one(specimen, parameters.contrast)
    domain = draw_one(specimen, parameters.domain_um)
    envelope = draw_one(specimen, parameters.envelope)
    light = draw_one(specimen, parameters.labels_per_um3)
    bodies = ellipsoids(cell, parameters)
    parts = []
    for i in np.flatnonzero(cell.sees(bodies.y, bodies.x, parameters.reach_um)):
        shape = _Shape(cell.rng(100 + int(bodies.object[i])), bodies, int(i), parameters)
        if envelope < 1:
            parts.append(_chromatin(cell, shape, parameters, (contrast, domain, light * (1 - envelope))))
        if envelope > 0:
            parts.append(_envelope(cell, shape, light * envelope))
    return join(parts)


def ellipsoids(cell: Cell, parameters: Nuclei) -> Ellipsoids:
    """The nuclei of a cell: of candidates that overlap, only the one with the lowest mark stays (Matern 1960, II)."""
    own = _candidates(cell, parameters)
    # Two outlines reach at most 1.2 lengths: within the neighbouring cells as long as those are larger.
    span = math.ceil(1.2 * parameters.length_um[1] / cell.side_um)
    around = range(-span, span + 1)
    others = []
    for row in around:
        for column in around:
            there = _candidates(cell.neighbour(row, column), parameters) if (row or column) else own
            shift = np.array([0, row * cell.side_um, column * cell.side_um, 0, 0, 0, 0, 0])
            others.append(there + shift[:, None])
    every = np.concatenate(others, axis=1)
    y, x, size, mark = own[1], own[2], own[4], own[7]
    apart = np.hypot(y[:, None] - every[1], x[:, None] - every[2]) < 1.05 * (size[:, None] + every[4])
    kept = np.flatnonzero(~(apart & (every[7] < mark[:, None])).any(axis=1))
    z, y, x, high, long, short, turn, _ = own[:, kept]
    return Ellipsoids(z, y, x, (high, long, short), turn, kept)


def _candidates(cell: Cell, parameters: Nuclei) -> Float64:
    """Rows z, y, x, the three half axes, turn, mark [8, n] of the nuclei that a cell proposes."""
    rng = cell.rng(1)
    density = draw_one(cell.specimen(), parameters.per_um2)
    # Overlapping ones go, so that more have to be proposed (Matern's second process); crowded layers saturate.
    longest = sum(parameters.length_um) / 2
    disc = math.pi * (0.85 * longest) ** 2
    proposed = -math.log(max(1 - density * disc, 0.05)) / disc
    n = int(rng.poisson(proposed * cell.side_um**2))
    y, x = rng.uniform(0, cell.side_um, n), rng.uniform(0, cell.side_um, n)
    long = draw(rng, parameters.length_um, n) / 2
    short = long * draw(rng, parameters.aspect, n)
    high = draw(rng, parameters.height_um, n) / 2
    # The focus lies somewhere in the middle half of the nucleus.
    z = rng.uniform(-0.5, 0.5, n) * high
    turn, mark = rng.uniform(0, math.pi, n), rng.random(n)
    return np.stack((z, y, x, high, long, short, turn, mark))


class _Shape:
    """One nucleus: its outline, its nucleoli and foci, and where in the texture it lies."""

    def __init__(self, rng: np.random.Generator, bodies: Ellipsoids, i: int, parameters: Nuclei) -> None:
        self.centre = float(bodies.z[i]), float(bodies.y[i]), float(bodies.x[i])
        self.half = float(bodies.half[0][i]), float(bodies.half[1][i]), float(bodies.half[2][i])
        self.cos, self.sin = math.cos(float(bodies.turn[i])), math.sin(float(bodies.turn[i]))
        self.object = int(bodies.object[i])
        self.waves = rng.uniform(0, 2 * math.pi, 3), rng.uniform(0.3, 1.0, 3) * (0.05, 0.03, 0.015)
        self.rim = draw_one(rng, parameters.rim)
        self.texture = int(rng.integers(VARIANTS)), rng.integers(0, 4096, 3)
        self.light = float(rng.lognormal(0, 0.2))
        self.nucleoli = self._balls(rng, parameters.nucleoli, parameters.nucleolus_um, 0.6)
        self.dark = draw_one(rng, parameters.nucleolar_light)
        self.foci = self._balls(rng, parameters.chromocentres, (0.3, 0.6), 0.8)

    def _balls(
        self, rng: np.random.Generator, many: tuple[float, float], radius: tuple[float, float], within: float
    ) -> list[tuple[float, float, float, float]]:
        """Centres relative to the half axes, and radii in micrometres."""
        n = round(draw_one(rng, many))
        direction = rng.standard_normal((n, 3))
        direction *= (within * np.cbrt(rng.random(n)) / np.maximum(np.linalg.norm(direction, axis=1), 1e-9))[:, None]
        sizes = draw(rng, radius, n)
        return [(float(z), float(u), float(v), float(size)) for (z, u, v), size in zip(direction, sizes, strict=True)]

    def inner(self, z: Float64, y: Float64, x: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Positions in units of the half axes (z, long, short), and the square of the relative radius."""
        dy, dx = y - self.centre[1], x - self.centre[2]
        long, short = (dy * self.sin + dx * self.cos) / self.half[1], (dy * self.cos - dx * self.sin) / self.half[2]
        high = (z - self.centre[0]) / self.half[0]
        outline = self.outline(long, short)
        return high, long, short, high**2 + (long**2 + short**2) / outline**2

    def outline(self, long: Float64, short: Float64) -> Float64:
        """The radius of the outline relative to the ellipse, in a direction in the plane: smooth dents and bulges."""
        phases, amplitudes = self.waves
        # cos(m a + p) is the real part of exp(i a)^m exp(i p): powers cost less than cosines of arcs.
        direction = (long + 1j * short) / np.maximum(np.hypot(long, short), 1e-12)
        second = direction * direction
        third = second * direction
        waves = (second, third, second * third)
        factors = amplitudes * np.exp(1j * phases)
        bumps: Float64 = 1 + sum((factor * wave).real for factor, wave in zip(factors, waves, strict=True))
        return bumps


def _chromatin(cell: Cell, shape: _Shape, parameters: Nuclei, drawn: tuple[float, float, float]) -> Emitters:
    """Sites on a jittered lattice in the nucleus, as bright as the chromatin is dense there."""
    contrast, domain, light = drawn
    spacing = (2 * parameters.spacing_um, parameters.spacing_um, parameters.spacing_um)
    reach = (shape.half[0], parameters.reach_um, parameters.reach_um)
    start, stop = zip((-math.inf, math.inf), *zip(*cell.window, strict=True), strict=True)
    low = [max(c - r, w - s) for c, r, w, s in zip(shape.centre, reach, start, spacing, strict=True)]
    high = [min(c + r, w + s) for c, r, w, s in zip(shape.centre, reach, stop, spacing, strict=True)]
    axes = [np.arange(math.floor(a / s), math.ceil(b / s) + 1) for a, b, s in zip(low, high, spacing, strict=True)]
    # A few layers at a time, which bounds the memory of a whole nucleus.
    layers = [axes[0][first : first + LAYERS] for first in range(0, axes[0].size, LAYERS)]
    grids = (np.meshgrid(part, axes[1], axes[2], indexing="ij") for part in layers)
    parts = [_layers(cell, shape, [line.ravel() for line in grid], spacing, contrast, domain) for grid in grids]
    points = join(parts)
    return points._replace(light=points.light * np.float32(shape.light * light * math.prod(spacing)))


def _layers(
    cell: Cell,
    shape: _Shape,
    index: list[NDArray[np.int64]],
    spacing: tuple[float, float, float],
    contrast: float,
    domain: float,
) -> Emitters:
    """The sites of a lattice (z, y, x) that lie in the nucleus, with the density of the chromatin as their light."""
    # Sites may lie a little outside the cell: shift all indices to be non-negative.
    number = ((index[0] + 4096) * 8192 + index[1] + 4096) * 8192 + index[2] + 4096
    jitter = cell.uniform(1000 + shape.object, number)
    z, y, x = ((i + u) * s for i, u, s in zip(index, jitter, spacing, strict=True))
    u, v, w, radius2 = shape.inner(z, y, x)
    inside = radius2 < 1
    z, y, x, u, v, w, radius2 = (column[inside] for column in (z, y, x, u, v, w, radius2))
    high, long, short = shape.half
    density = np.exp(contrast * texture((u * high, v * long, w * short), shape.texture, domain) - contrast**2 / 2)
    # Depth below the envelope, to first order in the radius: heterochromatin lines it.
    depth = (1 - np.sqrt(radius2)) * (long + short) / 2
    density *= 1 + shape.rim * np.exp(-depth / 0.2)
    for ball in shape.nucleoli:
        out = _outside(shape, ball, u, v, w)
        density *= shape.dark + (1 - shape.dark) / (1 + np.exp(np.clip(-out / 0.06, -50, 50)))
        density *= 1 + shape.rim * np.exp(-np.abs(out - 0.1) / 0.1)
    for ball in shape.foci:
        density += 5 / (1 + np.exp(np.clip(_outside(shape, ball, u, v, w) / 0.06, -50, 50)))
    return emitters(z, y, x, density)


def _outside(shape: _Shape, ball: tuple[float, float, float, float], u: Float64, v: Float64, w: Float64) -> Float64:
    """Distance from the surface of a ball inside the nucleus in micrometres, negative within."""
    high, long, short = shape.half
    away = ((u - ball[0]) * high) ** 2 + ((v - ball[1]) * long) ** 2 + ((w - ball[2]) * short) ** 2
    distance: Float64 = np.sqrt(away) - ball[3]
    return distance


def _envelope(cell: Cell, shape: _Shape, light: float) -> Emitters:
    """Labels all over the surface, SHELL_PER_UM2 of the mean, with the light of the volume."""
    high, long, short = shape.half
    volume = 4 / 3 * math.pi * high * long * short
    surface = 4 * math.pi * (((high * long) ** 1.6 + (high * short) ** 1.6 + (long * short) ** 1.6) / 3) ** (1 / 1.6)
    bands, sectors = SHELL_PATCHES
    each = math.ceil(SHELL_PER_UM2 * surface / (bands * sectors))
    # Patches of equal measure on the sphere; only those whose corners come near the window are filled.
    edges = np.meshgrid(np.linspace(-1, 1, bands + 1), np.linspace(0, 2 * math.pi, sectors + 1), indexing="ij")
    _, corner_y, corner_x = _on_shell(shape, *edges)
    y, x = _corners(corner_y), _corners(corner_x)
    middle_y, middle_x = y.mean(axis=0), x.mean(axis=0)
    radius = 1.2 * np.hypot(y - middle_y, x - middle_x).max(axis=0) + 0.3
    patch = np.repeat(np.flatnonzero(cell.sees(middle_y, middle_x, radius)), each)
    number = patch * each + np.arange(patch.size) % each
    u, v, w = cell.uniform(5000 + shape.object, number)
    cap, angle = 2 * (patch // sectors + u) / bands - 1, 2 * math.pi * (patch % sectors + v) / sectors
    z, y, x = _on_shell(shape, cap, angle)
    # Uniform on the sphere is not on the ellipsoid: weigh each site by the area that it stands for.
    across = np.sqrt((cap / high) ** 2 + (1 - cap**2) * ((np.cos(angle) / long) ** 2 + (np.sin(angle) / short) ** 2))
    area = across * high * long * short * 4 * math.pi / surface
    return emitters(z, y, x, area * (0.5 + w) * shape.light * light * volume / (each * bands * sectors))


def _on_shell(shape: _Shape, cap: Float64, angle: Float64) -> tuple[Float64, Float64, Float64]:
    """z, y, x of points of the envelope: relative height -1 to 1, and angle in the plane from the long axis."""
    long, short = np.cos(angle), np.sin(angle)
    out = np.sqrt(1 - np.minimum(cap**2, 1)) * shape.outline(long, short)
    a, b = out * long * shape.half[1], out * short * shape.half[2]
    y, x = a * shape.sin + b * shape.cos, a * shape.cos - b * shape.sin
    return shape.centre[0] + cap * shape.half[0], shape.centre[1] + y, shape.centre[2] + x


def _corners(grid: Float64) -> Float64:
    """The four corners [4, n] of each patch between the nodes of a grid."""
    return np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]]).reshape(4, -1)
