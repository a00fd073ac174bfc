"""Worm-like chains in three dimensions, and the labels along them.

The direction of a worm-like chain diffuses: after an arc s it has turned by a Gaussian angle of variance s / Lp about
each of two axes, so <t(0) . t(s)> = exp(-s / Lp) in space, and exp(-s / 2 Lp) in the plane (Kratky and Porod 1949).
Cells are flat, so along z a chain is held about its own height by a soft channel, in which it meanders with Odijk's
deflection length (1983): the elevation follows the same diffusion with a restoring force, critically damped,

    z'' + 2 k z' + k^2 z = w(s),   <w w'> = delta / Lp   ->   <z^2> = 1 / (4 k^3 Lp),   g(s) = s exp(-k s)

to first order in the tilt. Below `smooth_um` a chain does not bend by chance: rods are stiff at short range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluorsr.data.structures.cell import Cell

Float64 = NDArray[np.float64]

STEP_UM = 0.1
"""Arc between vertices."""


class Chains(NamedTuple):
    """Chains of different lengths in one array.

    z, y, x   vertices in micrometres, float64 [n, V], of which the first `used` [n] count
    """

    z: Float64
    y: Float64
    x: Float64
    used: NDArray[np.int64]


class Sites(NamedTuple):
    """Places along chains, all [n]: which chain, the vertex before, arc from its start, position and unit tangent.

    number   of the site, the same in whatever window it is seen
    """

    chain: NDArray[np.int64]
    vertex: NDArray[np.int64]
    number: NDArray[np.int64]
    arc: Float64
    position: tuple[Float64, Float64, Float64]
    tangent: tuple[Float64, Float64, Float64]


def headings(cell: Cell, rng: np.random.Generator, y: Float64, x: Float64, aligned: float) -> Float64:
    """Directions in the plane, in radians: 0 alignment any, 1 those of the region, which change over 40 um."""
    region = np.arctan2(cell.noise(21, y, x, 40.0), cell.noise(22, y, x, 40.0)) / 2
    return (
        region + math.pi * rng.integers(0, 2, y.size) + (1 - aligned) * rng.uniform(-math.pi / 2, math.pi / 2, y.size)
    )


def grow(
    rng: np.random.Generator,
    anchor: tuple[Float64, Float64, Float64],
    heading: Float64,
    length_um: Float64,
    persistence_um: Float64,
    *,
    depth_um: float = 0.0,
    smooth_um: float = 0.0,
    from_end: bool = False,
) -> Chains:
    """Chains through the points `anchor` (z, y, x), in the direction `heading` (radians from y towards x) there.

    The anchor is the middle of a chain, or its beginning where `from_end`; depth_um is the rms excursion along z.
    """
    n = heading.size
    used = np.maximum(2, np.round(length_um / STEP_UM).astype(np.int64) + 1)
    steps = int(used.max(initial=2)) - 1
    window = max(1, round(smooth_um / STEP_UM))
    stiffness = np.cbrt(1 / (4 * persistence_um * max(depth_um, 1e-3) ** 2))
    warm = int(np.ceil(6 / stiffness.clip(0.03).min(initial=8.0) / STEP_UM)) if depth_um > 0 else 0
    normal = rng.standard_normal((2, n, warm + steps + window), dtype=np.float32)
    turns = normal.astype(np.float64) * np.sqrt(STEP_UM / persistence_um)[:, None]
    if window > 1:
        summed = np.cumsum(turns, axis=2)
        turns = (summed[..., window:] - summed[..., :-window]) / window
    else:
        turns = turns[..., 1:]
    rise = _rise(turns[0], stiffness, warm, steps) if depth_um > 0 else np.zeros((n, steps))
    start = np.zeros_like(used) if from_end else (used - 1) // 2
    rows = np.arange(n)
    angle = np.cumsum(turns[1, :, warm:], axis=1)
    angle += (heading - angle[rows, np.minimum(start, steps - 1)])[:, None]
    across = np.sqrt(STEP_UM**2 - rise**2)
    path = []
    for step, at in zip((rise, across * np.cos(angle), across * np.sin(angle)), anchor, strict=True):
        along = np.concatenate((np.zeros((n, 1)), np.cumsum(step, axis=1)), axis=1)
        path.append(along + (at - along[rows, start])[:, None])
    return Chains(path[0], path[1], path[2], used)


def _rise(turns: Float64, stiffness: Float64, warm: int, steps: int) -> Float64:
    """The rise of each step: how far the response of the channel, g(s), to the turns [n, warm + steps] rises in it."""
    s = np.arange(warm + 2) * STEP_UM
    # Differences of g, not samples of its slope: they add up to 0, and z does not drift.
    response = np.diff(s * np.exp(-stiffness[:, None] * s), axis=1) / STEP_UM
    size = 1 << (warm + steps + warm).bit_length()
    tilt = np.fft.irfft(np.fft.rfft(turns, size) * np.fft.rfft(response, size), size)[:, warm : warm + steps]
    return np.clip(tilt, -0.9, 0.9) * STEP_UM


def sites(cell: Cell, chains: Chains, per_um: float | Float64, purpose: int, margin_um: float) -> Sites:
    """Places along chains, jittered, `per_um` for each chain or for all, within `margin_um` of the cell's window."""
    (y0, x0), (y1, x1) = cell.window
    y, x = chains.y[:, :-1], chains.x[:, :-1]
    near = np.arange(y.shape[1]) < (chains.used - 1)[:, None]
    far = margin_um + STEP_UM
    near &= (y > y0 - far) & (y < y1 + far) & (x > x0 - far) & (x < x1 + far)
    chain, vertex = np.nonzero(near)
    ideal = np.broadcast_to(per_um, chains.used.shape) * STEP_UM
    each = np.maximum(1, np.ceil(ideal - 1e-9)).astype(np.int64)
    most = int(each.max(initial=1))
    count = each[chain]
    segment = np.repeat(np.arange(chain.size), count)
    k = np.arange(segment.size) - np.repeat(np.cumsum(count) - count, count)
    number = (chain[segment] * y.shape[1] + vertex[segment]) * most + k
    jitter, chance, _ = cell.uniform(purpose, number)
    # Where a step is due a fraction of a site, the last of its places is taken that often.
    taken = (k < count[segment] - 1) | (chance <= (ideal - each + 1)[chain][segment])
    segment, number, k, jitter = segment[taken], number[taken], k[taken], jitter[taken]
    part = (k + jitter) / count[segment]
    position, tangent = [], []
    for line in (chains.z, chains.y, chains.x):
        step = line[chain, vertex + 1] - line[chain, vertex]
        position.append(line[chain, vertex][segment] + part * step[segment])
        tangent.append((step / STEP_UM)[segment])
    at = vertex[segment]
    return Sites(
        chain[segment],
        at,
        number,
        (at + part) * STEP_UM,
        (position[0], position[1], position[2]),
        (tangent[0], tangent[1], tangent[2]),
    )


def beside(place: Sites, radius_um: Float64 | float, angle: Float64) -> tuple[Float64, Float64, Float64]:
    """(z, y, x) of points at a distance from the axis, in the plane across it, at an angle from the horizontal."""
    tz, ty, tx = place.tangent
    flat = np.maximum(np.hypot(ty, tx), 1e-9)
    side, up = radius_um * np.cos(angle), radius_um * np.sin(angle)
    # Across the tangent (tz, ty, tx): (0, -tx, ty) / flat, and their product (flat, -tz ty / flat, -tz tx / flat).
    z, y, x = place.position
    return z + up * flat, y - side * tx / flat - up * tz * ty / flat, x + side * ty / flat - up * tz * tx / flat
