"""Specimens: where the fluorophores are. Each structure is a function (rng, height_um, width_um, density) -> Emitters.

An emitter is a point, placed at sub-pixel precision in micrometres, so a specimen does not know any pixel size.
Out of focus means a wider spot: each emitter carries the extra width that its depth adds to every point spread
function. A 2-D STED image does not thin the light from other planes, and neither does the simulated target: what is out
of focus is as smooth there as in the input, so that a network is never rewarded for making filaments out of haze.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

MAX_DEFOCUS_UM = 3.0
"""Largest extra width (FWHM) that an emitter may carry."""


class Emitters(NamedTuple):
    """Points of light.

    y, x      [n] position in micrometres; may lie outside the field, whose corner is (0, 0)
    light     [n] relative brightness
    defocus   [n] extra spot width in micrometres FWHM, 0 in focus, at most MAX_DEFOCUS_UM
    """

    y: Float
    x: Float
    light: Float
    defocus: Float


def join(parts: list[Emitters]) -> Emitters:
    """All emitters of several specimens."""
    return Emitters(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def microtubules(rng: np.random.Generator, height_um: float, width_um: float, density: float = 1.0) -> Emitters:
    """Worm-like chains: a direction that diffuses, <cos> = exp(-s / 2 Lp) in two dimensions.

    density 1 is about 1 micrometre of filament a square micrometre. Lengths 3 to 30 um, persistence lengths 3 to 40 um,
    one to three filaments a bundle; two thirds lie in focus, the others cross the depth of the field.
    """
    margin_um = 3.0
    n = int(rng.poisson(density * (height_um + 2 * margin_um) * (width_um + 2 * margin_um) / 12.0))
    labels_per_um = math.exp(rng.uniform(math.log(80.0), math.log(300.0)))
    # A few hundred at a time, which bounds the memory of a large field.
    counts = [min(512, n - done) for done in range(0, n, 512)]
    return join([_filaments(rng, count, (height_um, width_um), margin_um, labels_per_um) for count in [*counts, 0]])


def _filaments(
    rng: np.random.Generator, n: int, size_um: tuple[float, float], margin_um: float, labels_per_um: float
) -> Emitters:
    """`n` worm-like chains that start anywhere in the field and its margin."""
    step_um, longest_um = 0.05, 30.0
    steps = int(longest_um / step_um)
    persistence = np.exp(rng.uniform(math.log(3.0), math.log(40.0), n))
    turn = rng.standard_normal((n, steps)) * np.sqrt(step_um / persistence)[:, None]
    turn[:, 0] = rng.uniform(0, 2 * math.pi, n)
    angle = np.cumsum(turn, axis=1)
    y = np.cumsum(np.sin(angle), axis=1) * step_um + rng.uniform(-margin_um, size_um[0] + margin_um, n)[:, None]
    x = np.cumsum(np.cos(angle), axis=1) * step_um + rng.uniform(-margin_um, size_um[1] + margin_um, n)[:, None]
    length = rng.uniform(3.0, 21.0, n) * np.where(rng.random(n) < 0.1, longest_um / 21.0, 1.0)
    in_focus = rng.random(n) < 0.67
    depth = np.where(in_focus, rng.normal(0, 0.08, n), rng.normal(0, 1.0, n))
    slope = np.where(in_focus, rng.normal(0, 0.005, n), rng.normal(0, 0.08, n))
    light = rng.choice([1.0, 2.0, 3.0], n, p=[0.75, 0.2, 0.05]) * rng.lognormal(0, 0.25, n)
    chain = np.repeat(np.arange(n), rng.poisson(length * labels_per_um))
    along = rng.random(chain.size) * length[chain]
    # A point at arc length s lies between two vertices of its chain.
    vertex = np.minimum((along / step_um).astype(np.int64), steps - 2)
    part = along / step_um - vertex
    at_y = y[chain, vertex] * (1 - part) + y[chain, vertex + 1] * part
    at_x = x[chain, vertex] * (1 - part) + x[chain, vertex + 1] * part
    return _emitters(at_y, at_x, light[chain] / labels_per_um, np.abs(depth[chain] + slope[chain] * along))


def vesicles(rng: np.random.Generator, height_um: float, width_um: float, density: float = 1.0) -> Emitters:
    """Puncta and small vesicles, filled or with a bright membrane: density 1 is 0.8 a square micrometre.

    Radii 10 to 300 nm, mostly small; brightness is log-normal; a quarter lie out of focus.
    """
    margin_um, labels = 1.0, 120
    n = int(rng.poisson(density * 0.8 * (height_um + 2 * margin_um) * (width_um + 2 * margin_um)))
    radius = np.minimum(0.01 + rng.exponential(0.06, n), 0.3)
    light = rng.lognormal(0, 0.5, n) * (0.3 + radius / 0.06)
    depth = np.where(rng.random(n) < 0.75, rng.normal(0, 0.08, n), rng.normal(0, 0.8, n))
    centre_y = rng.uniform(-margin_um, height_um + margin_um, n)
    centre_x = rng.uniform(-margin_um, width_um + margin_um, n)
    which = np.repeat(np.arange(n), labels)
    # Uniform directions on a sphere, seen from above; filled ones use the cube root of a uniform radius.
    cosine, angle = rng.uniform(-1, 1, which.size), rng.uniform(0, 2 * math.pi, which.size)
    hollow = rng.random(n) < 0.5
    shell = np.where(hollow[which], 1.0, np.cbrt(rng.random(which.size)))
    across = radius[which] * shell * np.sqrt(1 - cosine**2)
    return _emitters(
        centre_y[which] + across * np.sin(angle),
        centre_x[which] + across * np.cos(angle),
        0.3 * light[which] / labels,
        np.abs(depth[which]),
    )


def nuclei(rng: np.random.Generator, height_um: float, width_um: float, density: float = 1.0) -> Emitters:
    """Ellipses of 6 to 16 um filled with a chromatin-like texture: density 1 is one in 250 square micrometres."""
    margin_um, spacing_um, tile = 8.0, 0.04, 512
    n = int(rng.poisson(density * (height_um + 2 * margin_um) * (width_um + 2 * margin_um) / 250.0))
    texture = chromatin(rng, tile, spacing_um)
    parts = [_emitters(*np.zeros((4, 0)))]
    for _ in range(n):
        a, b = rng.uniform(3.0, 8.0), rng.uniform(3.0, 6.0)
        centre = rng.uniform(-margin_um, height_um + margin_um), rng.uniform(-margin_um, width_um + margin_um)
        tilt, light, depth = rng.uniform(0, math.pi), rng.lognormal(0, 0.3), abs(rng.normal(0, 0.15))
        row, column = rng.integers(0, tile, 2)
        ny, nx = int(2 * a / spacing_um), int(2 * b / spacing_um)
        v, u = np.mgrid[0:ny, 0:nx]
        height = 1 - ((v - ny / 2) / (ny / 2)) ** 2 - ((u - nx / 2) / (nx / 2)) ** 2
        inside = height > 0
        v, u, height = v[inside], u[inside], height[inside]
        weight = light * texture[(v + row) % tile, (u + column) % tile] * np.minimum(1.0, 4 * np.sqrt(height))
        v_um = (v + rng.random(v.size) - ny / 2) * spacing_um
        u_um = (u + rng.random(u.size) - nx / 2) * spacing_um
        y = centre[0] + v_um * math.cos(tilt) + u_um * math.sin(tilt)
        x = centre[1] - v_um * math.sin(tilt) + u_um * math.cos(tilt)
        parts.append(_emitters(y, x, 4 * weight * spacing_um**2, np.full(y.size, depth)))
    return join(parts)


def chromatin(rng: np.random.Generator, size: int, spacing_um: float) -> Float:
    """A periodic texture [size, size] of mean 1: log-normal noise with detail from 0.15 to about 3 um."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) / spacing_um
    amplitude = np.exp(-((frequency * 0.15) ** 2)) / (1 + (frequency * 1.0) ** 1.5)
    amplitude[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * amplitude, (size, size))
    texture = np.exp(0.8 * noise / noise.std())
    return np.asarray(texture / texture.mean(), dtype=np.float32)


