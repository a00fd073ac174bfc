"""Which image of a pair is the sharper one, whatever their noise: the target has to be.

Where two images show the same specimen, the square root of the ratio of their powers is the ratio of their optical
transfer functions. Noise is taken off both powers first, and only frequencies where the images agree are looked at, so
a noisy image does not pass for a sharp one. For spots that are roughly Gaussian the logarithm of the ratio is a line
over the frequency squared, and its slope is the difference of their widths:

    ln(|H_input| / |H_target|)  =  const - pi^2 / (4 ln 2) * (FWHM_input^2 - FWHM_target^2) * q^2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluorsr.data.spectra import LOWEST_CYCLES, moved, profile, rings, spectrum

AGREEMENT = 0.5
"""Frequencies count up to where the ring correlation, averaged over three rings, first falls below this."""

LEAST_DROP = 0.05
"""A ratio that changes by less than this part over all frequencies tells nothing."""

NORMAL = 3.29
"""A slope must be away from 0 by as many standard errors as one in a thousand would be by chance."""

FEWEST_RINGS = 6


@dataclass(frozen=True)
class Sharpness:
    """How much blurrier the input is than the target.

    blur_px    width (FWHM) of the Gaussian that would make the target as blurry as the input, in pixels; negative where
               the input is the sharper one
    error_px2  standard error of blur_px squared
    verdict    "target" or "input", the sharper one, or "unclear"
    """

    blur_px: float
    error_px2: float
    verdict: str


def compare_sharpness(pixels: Tensor, target: Tensor, shift_px: tuple[float, float] = (0.0, 0.0)) -> Sharpness:
    """Compare two images [Y, X] on the same pixels, the target shifted by `shift_px` (y, x) against the input.

    Raises InputError where a side is shorter than 32 pixels.
    """
    second = moved(spectrum(target), target.shape, shift_px)
    found = profile(spectrum(pixels), second, rings(*pixels.shape))
    smooth = torch.nn.functional.avg_pool1d(found.correlation[None], 3, 1, 1, count_include_pad=False)[0]
    below = torch.nonzero(smooth[LOWEST_CYCLES:] < AGREEMENT)
    last = LOWEST_CYCLES + int(below[0]) if below.numel() else smooth.numel()
    band = slice(LOWEST_CYCLES, last)
    used = (found.powers[0][band] > 0) & (found.powers[1][band] > 0)
    if int(used.sum()) < FEWEST_RINGS:
        return Sharpness(0.0, math.inf, "unclear")
    ratio = 0.5 * torch.log(found.powers[0][band][used] / found.powers[1][band][used])
    q2 = found.frequency[band][used] ** 2
    weight = (found.members[band] * found.correlation[band].clamp(min=0) ** 2)[used]
    slope, error = _fit_line(q2, ratio, weight)
    per_px2 = math.pi**2 / (4 * math.log(2))
    difference, error_px2 = -slope / per_px2, error / per_px2
    clear = abs(slope) > _student(q2.numel() - 2) * error and abs(slope) * float(q2[-1]) > LEAST_DROP
    verdict = ("target" if slope < 0 else "input") if clear else "unclear"
    return Sharpness(math.copysign(math.sqrt(abs(difference)), difference), error_px2, verdict)


def all_inputs_sharper(pairs: Sequence[Sharpness]) -> bool:
    """Whether several pairs taken together, each by its certainty, show the inputs to be the sharper images.

    Each error is doubled: a few rings estimate it poorly. False for fewer than three pairs.
    """
    known = [
        (math.copysign(one.blur_px**2, one.blur_px), 2 * one.error_px2) for one in pairs if one.error_px2 < math.inf
    ]
    if len(known) < 3:
        return False
    weights = [1 / max(error, 1e-6) ** 2 for _, error in known]
    mean = sum(w * difference for w, (difference, _) in zip(weights, known, strict=True)) / sum(weights)
    return mean < -NORMAL / math.sqrt(sum(weights))


def _student(freedom: int) -> float:
    """The quantile of Student's t that belongs to NORMAL of the normal distribution (its expansion in 1 / freedom)."""
    z = NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _fit_line(x: Tensor, y: Tensor, weight: Tensor) -> tuple[float, float]:
    """Slope of the weighted least-squares line and its standard error, from how far the points lie off it."""
    total = weight.sum()
    dx, dy = x - (weight * x).sum() / total, y - (weight * y).sum() / total
    spread = (weight * dx**2).sum()
    slope = (weight * dx * dy).sum() / spread
    scatter = (weight * (dy - slope * dx) ** 2).sum() / (x.numel() - 2)
    return float(slope), float(torch.sqrt(scatter / spread))
