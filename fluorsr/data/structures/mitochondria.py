"""Mitochondria: tubes that bend, bead and branch, stained in the matrix, in the outer membrane, or in the cristae."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.chains import STEP_UM, Chains, beside, grow, headings, sites
from fluorsr.data.structures.emitters import Emitters, emitters, join
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Share, draw, draw_one, mean

Float64 = NDArray[np.float64]


class Mitochondria(Parameters):
    """Once a specimen: density, branching, stain, spacing of cristae. Each: length, persistence, radius.

    density_um_per_um2   length of trunks in the plane; networks cover 5 to 25 % of a cell's area
    length_um            of a trunk: 1 um (fragmented) to 14 um (fused)
    persistence_um       2 to 8 um, apparent
    radius_um            0.12 to 0.28 um: 0.25 to 0.55 um across (Stephan et al. 2019; Jakobs and Wurm 2014)
    beading              rms variation of the radius along a tube, relative
    branches_per_um      of trunk;  branch_um  their length
    cristae              share of the light in the cristae;  membrane  of the rest, the share in the membrane
    crista_um            distance between cristae, 60 to 130 nm (Stephan et al. 2019: 70 to 100 nm in live STED)
    labels_per_um        of tube
    thickness_um         of the layer they lie in
    """

    density_um_per_um2: Amount = (0.15, 0.8)
    length_um: Positive = (1.0, 14.0)
    persistence_um: Positive = (2.0, 8.0)
    radius_um: Positive = (0.13, 0.26)
    beading: float = pydantic.Field(default=0.12, ge=0, le=0.4)
    branches_per_um: Amount = (0.0, 0.15)
    branch_um: Positive = (0.6, 4.0)
    cristae: Share = (0.0, 0.0)
    membrane: Share = (0.0, 1.0)
    crista_um: Positive = (0.07, 0.13)
    labels_per_um: Positive = (500.0, 1500.0)
    thickness_um: Amount = (0.4, 1.8)
    unevenness: float = pydantic.Field(default=0.7, ge=0, le=1.5)

    cell_um: ClassVar[float] = 12.0

    @property
    def reach_um(self) -> float:
        """Half a trunk, a branch, and the widest tube."""
        return self.length_um[1] / 2 + self.branch_um[1] + 2 * self.radius_um[1] + 0.2


def mitochondria(cell: Cell, parameters: Mitochondria) -> Emitters:
    """The mitochondria whose trunks have their middle in a cell."""
    specimen = cell.specimen()
    density = draw_one(specimen, parameters.density_um_per_um2)
    branching = draw_one(specimen, parameters.branches_per_um)
    stain = draw_one(specimen, parameters.cristae), draw_one(specimen, parameters.membrane)
    period = draw_one(specimen, parameters.crista_um)
    per_um = draw_one(specimen, parameters.labels_per_um)
    thickness = draw_one(specimen, parameters.thickness_um)

    rng = cell.rng(1)
    y, x = cell.scatter(rng, density / mean(parameters.length_um), parameters.unevenness)
    n = y.size
    z = rng.uniform(-0.5, 0.5, n) * thickness
    length = draw(rng, parameters.length_um, n)
    persistence = draw(rng, parameters.persistence_um, n)
    trunks = grow(rng, (z, y, x), headings(cell, rng, y, x, 0.3), length, persistence, depth_um=0.15, smooth_um=0.5)
    radius = draw(rng, parameters.radius_um, n)

    rng = cell.rng(2)
    parent = np.repeat(np.arange(n), rng.poisson(branching * length))
    at = (rng.uniform(0.1, 0.9, parent.size) * trunks.used[parent]).astype(np.int64)
    anchor = tuple(line[parent, at] for line in trunks[:3])
    after = np.minimum(at + 1, trunks.used[parent] - 1)
    tangent = [line[parent, after] - line[parent, after - 1] for line in (trunks.y, trunks.x)]
    heading = np.arctan2(tangent[1], tangent[0])
    turn = rng.uniform(0.8, 1.6, parent.size) * rng.choice((-1.0, 1.0), parent.size)
    branch = draw(rng, parameters.branch_um, parent.size)
    bend = draw(rng, parameters.persistence_um, parent.size)
    branches = grow(
        rng,
        (anchor[0], anchor[1], anchor[2]),
        math.pi / 2 - heading + turn,
        branch,
        bend,
        depth_um=0.15,
        smooth_um=0.5,
        from_end=True,
    )
    return join(
        (
            _tubes(cell, trunks, radius, parameters, (*stain, period, per_um), np.zeros(n), 1),
            _tubes(cell, branches, 0.9 * radius[parent], parameters, (*stain, period, per_um), radius[parent], 2),
        )
    )


def _tubes(
    cell: Cell,
    chains: Chains,
    radius: Float64,
    parameters: Mitochondria,
    drawn: tuple[float, float, float, float],
    inside_um: Float64,
    purpose: int,
) -> Emitters:
    """Labels in a tube around each chain, with round ends; none over the first `inside_um`, within another tube."""
    cristae, membrane, period, per_um = drawn
    wide = parameters.radius_um[1] * 1.5
    place = sites(cell, chains, min(per_um, 700.0), purpose, wide + period)
    u, v, w = cell.uniform(10 + purpose, place.number)
    kind, turn, _ = cell.uniform(20 + purpose, place.number)
    local = _radius(cell, chains, radius, parameters.beading, purpose)[place.chain, place.vertex]
    length = (chains.used[place.chain] - 1) * STEP_UM
    # Ends are half ellipsoids.
    begin = np.where(inside_um[place.chain] > 0, np.inf, place.arc)
    end = np.clip(np.minimum(begin, length - place.arc) / np.maximum(local, 1e-6), 0.02, 1)
    local *= np.sqrt(1 - (1 - end) ** 2)
    flat = kind < cristae
    shell = ~flat & (turn < membrane)
    out = np.where(shell, 1.0, np.sqrt(u))
    angle = 2 * math.pi * v
    # A crista is a sheet across the tube that leaves a gap on one side and leans a little.
    sheet = np.floor(place.arc / period).astype(np.int64)
    lean, gap, shift = cell.uniform(30 + purpose, place.chain * 8192 + sheet)
    along = ((sheet + 0.5 + 0.5 * (shift - 0.5)) * period - place.arc) + (w - 0.5) * 0.015
    along += (lean - 0.5) * 0.8 * local * out * np.cos(angle - 2 * math.pi * gap)
    hidden = flat & (np.cos(angle - 2 * math.pi * (gap + 0.25)) * out > 0.35 + 0.6 * gap)
    z, y, x = beside(place, local * out * np.where(flat, 0.9, 1.0), angle)
    tz, ty, tx = (line * np.where(flat, along, 0.0) for line in place.tangent)
    light = per_um / min(per_um, 700.0) * (0.5 + turn) * (0.4 + 0.6 * end) * (local / mean(parameters.radius_um))
    kept = ~hidden & (place.arc >= inside_um[place.chain])
    return emitters((z + tz)[kept], (y + ty)[kept], (x + tx)[kept], light[kept])


def _radius(cell: Cell, chains: Chains, radius: Float64, beading: float, purpose: int) -> Float64:
    """The radius at each vertex [n, V]: beads and waists of about 0.6 um."""
    n, vertices = chains.y.shape
    noise = np.cumsum(cell.rng(40 + purpose).standard_normal((n, vertices + 6)), axis=1)
    wander: Float64 = (noise[:, 6:] - noise[:, :-6]) / math.sqrt(6)
    return radius[:, None] * np.clip(1 + beading * wander, 0.5, 1.5)
