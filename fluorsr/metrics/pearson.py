"""Pearson's correlation of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.metrics.check import check_pair


def pearson(prediction: Tensor, target: Tensor, *, data_range: float = 1.0, pixel_size_um: float = 1.0) -> Tensor:
    """cov(p, t) / sqrt(var(p) var(t)), -1 to 1: [..., Y, X] twice -> [...] float64.

    Gain and offset do not matter, nor do data_range and pixel size. NaN where an image is constant: nothing varies.
    """
    check_pair(prediction, target, data_range)
    p, t = (image.double() for image in (prediction, target))
    p, t = p - p.mean((-2, -1), keepdim=True), t - t.mean((-2, -1), keepdim=True)
    spread = (p.square().sum((-2, -1)) * t.square().sum((-2, -1))).sqrt()
    # A mean is exact to 1e-16 of it only: what a constant image has left is rounding, not variation.
    constant = _constant(prediction) | _constant(target)
    return torch.where(constant, torch.nan, (p * t).sum((-2, -1)) / spread)


def _constant(images: Tensor) -> Tensor:
    return images.amax((-2, -1)) == images.amin((-2, -1))
