"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003, Asilomar Conf. Signals 2, 1398)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair
from fluorsr.metrics.ssim import RADIUS, similarity

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (the paper's section 3.2)."""

SMALLEST = 2 * RADIUS * 2 ** (len(WEIGHTS) - 1) + 1
"""The window must fit in at the coarsest scale."""


def ms_ssim(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0) -> Tensor:
    """SSIM_5^w5 times the contrast-structure terms of scales 1 to 4 (equation 7): [..., Y, X] twice -> [...] float64.

    Each scale is the 2 x 2 mean of the one before; the last pixel of an odd row counts twice, as in the authors' code.
    A negative mean of a scale (images that oppose each other) counts as 0. The pixel size does not matter.
    Raises InputError for images whose coarsest scale is smaller than the window.
    """
    check_pair(prediction, target, data_range)
    rows, columns = target.shape[-2:]
    if min(rows, columns) < SMALLEST:
        raise InputError(f"MS-SSIM needs images of at least {SMALLEST} x {SMALLEST} pixels, not {rows} x {columns}")
    x, y = prediction, target
    result = torch.ones(target.shape[:-2], dtype=torch.float64, device=target.device)
    for weight in WEIGHTS:
        whole, structure = similarity(x, y, data_range)
        last = weight == WEIGHTS[-1]
        result = result * (whole if last else structure).clamp(min=0) ** weight
        if not last:
            x, y = halve(x), halve(y)
    return result


def halve(images: Tensor) -> Tensor:
    """2 x 2 means: [..., Y, X] -> [..., ceil(Y / 2), ceil(X / 2)]."""
    rows, columns = images.shape[-2:]
    stack = images.reshape(-1, 1, rows, columns)
    stack = functional.pad(stack, (0, columns % 2, 0, rows % 2), mode="replicate")
    halves = functional.avg_pool2d(stack, 2)
    return halves.reshape(*images.shape[:-2], *halves.shape[-2:])
