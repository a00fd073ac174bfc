"""Separable convolution by matrix products: many times faster than convolutions of one channel, in float64 too.

Along an axis, BAND outputs at a time are a banded matrix times BAND + 2r inputs:

    inputs   |<- r ->|<------ BAND ------>|<- r ->|
    outputs          |<------ BAND ------>|
"""

from __future__ import annotations

import torch
from torch import Tensor

BAND = 64


def separable(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve with a symmetric kernel [2r + 1] along y and x where it fits: [N, Y + 2r, X + 2r] -> [N, Y, X].

    The dtype stays. A pixel that is not finite spoils its band.
    """
    reach = kernel.numel() - 1
    height, width = images.shape[-2] - reach, images.shape[-1] - reach
    band = torch.zeros(BAND + reach, BAND, dtype=images.dtype, device=images.device)
    for k, weight in enumerate(kernel.to(images)):
        band.diagonal(-k).fill_(weight)
    rows = []
    for top in range(0, height, BAND):
        count = min(BAND, height - top)
        rows.append(band[: count + reach, :count].T @ images[:, top : top + count + reach])
    columns = []
    tall = torch.cat(rows, 1)
    for left in range(0, width, BAND):
        count = min(BAND, width - left)
        columns.append(tall[..., left : left + count + reach] @ band[: count + reach, :count])
    return torch.cat(columns, -1)
