"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.metrics.check import check_pair


def psnr(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0) -> Tensor:
    """10 log10(data_range^2 / mean squared error) in dB: [..., Y, X] twice -> [...] float64; inf where equal.

    The pixel size does not matter. Raises InputError where the shapes differ or the range is not positive.
    """
    check_pair(prediction, target, data_range)
    pixels = target.shape[-2] * target.shape[-1]
    squared = (prediction - target).square().sum((-2, -1), dtype=torch.float64)
    return 10 * torch.log10(data_range**2 * pixels / squared)