def haze(rng: np.random.Generator, height_um: float, width_um: float, density: float = 1.0) -> Emitters:
    """Light from far planes: few, strong, fully defocused points, which make a smooth uneven background."""
    margin_um = 4.0
    n = int(rng.poisson(density * 0.15 * (height_um + 2 * margin_um) * (width_um + 2 * margin_um)))
    y = rng.uniform(-margin_um, height_um + margin_um, n)
    x = rng.uniform(-margin_um, width_um + margin_um, n)
    return _emitters(y, x, rng.exponential(1.0, n), rng.uniform(0.6, 1.0, n) * MAX_DEFOCUS_UM)


STRUCTURES: dict[str, Callable[[np.random.Generator, float, float, float], Emitters]] = {
    "microtubules": microtubules,
    "vesicles": vesicles,
    "nuclei": nuclei,
}
"""The structures that can be simulated by name."""


def _emitters(y: NDArray[np.floating], x: NDArray[np.floating], light: object, defocus: object) -> Emitters:
    """float32 columns, the defocus held within its limit."""
    width = np.minimum(np.asarray(defocus, dtype=np.float32), np.float32(MAX_DEFOCUS_UM))
    return Emitters(y.astype(np.float32), x.astype(np.float32), np.asarray(light, dtype=np.float32), width)
