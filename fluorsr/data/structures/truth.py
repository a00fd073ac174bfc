"""Exact images of the test targets: [Y, X] float64 at pixel centres, in light per square micrometre.

Pixel (0, 0) has its corner at y = x = 0. Blur is Gaussian, of which lines and rings have closed forms:

    segment   G(distance across) [Phi(end) - Phi(start)]
    ring      R / s^2 exp(-(r^2 + R^2) / 2 s^2) I0(r R / s^2)          (each ring has its length 2 pi R as light)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.data.structures.targets import Rings, Segments, Star

Float64 = NDArray[np.float64]
Size = tuple[int, int]


def segments_image(segments: Segments, size: Size, pixel_um: float, fwhm_um: float) -> Float64:
    """Lines blurred by a Gaussian spot of a full width at half maximum above 0."""
    sigma = _sigma(fwhm_um)
    y, x = _centres(size, pixel_um)
    image = np.zeros(size)
    for y0, x0, y1, x1 in zip(*segments, strict=True):
        length = math.hypot(y1 - y0, x1 - x0)
        uy, ux = (y1 - y0) / length, (x1 - x0) / length
        along, across = (y - y0) * uy + (x - x0) * ux, (x - x0) * uy - (y - y0) * ux
        reached = _erf(along / (sigma * math.sqrt(2))) - _erf((along - length) / (sigma * math.sqrt(2)))
        image += np.exp(-((across / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi)) * reached / 2
    return image


def rings_image(rings: Rings, size: Size, pixel_um: float, fwhm_um: float) -> Float64:
    """Rings blurred by a Gaussian spot of a full width at half maximum above 0."""
    sigma = _sigma(fwhm_um)
    y, x = _centres(size, pixel_um)
    image = np.zeros(size)
    for centre_y, centre_x, radius in zip(*rings, strict=True):
        out = np.hypot(y - centre_y, x - centre_x)
        bessel = torch.special.i0e(torch.from_numpy(out * radius / sigma**2)).numpy()
        image += radius / sigma**2 * np.exp(-(((out - radius) / sigma) ** 2) / 2) * bessel
    return image


def star_image(star: Star, size: Size, pixel_um: float) -> Float64:
    """A star as it is, without blur: 1 in the bright sectors, 0 elsewhere."""
    y, x = _centres(size, pixel_um)
    out, angle = np.hypot(y - star.y, x - star.x), np.arctan2(x - star.x, y - star.y)
    bright = np.mod((angle - star.turn) * star.spokes / (2 * math.pi), 1.0) < 0.5
    return (bright & (out >= star.inner) & (out < star.outer)).astype(np.float64)


def pair_profile(distance_um: Float64, spacing_um: float, fwhm_um: float) -> Float64:
    """Across a long pair of lines, at distances from its middle: light per square micrometre."""
    sigma = _sigma(fwhm_um)
    peaks = (np.exp(-(((distance_um + side * spacing_um / 2) / sigma) ** 2) / 2) for side in (-1, 1))
    profile: Float64 = sum(peaks, np.zeros_like(distance_um)) / (sigma * math.sqrt(2 * math.pi))
    return profile


def _sigma(fwhm_um: float) -> float:
    return fwhm_um / math.sqrt(8 * math.log(2))


def _centres(size: Size, pixel_um: float) -> tuple[Float64, Float64]:
    y, x = (np.arange(n, dtype=np.float64) + 0.5 for n in size)
    return (y * pixel_um)[:, None], (x * pixel_um)[None, :]


def _erf(values: Float64) -> Float64:
    result: Float64 = torch.special.erf(torch.from_numpy(values)).numpy()
    return result
