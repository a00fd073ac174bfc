"""F-actin: stress fibres, thinner bundles that cross, and the fine mesh of the cortex."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.chains import Chains, beside, grow, headings, sites
from fluorsr.data.structures.emitters import Emitters, emitters, join
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Share, draw, draw_one, mean

Float64 = NDArray[np.float64]


PATCHES = 4
"""Along y and x of a cell, into which the mesh is divided."""


class Actin(Parameters):
    """Once a specimen: densities, alignment, sarcomeres, unevenness. Each object: length, width, brightness.

    fibres_um_per_um2     length of stress fibres in the plane
    fibre_length_um       5 to 30 um;  fibre_radius_um  rms: 10 to 30 filaments 0.2 to 0.5 um wide
                          (Pellegrin and Mellor 2007)
    fibre_light           of a fibre in labels per um: phalloidin on every filament
    sarcomere_um          period of the bands along a fibre, 1 um and below (Hu et al. 2017);  banding  their contrast
    bundles_um_per_um2, bundle_length_um, bundle_light   2 to 10 filaments, fascin or filopodia-like
    mesh_um_per_um2       length of single filaments of the cortex, in a layer cortex_um thick (Clark et al. 2013:
                          190 nm), meshes of 50 to 200 nm (Morone et al. 2006)
    persistence_um        of a single filament, 10 to 18 um (Gittes et al. 1993)
    alignment             of the fibres of a region
    unevenness            of the densities: standard deviation of their logarithm
    """

    fibres_um_per_um2: Amount = (0.25, 1.2)
    fibre_length_um: Positive = (6.0, 28.0)
    fibre_radius_um: Positive = (0.04, 0.16)
    fibre_light: Positive = (250.0, 1000.0)
    sarcomere_um: Positive = (0.6, 1.2)
    banding: Share = (0.0, 0.35)
    bundles_um_per_um2: Amount = (0.1, 0.8)
    bundle_length_um: Positive = (2.0, 12.0)
    bundle_light: Positive = (50.0, 250.0)
    mesh_um_per_um2: Amount = (10.0, 30.0)
    mesh_length_um: Positive = (1.0, 3.0)
    mesh_light: Positive = (15.0, 50.0)
    persistence_um: Positive = (10.0, 18.0)
    cortex_um: Amount = (0.1, 0.3)
    alignment: Share = (0.75, 0.97)
    unevenness: float = pydantic.Field(default=0.3, ge=0, le=1.5)

    cell_um: ClassVar[float] = 16.0

    @property
    def reach_um(self) -> float:
        """Half of the longest fibre and three of its rms radii."""
        longest = max(self.fibre_length_um[1], self.bundle_length_um[1], self.mesh_length_um[1])
        return longest / 2 + 3 * self.fibre_radius_um[1] + 0.2


def actin(cell: Cell, parameters: Actin) -> Emitters:
    """The actin that starts in a cell: fibres, bundles and mesh."""
    specimen = cell.specimen()
    fibres = draw_one(specimen, parameters.fibres_um_per_um2)
    bundles = draw_one(specimen, parameters.bundles_um_per_um2)
    mesh = draw_one(specimen, parameters.mesh_um_per_um2)
    aligned = draw_one(specimen, parameters.alignment)
    banding = draw_one(specimen, parameters.banding)
    period = draw_one(specimen, parameters.sarcomere_um)
    cortex = draw_one(specimen, parameters.cortex_um)
    return join(
        (
            _fibres(cell, parameters, fibres, aligned, banding, period),
            _bundles(cell, parameters, bundles, aligned, cortex),
            _mesh(cell, parameters, mesh, cortex),
        )
    )


def _fibres(cell: Cell, parameters: Actin, density: float, aligned: float, banding: float, period: float) -> Emitters:
    """Nearly straight, wide and bright; they taper, sag by a few tenths of a micrometre, and may be banded."""
    rng = cell.rng(1)
    y, x = cell.scatter(rng, density / mean(parameters.fibre_length_um), parameters.unevenness)
    n = y.size
    length = draw(rng, parameters.fibre_length_um, n)
    z = rng.normal(0, 0.08, n)
    # A bundle of tens of filaments bends as little as its bending stiffness, the sum of theirs, lets it.
    chains = grow(
        rng, (z, y, x), headings(cell, rng, y, x, aligned), length, np.full(n, 150.0), depth_um=0.05, smooth_um=1.0
    )
    radius = draw(rng, parameters.fibre_radius_um, n)
    light = draw(rng, parameters.fibre_light, n) * (radius / mean(parameters.fibre_radius_um))
    phase = rng.random(n)
    per_um = 300.0
    place = sites(cell, chains, per_um, 1, 3 * float(parameters.fibre_radius_um[1]))
    u, v, w = cell.uniform(11, place.number)
    whole = length[place.chain]
    ends = np.clip(np.minimum(place.arc, whole - place.arc) / 2.0, 0.02, 1.0)
    across = radius[place.chain] * np.sqrt(np.minimum(-2 * np.log(u), 9.0) * ends)
    bands = 1 + banding * np.cos(2 * math.pi * (place.arc / period + phase[place.chain]))
    uneven = np.exp(0.3 * _ripple(cell, chains, 12, 8)[place.chain, place.vertex])
    brightness = light[place.chain] / per_um * bands * np.sqrt(ends) * uneven * (0.5 + w)
    z, y, x = beside(place, across, 2 * math.pi * v)
    return emitters(z, y, x, brightness)


def _bundles(cell: Cell, parameters: Actin, density: float, aligned: float, cortex: float) -> Emitters:
    """Short thin bundles that cross the fibres at any angle."""
    rng = cell.rng(2)
    y, x = cell.scatter(rng, density / mean(parameters.bundle_length_um), parameters.unevenness)
    n = y.size
    z = rng.uniform(0, 2 * cortex, n)
    length = draw(rng, parameters.bundle_length_um, n)
    heading = headings(cell, rng, y, x, aligned * 0.6)
    chains = grow(
        rng, (z, y, x), heading, length, np.full(n, 3 * parameters.persistence_um[1]), depth_um=0.05, smooth_um=0.5
    )
    light = draw(rng, parameters.bundle_light, n)
    place = sites(cell, chains, 120.0, 2, 0.1)
    u, v, w = cell.uniform(13, place.number)
    z, y, x = beside(place, 0.025 * np.sqrt(np.minimum(-2 * np.log(u), 9.0)), 2 * math.pi * v)
    ends = np.clip(np.minimum(place.arc, length[place.chain] - place.arc) / 0.5, 0.1, 1.0)
    return emitters(z, y, x, light[place.chain] / 120.0 * ends * (0.5 + w))


def _mesh(cell: Cell, parameters: Actin, density: float, cortex: float) -> Emitters:
    """Single filaments in every direction, too dense to tell apart in most places."""
    reach = parameters.mesh_length_um[1] / 2 + 0.2
    side = cell.side_um / PATCHES
    middles: Float64 = (np.arange(PATCHES, dtype=np.float64) + 0.5) * side
    parts = []
    for row, column in np.ndindex(PATCHES, PATCHES):
        # Filaments are many and short: only the patches of the cell near the window are drawn.
        if cell.sees(middles[row : row + 1], middles[column : column + 1], side / 2 + reach).any():
            patch = row * PATCHES + column
            rng = cell.rng(100 + patch)
            square = row * side, column * side, side
            y, x = cell.scatter(rng, density / mean(parameters.mesh_length_um), parameters.unevenness, square)
            n = y.size
            z, heading = rng.uniform(-cortex / 2, cortex / 2, n), rng.uniform(0, 2 * math.pi, n)
            length = draw(rng, parameters.mesh_length_um, n)
            chains = grow(rng, (z, y, x), heading, length, draw(rng, parameters.persistence_um, n))
            light = draw(rng, parameters.mesh_light, n)
            place = sites(cell, chains, 40.0, 100 + patch, 0.01)
            bright = cell.uniform(200 + patch, place.number)[0]
            parts.append(emitters(*place.position, light[place.chain] / 40.0 * (0.5 + bright)))
    return join(parts)


def _ripple(cell: Cell, chains: Chains, purpose: int, smooth: int) -> Float64:
    """Slow variation along each chain: [n, V], variance about 1."""
    noise = cell.rng(purpose).standard_normal((chains.y.shape[0], chains.y.shape[1] + smooth))
    summed = np.cumsum(noise, axis=1)
    rippled: Float64 = (summed[:, smooth:] - summed[:, :-smooth]) / math.sqrt(smooth)
    return rippled
