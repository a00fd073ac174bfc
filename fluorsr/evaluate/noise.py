"""The noise of a camera image, out of the image itself: variance = gain * level + floor, in counts squared.

A high-pass that a smooth specimen does not pass (Immerkaer 1996, Comput. Vis. Image Underst. 64, 300) leaves the noise;
pixels are sorted by their local mean, and the spread within each part, by its median, gives a point of the line
(the photon transfer curve: Janesick 2007, Photon Transfer, SPIE).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

PARTS = 32
SAMPLE = 2**21
"""Pixels that are looked at, about."""
NORMAL_MAD = 1.4826
"""Standard deviation over the median absolute deviation, of normal noise."""


@dataclass(frozen=True)
class Noise:
    """gain in counts a photon (with excess noise, if any), floor in counts squared, never less than `least`."""

    gain: float
    floor: float
    least: float

    def variance(self, level: Tensor) -> Tensor:
        """At noise-free levels in counts."""
        return (self.gain * level + self.floor).clamp(min=self.least)


def measure_noise(image: Tensor) -> Noise:
    """Of [Y, X] float counts, at least 16 x 16. Detail as fine as a pixel passes for noise; interpolated pixels have
    less than the camera's."""
    edge = torch.tensor([1.0, -2.0, 1.0], dtype=image.dtype)
    kernel = edge[:, None] * edge / 6  # the sum of its squares is 1: white noise keeps its variance
    step = max(1, image.numel() // SAMPLE)
    residual = functional.conv2d(image[None, None], kernel[None, None]).flatten()[::step]
    level = functional.avg_pool2d(image[None, None], 3, 1).flatten()[::step]
    parts = level.argsort().tensor_split(PARTS)
    levels = torch.stack([level[part].mean() for part in parts]).double()
    variances = torch.stack([(NORMAL_MAD * residual[part].abs().median()) ** 2 for part in parts]).double()
    least = max(float(variances.min()), 1e-12 * float(image.abs().max()) ** 2, 1e-30)
    # Each point is as uncertain as it is large.
    weight = 1 / variances.clamp(min=least)
    line = torch.stack([levels, torch.ones_like(levels)], 1) * weight[:, None]
    gain, floor = torch.linalg.lstsq(line, (variances * weight)[:, None]).solution.flatten().tolist()
    return Noise(max(gain, 0.0), floor if gain > 0 else float(variances.median()), least)
