"""Microtubules: long, evenly bright worm-like chains that cross, run in pairs, and may radiate from a centrosome."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.chains import Chains, Sites, beside, grow, headings, sites
from fluorsr.data.structures.emitters import Emitters, emitters, join
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Share, draw, draw_one, mean

Float64 = NDArray[np.float64]

PAIR_UM = 0.5
"""Farthest that a companion strays from the filament it accompanies."""


class Microtubules(Parameters):
    """Once a specimen: density, labelling, alignment, unevenness. Each filament: length, persistence, brightness.

    density_um_per_um2     length in the plane: interphase cells hold 0.5 to 3 um a square micrometre
    length_um              10 to 30 um, so that most ends lie outside a field of 10 um
    persistence_um         apparent: in cells 20 to 30 um (Brangwynne et al. 2007), with buckles of 1 to 3 um
                           (Brangwynne et al. 2006), against 1 to 8 mm by heat alone (Gittes et al. 1993)
    smooth_um              below which a filament is a stiff rod
    thickness_um           of the layer in which the filaments lie: the flat part of an adherent cell
    depth_um               rms excursion of a filament along z about its own height
    radius_um              of the labelled tube: 12.5 nm of lattice and 5 to 17 nm of antibodies (Bates et al. 2007)
    labels_per_um          sites with light, antibody stained
    labelled               share of the sites that carry a label
    paired                 share of filaments with a companion, 50 to 200 nm away, for part of the way
    alignment              0: any direction; 1: all filaments of a region alike
    centrosomes_per_um2    each with `astral` filaments that start there; one cell is 1000 to 2500 square micrometres
    unevenness             of the density: standard deviation of its logarithm
    """

    density_um_per_um2: Amount = (0.5, 3.0)
    length_um: Positive = (10.0, 28.0)
    persistence_um: Positive = (3.0, 30.0)
    smooth_um: float = pydantic.Field(default=0.6, ge=0, le=3)
    thickness_um: Amount = (0.3, 2.0)
    depth_um: float = pydantic.Field(default=0.15, ge=0, le=2)
    radius_um: Positive = (0.02, 0.03)
    labels_per_um: Positive = (120.0, 400.0)
    labelled: Share = (0.5, 0.95)
    paired: Share = (0.1, 0.4)
    alignment: Share = (0.0, 0.7)
    centrosomes_per_um2: float = pydantic.Field(default=0.0005, ge=0, le=0.05)
    astral: Amount = (20.0, 70.0)
    unevenness: float = pydantic.Field(default=0.4, ge=0, le=1.5)

    cell_um: ClassVar[float] = 16.0

    @property
    def reach_um(self) -> float:
        """Half of the longest filament: chains are anchored in the middle, astral ones are half as long."""
        return self.length_um[1] / 2 + PAIR_UM + self.radius_um[1] + 0.2


def microtubules(cell: Cell, parameters: Microtubules) -> Emitters:
    """The microtubules that start in a cell."""
    specimen = cell.specimen()
    density = draw_one(specimen, parameters.density_um_per_um2)
    thickness = draw_one(specimen, parameters.thickness_um)
    per_um = draw_one(specimen, parameters.labels_per_um)
    labelled = draw_one(specimen, parameters.labelled)
    paired = draw_one(specimen, parameters.paired)
    aligned = draw_one(specimen, parameters.alignment)
    radius = draw_one(specimen, parameters.radius_um)

    # A companion runs along half of a filament on average.
    per_um2 = density / (mean(parameters.length_um) * (1 + paired / 2))
    rng = cell.rng()
    y, x = cell.scatter(rng, per_um2, parameters.unevenness)
    heading = headings(cell, rng, y, x, aligned)
    z = rng.uniform(-thickness / 2, thickness / 2, y.size)
    chains = _chains(rng, (z, y, x), heading, parameters, astral=False)
    asters = _asters(cell, thickness, parameters)
    parts = []
    for purpose, group in ((1, chains), (2, _companions(cell, chains, paired)), (3, asters)):
        place = sites(cell, group, per_um, purpose, radius)
        parts.append(_labels(cell, place, 10 + purpose, labelled, radius, group))
    return join(parts)


def _chains(
    rng: np.random.Generator,
    at: tuple[Float64, Float64, Float64],
    heading: Float64,
    parameters: Microtubules,
    *,
    astral: bool,
) -> Chains:
    """Filaments through `at` (z, y, x); astral ones begin there and are half as long."""
    length = draw(rng, parameters.length_um, heading.size) / (2 if astral else 1)
    persistence = draw(rng, parameters.persistence_um, heading.size)
    return grow(
        rng,
        at,
        heading,
        length,
        persistence,
        depth_um=parameters.depth_um,
        smooth_um=parameters.smooth_um,
        from_end=astral,
    )


def _asters(cell: Cell, thickness: float, parameters: Microtubules) -> Chains:
    """Filaments that radiate from about a centrosome, most of them beginning 0.1 to 0.6 um out of its centre."""
    rng = cell.rng(3)
    n = int(rng.poisson(parameters.centrosomes_per_um2 * cell.side_um**2))
    many = rng.poisson(draw(rng, parameters.astral, n))
    which = np.repeat(np.arange(n), many)
    heading = rng.uniform(0, 2 * math.pi, which.size)
    # The anchor lies up to 0.6 um out of the centre, along the heading: within the reach of half a filament.
    out = np.minimum(rng.exponential(0.3, which.size), 0.6)
    cy, cx = rng.random((2, n)) * cell.side_um
    y = (cy[which] + out * np.cos(heading)).clip(0, cell.side_um)
    x = (cx[which] + out * np.sin(heading)).clip(0, cell.side_um)
    z = (rng.random(n) - 0.5) * thickness
    return _chains(rng, (z[which], y, x), heading, parameters, astral=True)


def _companions(cell: Cell, chains: Chains, paired: float) -> Chains:
    """Filaments that follow some of `chains` for a part of their length, at a distance that wanders."""
    rng = cell.rng(2)
    n, vertices = chains.used.size, chains.y.shape[1]
    chosen = np.flatnonzero(rng.random(n) < paired)
    wander = rng.standard_normal((2, chosen.size, vertices + 40))
    first, span = rng.random(n), rng.random(n)
    summed = np.cumsum(np.cumsum(wander, axis=2), axis=2)
    # Twice smoothed over 2 um, brought to 120 nm rms across and 40 nm along z.
    wander = summed[..., 40:] - 2 * summed[..., 20:-20] + summed[..., :-40]
    wander = np.clip(wander / 73.0, -2.5, 2.5)
    used = np.maximum(2, (span[chosen] * chains.used[chosen]).astype(np.int64))
    start = (first[chosen] * (chains.used[chosen] - used)).astype(np.int64)
    index = np.minimum(start[:, None] + np.arange(vertices), chains.used[chosen, None] - 1)
    z, y, x = (np.take_along_axis(line[chosen], index, 1) for line in chains[:3])
    ty, tx = np.gradient(y, axis=1), np.gradient(x, axis=1)
    norm = np.maximum(np.hypot(ty, tx), 1e-9)
    aside = 0.12 * wander[0] + 0.06
    return Chains(z + 0.04 * wander[1], y - aside * tx / norm, x + aside * ty / norm, used)


def _labels(cell: Cell, place: Sites, purpose: int, labelled: float, radius: float, group: Chains) -> Emitters:
    """Labels on the tube's surface; each filament and each label has its own brightness."""
    present, around, bright = cell.uniform(purpose, place.number)
    filament = 0.75 + 0.5 * cell.uniform(purpose + 10, np.arange(len(group.used)))[0]
    z, y, x = beside(place, radius, 2 * math.pi * around)
    light = np.where(present < labelled, -np.log(bright), 0.0) * filament[place.chain]
    kept = light > 0
    return emitters(z[kept], y[kept], x[kept], light[kept])
