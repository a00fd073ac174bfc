"""Vesicles, with bright membranes or filled, and point emitters."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.emitters import Emitters, emitters
from fluorsr.data.structures.parameters import Amount, Parameters, Positive, Share, draw, draw_one

Float64 = NDArray[np.float64]


class Vesicles(Parameters):
    """Once a specimen: density, size, filled share, clustering, thickness. Each vesicle: radius and brightness.

    per_um2          vesicles and endosomes, 0.1 to 1.5 a square micrometre
    radius_um        median of the specimen: 20 nm (synaptic: Takamori et al. 2006) to 0.25 um (late endosomes:
                     Huotari and Helenius 2011)
    spread           standard deviation of the logarithm of the radius within a specimen; radii end at 3 spreads
    filled           share of vesicles with labelled contents rather than membrane
    labels_per_um2   of the membrane; a filled vesicle has as many
    clustered        share that sits in clusters of 2 to 12, within 0.6 um
    thickness_um     of the layer they lie in
    """

    per_um2: Amount = (0.1, 1.5)
    radius_um: Positive = (0.025, 0.2)
    spread: float = pydantic.Field(default=0.35, ge=0, le=0.7)
    filled: Share = (0.0, 0.8)
    labels_per_um2: Positive = (500.0, 2000.0)
    clustered: Share = (0.0, 0.4)
    thickness_um: Amount = (0.2, 2.0)
    unevenness: float = pydantic.Field(default=0.5, ge=0, le=1.5)

    cell_um: ClassVar[float] = 8.0

    @property
    def reach_um(self) -> float:
        """The largest radius, and the size of a cluster."""
        return self.largest_um + 0.6

    @property
    def largest_um(self) -> float:
        """Radius at which a vesicle ends."""
        return self.radius_um[1] * math.exp(3 * self.spread)


class Spheres(NamedTuple):
    """The vesicles of a cell, as drawn: centres and radii in micrometres, all float64 [n]."""

    z: Float64
    y: Float64
    x: Float64
    radius: Float64


def spheres(cell: Cell, parameters: Vesicles) -> Spheres:
    """Where the vesicles that start in a cell are, and how large."""
    drawn = _drawn(cell, parameters)
    density, clustered, thickness = drawn["per_um2"], drawn["clustered"], drawn["thickness_um"]
    rng = cell.rng(1)
    # Clusters hold 7 on average: single vesicles and clusters are drawn apart.
    y, x = cell.scatter(rng, density * (1 - clustered), parameters.unevenness)
    cy, cx = cell.scatter(rng, density * clustered / 7, parameters.unevenness)
    member = np.repeat(np.arange(cy.size), rng.integers(2, 13, cy.size))
    out, angle = 0.6 * np.sqrt(rng.random(member.size)), rng.uniform(0, 2 * math.pi, member.size)
    z = np.concatenate((np.zeros(y.size), rng.uniform(-0.2, 0.2, member.size)))
    z[: y.size] = rng.uniform(-0.5, 0.5, y.size) * thickness
    z[y.size :] += (rng.uniform(-0.5, 0.5, cy.size) * thickness)[member]
    y = np.concatenate((y, cy[member] + out * np.sin(angle)))
    x = np.concatenate((x, cx[member] + out * np.cos(angle)))
    radius = drawn["radius_um"] * np.exp(parameters.spread * np.clip(rng.standard_normal(y.size), -3, 3))
    return Spheres(z, y, x, radius)


def vesicles(cell: Cell, parameters: Vesicles) -> Emitters:
    """The vesicles that start in a cell: labels at random on each membrane, or throughout a filled one."""
    ball = spheres(cell, parameters)
    drawn = _drawn(cell, parameters)
    rng = cell.rng(2)
    hollow = rng.random(ball.y.size) >= drawn["filled"]
    bright = rng.lognormal(0, 0.35, ball.y.size)
    labels = np.clip(4 * math.pi * ball.radius**2 * drawn["labels_per_um2"], 6, 2000)
    count = np.minimum(labels, 400).astype(np.int64)
    first = np.cumsum(count) - count
    seen = np.flatnonzero(cell.sees(ball.y, ball.x, ball.radius))
    which = np.repeat(seen, count[seen])
    number = first[which] + np.arange(which.size) - np.repeat(np.cumsum(count[seen]) - count[seen], count[seen])
    u, v, w = cell.uniform(3, number)
    # Uniform on the sphere: its height is uniform (Archimedes); throughout it, the cube of the radius is.
    out = ball.radius[which] * np.where(hollow[which], 1.0, np.cbrt(w))
    height, around = 2 * u - 1, 2 * math.pi * v
    across = out * np.sqrt(1 - height**2)
    light = (bright * labels / count)[which]
    y, x = ball.y[which] + across * np.sin(around), ball.x[which] + across * np.cos(around)
    return emitters(ball.z[which] + out * height, y, x, light)


def _drawn(cell: Cell, parameters: Vesicles) -> dict[str, float]:
    """What is drawn once a specimen, by the name of its range."""
    specimen = cell.specimen()
    names = ("per_um2", "clustered", "thickness_um", "radius_um", "filled", "labels_per_um2")
    return {name: draw_one(specimen, getattr(parameters, name)) for name in names}


class Points(Parameters):
    """Single points of light, each all of one brightness; once a specimen: density, thickness; each: brightness.

    per_um2   0.05 to 2 a square micrometre;  light  in labels, as in antibodies, beads or receptors
    """

    per_um2: Amount = (0.05, 2.0)
    light: Positive = (10.0, 80.0)
    thickness_um: Amount = (0.0, 1.0)
    unevenness: float = pydantic.Field(default=0.0, ge=0, le=1.5)

    cell_um: ClassVar[float] = 8.0

    @property
    def reach_um(self) -> float:
        """A point lies in its cell."""
        return 0.0


def points(cell: Cell, parameters: Points) -> Emitters:
    """The point emitters of a cell."""
    specimen = cell.specimen()
    density, thickness = draw_one(specimen, parameters.per_um2), draw_one(specimen, parameters.thickness_um)
    rng = cell.rng(1)
    y, x = cell.scatter(rng, density, parameters.unevenness)
    z = rng.uniform(-0.5, 0.5, y.size) * thickness
    return emitters(z, y, x, draw(rng, parameters.light, y.size))
