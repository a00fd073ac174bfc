"""Random functions of the plane that need no more than a place: smooth ones of two coordinates, and one of lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fluorsr.data.structures.cell import hash64

Float64 = NDArray[np.float64]


def smooth_plane(seed: int, y_um: Float64, x_um: Float64, scale_um: float) -> Float64:
    """A smooth random function on a grid of rows y_um [Y] and columns x_um [X]: [Y, X], mean 0, variance 1.

    Random numbers at the nodes of a square lattice, blended with weights that rise and fall flat and make every
    variance 1; so the grid's part of the plane needs nothing but its own nodes.
    """
    rows, down = _weights(y_um / scale_um)
    columns, right = _weights(x_um / scale_um)
    nodes = np.stack([hash64((seed, int(row)), columns.astype(np.int64)) for row in rows])
    values = math.sqrt(3) * (2 * (nodes >> np.uint64(11)).astype(np.float64) / 2**53 - 1)
    plane: Float64 = down @ values @ right.T
    return plane


def line_noise(seed: int, rows: NDArray[np.int64]) -> Float64:
    """A normal random number for each line (Box and Muller 1958), the same wherever the line is looked at."""
    u, v = (((hash64((seed, part), rows) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53 for part in (0, 1))
    noise: Float64 = np.sqrt(-2 * np.log(u)) * np.cos(2 * math.pi * v)
    return noise


def _weights(at: Float64) -> tuple[NDArray[np.int64], Float64]:
    """Lattice lines around positions [n] in lattice steps, and the weight of each for each position: [n, lines].

    Cubic B-splines, so that no line of the lattice can be seen.
    """
    first = np.floor(at).astype(np.int64) - 1
    lines = np.arange(first.min(), first.max() + 4)
    away = np.abs(at[:, None] - lines)
    near = 2 / 3 - away**2 + away**3 / 2
    weights = np.where(away < 1, near, np.clip(2 - away, 0, None) ** 3 / 6)
    return lines, weights / np.sqrt((weights**2).sum(1, keepdims=True))
