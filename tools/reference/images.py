"""Images whose metrics are known from other programs: the same numbers on every machine, from numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]

PIXEL_NM = 25.0


def filaments(side: int, seed: int = 0, count: int = 40) -> Image:
    """Worm-like lines, one pixel wide, drawn with sub-pixel weights: [side, side], unsmoothed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side))
    for _ in range(count):
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.standard_normal(2 * side) * 0.05)
        y = rng.uniform(0, side) + np.cumsum(np.sin(angle))
        x = rng.uniform(0, side) + np.cumsum(np.cos(angle))
        inside = (y > 0) & (x > 0) & (y < side - 1) & (x < side - 1)
        row, column = y[inside].astype(int), x[inside].astype(int)
        part_y, part_x = y[inside] - row, x[inside] - column
        for dy, wy in ((0, 1 - part_y), (1, part_y)):
            for dx, wx in ((0, 1 - part_x), (1, part_x)):
                np.add.at(image, (row + dy, column + dx), wy * wx)
    return image


def through_lens(image: Image, resolution_nm: float, photons: float) -> Image:
    """The expected photons [Y, X] behind an ideal lens that passes periods down to `resolution_nm` and no finer.

    Its transfer function is 2 / pi (acos v - v sqrt(1 - v^2)), v the frequency over the cut-off (Goodman 2005, 6-32).
    `photons` is the brightest pixel's; 2 % of it is background.
    """
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
    v = np.minimum(np.hypot(fy, fx) * resolution_nm / PIXEL_NM, 1.0)
    transfer = 2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v * v))
    blurred: Image = np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape).clip(0)
    expected: Image = blurred / blurred.max() * photons + 0.02 * photons
    return expected


def exposures(resolution_nm: float, photons: float, side: int = 512) -> tuple[Image, Image]:
    """Two photon-noise images of the same filaments."""
    expected = through_lens(filaments(side), resolution_nm, photons)
    rng = np.random.default_rng(int(resolution_nm))
    first, second = (rng.poisson(expected).astype(np.float64) for _ in range(2))
    return first, second


def restored_and_input(side: int = 192) -> tuple[Image, Image]:
    """A sharp image, and a blurred and noisy one of other gain and offset, at the same pixels."""
    scene = filaments(side, seed=3, count=15)
    sharp = through_lens(scene, 100.0, 1000.0)
    blurred = np.random.default_rng(4).poisson(through_lens(scene, 400.0, 200.0)).astype(np.float64) + 100.0
    return sharp, blurred


def weights(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Weights of a network that nobody trained: of the spread that keeps a signal's size through ReLU layers."""
    fan_in = max(int(np.prod(shape[1:])), 1)
    made: NDArray[np.float32] = (np.random.default_rng(seed).random(shape) - 0.5).astype(np.float32)
    made *= np.float32(np.sqrt(24 / fan_in))
    return made
