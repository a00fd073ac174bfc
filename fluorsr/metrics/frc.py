"""Fourier ring correlation: up to which spatial frequency two images agree (van Heel 1987; Nieuwenhuizen et al. 2013).

    FRC(q) = sum_ring F1 conj(F2) / sqrt(sum_ring |F1|^2  sum_ring |F2|^2)

Between a restored image and the truth it tells the finest detail that is right, not merely sharp.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair

THRESHOLD = 1 / 7
BLOCK = 1024
"""Larger images are cut into squares of this size, and the sums of their rings added up."""


def frc(prediction: Tensor, target: Tensor, *, data_range: float = 1.0, pixel_size_um: float) -> Tensor:
    """Resolution in nanometres by the 1/7 criterion: [..., Y, X] twice -> [...] float64.

    The inverse of the first frequency at which the correlation, averaged over three rings, falls below 1/7;
    two pixels (Nyquist) where it never does, inf where it starts below.
    """
    check_pair(prediction, target, data_range)
    if not pixel_size_um > 0:
        raise InputError(f"pixel_size_um {pixel_size_um} must be above 0 to give a resolution in nm")
    pairs = zip(prediction.reshape(-1, *target.shape[-2:]), target.reshape(-1, *target.shape[-2:]), strict=True)
    cutoffs = [_crossing(*frc_curve(first, second)) for first, second in pairs]
    return (1000 * pixel_size_um / torch.tensor(cutoffs, dtype=torch.float64)).reshape(target.shape[:-2])


def frc_curve(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies in cycles a pixel [R], and the correlation of two images [Y, X] there [R], both float64.

    A Hann window in y and x hides the edges. Rings are one frequency step of the (square) block wide and end at
    Nyquist. Images that are no squares are compared in the squares that fit in. Raises InputError below 16 pixels.
    """
    side = min(*first.shape[-2:], BLOCK)
    if side < 16:
        raise InputError(f"Fourier ring correlation needs at least 16 x 16 pixels, not {tuple(first.shape[-2:])}")
    hann = torch.hann_window(side, periodic=False, dtype=torch.float64, device=first.device)
    window = hann[:, None] * hann[None, :]
    fy, fx = torch.fft.fftfreq(side, dtype=torch.float64), torch.fft.rfftfreq(side, dtype=torch.float64)
    rings = side // 2
    ring = torch.round(torch.hypot(fy[:, None], fx[None, :]) * side).long().clamp(max=rings + 1).flatten()
    # rfft2 holds half the plane: columns other than the first and Nyquist's stand for two.
    half = torch.full((side // 2 + 1,), 2.0, dtype=torch.float64)
    half[0] = 1.0
    if side % 2 == 0:
        half[-1] = 1.0
    sums = torch.zeros(3, rings + 2, dtype=torch.float64)
    for y in range(0, first.shape[0] - side + 1, side):
        for x in range(0, first.shape[1] - side + 1, side):
            block = slice(y, y + side), slice(x, x + side)
            f1, f2 = (_spectrum(image[block], window) for image in (first, second))
            terms = ((f1 * f2.conj()).real, f1.abs() ** 2, f2.abs() ** 2)
            for total, term in zip(sums, terms, strict=True):
                total.index_add_(0, ring, (term.cpu() * half).flatten())
    cross, power1, power2 = sums[:, 1 : rings + 1]
    norm = torch.sqrt(power1 * power2)
    correlation = torch.where(norm > 0, cross / norm.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return torch.arange(1, rings + 1, dtype=torch.float64) / side, correlation


def _spectrum(image: Tensor, window: Tensor) -> Tensor:
    pixels = image.double()
    spectrum: Tensor = torch.fft.rfft2((pixels - pixels.mean()) * window)
    return spectrum


def _crossing(frequency: Tensor, correlation: Tensor) -> float:
    """Where the smoothed correlation first falls below the threshold, interpolated; Nyquist where it does not."""
    padded = torch.cat([correlation[:1], correlation, correlation[-1:]])
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    below = torch.nonzero(smooth < THRESHOLD)
    if below.numel() == 0:
        return 0.5
    k = int(below[0])
    if k == 0:
        return 0.0
    part = (smooth[k - 1] - THRESHOLD) / (smooth[k - 1] - smooth[k])
    return float(frequency[k - 1] + part * (frequency[k] - frequency[k - 1]))
