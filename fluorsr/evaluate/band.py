"""Over-smoothing: power that the camera image has above its noise, and the restored image lacks.

    kept(q) = power of the restored image, binned to the input's pixels, at frequency q
              / (power of the input - power of its noise)                         averaged over rings

A sharper image has more than the input everywhere, an honest smoothing of noise as much, an over-smoothed one less.
Noise is white; its power is read off the highest frequencies, which the microscope does not pass.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.metrics.spectrum import power_spectrum

NOISE_FROM = 0.42
"""Cycles a pixel from which an image is taken for noise."""
ABOVE_NOISE = 2.0
FIRST_RING, FEWEST_RINGS, SMOOTHED = 3, 5, 5


class Band(NamedTuple):
    """kept   the least of it in the band, NaN where the input has no band above its noise
    finest    the highest frequency that the input has above its noise, in cycles a pixel; 0 where none
    """

    kept: float
    finest: float


def band_kept(restored: Tensor, image: Tensor, gain: float = 1.0) -> Band:
    """Of restored [sY, sX] times `gain`, against the image [Y, X]; both finite."""
    scale = restored.shape[0] // image.shape[0]
    binned = functional.avg_pool2d(gain * restored[None], scale)[0]
    frequency, powers = power_spectrum(torch.stack([image, binned]))
    noise = float(powers[0][frequency > NOISE_FROM].median())
    own, kept = (_smoothed(power) for power in (powers[0] - noise, powers[1]))
    below = torch.nonzero(own[FIRST_RING:] < ABOVE_NOISE * noise)
    last = FIRST_RING + int(below[0]) if below.numel() else own.numel()
    if last < FIRST_RING + FEWEST_RINGS:
        return Band(math.nan, 0.0)
    return Band(float((kept / own)[FIRST_RING:last].min()), float(frequency[last - 1]))


def _smoothed(power: Tensor) -> Tensor:
    """The mean of SMOOTHED rings: a ring near the middle has few frequencies."""
    reach = SMOOTHED // 2
    return functional.avg_pool1d(functional.pad(power[None, None], (reach, reach), mode="replicate"), SMOOTHED, 1)[0, 0]
