"""Fourier ring correlation: up to which spatial frequency two images agree (van Heel 1987; Nieuwenhuizen et al. 2013).

    FRC(q) = sum_ring F1 conj(F2) / sqrt(sum_ring |F1|^2  sum_ring |F2|^2)

Between a restored image and the truth it tells the finest detail that is right, not merely sharp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair, check_pixel_size
from fluorsr.metrics.rings import rings, spectrum, square_side, squares, tapered

INDEPENDENT = 1 / (35 / 18 * 29 / 18)
"""Share of the frequencies of three neighbouring rings that a Hann window in y and x leaves independent.

Noise one frequency apart is correlated by 2/3, two apart by 1/6: squared and summed, 35/18 along the rings, where there
is no end of neighbours, and 29/18 across the three.
"""


class Curve(NamedTuple):
    """Correlation in rings; all [R] float64.

    frequency     cycles a pixel
    correlation   -1 to 1
    members       how many independent frequencies of the full plane a ring amounts to
    """

    frequency: Tensor
    correlation: Tensor
    members: Tensor


THRESHOLDS: dict[str, Callable[[Tensor], Tensor]] = {
    "1/7": lambda members: torch.full_like(members, 1 / 7),
    # Three times the spread of what two images of nothing but noise have: exceeded once in 740 times.
    "3-sigma": lambda members: 3 / members.sqrt(),
    # Half a bit of information a frequency (van Heel and Schatz 2005, J. Struct. Biol. 151, 250).
    "half-bit": lambda members: (0.2071 + 1.9102 / members.sqrt()) / (1.2071 + 0.9102 / members.sqrt()),
}
"""Name -> threshold in each ring, from the ring's members."""


def frc(
    prediction: Tensor, target: Tensor, *, data_range: float = 1.0, pixel_size_um: float, threshold: str = "1/7"
) -> Tensor:
    """Resolution in nanometres: [..., Y, X] twice -> [...] float64.

    The inverse of the first frequency at which the correlation, averaged over three rings, falls below the threshold;
    two pixels (Nyquist) where it never does, inf where it starts below, NaN where a pixel is NaN.
    """
    check_pair(prediction, target, data_range)
    check_pixel_size(pixel_size_um)
    check_threshold(threshold)
    pairs = zip(prediction.reshape(-1, *target.shape[-2:]), target.reshape(-1, *target.shape[-2:]), strict=True)
    cutoffs = [crossing(frc_curve(first, second), threshold) for first, second in pairs]
    return (1000 * pixel_size_um / torch.tensor(cutoffs, dtype=torch.float64)).reshape(target.shape[:-2])


def check_threshold(threshold: str) -> None:
    """Raise InputError unless THRESHOLDS has this name."""
    if threshold not in THRESHOLDS:
        raise InputError(f"there is no threshold {threshold!r}; there are {', '.join(THRESHOLDS)}")


class Squares(Protocol):
    """Of a tensor [Y, X] what is needed here, so that a plane may be read square by square."""

    @property
    def shape(self) -> torch.Size: ...
    @property
    def device(self) -> torch.device: ...
    def numel(self) -> int: ...
    def __getitem__(self, at: tuple[slice, slice], /) -> Tensor: ...


def frc_curve(first: Tensor | Squares, second: Tensor | Squares, shift_px: tuple[float, float] = (0.0, 0.0)) -> Curve:
    """The correlation of two images [Y, X] in rings one frequency step wide, up to Nyquist.

    shift_px   where the second image was sampled, from the first, in pixels along (y, x); taken back
    A Hann window in y and x hides the edges. Raises InputError below 16 pixels.
    """
    side = square_side(first.shape, "Fourier ring correlation")
    layout, window = rings(side), tapered(side, 1.0, first.device)
    fy, fx = torch.fft.fftfreq(side, dtype=torch.float64), torch.fft.rfftfreq(side, dtype=torch.float64)
    back = torch.exp(2j * math.pi * (fy[:, None] * shift_px[0] + fx[None, :] * shift_px[1]))
    sums = torch.zeros(3, layout.members.numel(), dtype=torch.float64)
    places = list(squares(first.shape, side))
    for at in places:
        f1, f2 = (spectrum(image[at], window) for image in (first, second))
        terms = ((f1 * f2.conj() * back).real, f1.abs() ** 2, f2.abs() ** 2)
        sums += torch.stack([layout.sum(term) for term in terms])
    cross, power1, power2 = sums
    norm = torch.sqrt(power1 * power2)
    correlation = torch.where(norm == 0, 0.0, cross / norm)
    # Squares that overlap repeat each other: members count the image's own pixels.
    own = first.numel() / side**2
    return Curve(layout.frequency, correlation, layout.members * INDEPENDENT * own)


def crossing(curve: Curve, threshold: str = "1/7") -> float:
    """The frequency, in cycles a pixel, at which the correlation first falls below the threshold, interpolated.

    The correlation is averaged over three rings. 0.5 (Nyquist) where it never falls, 0 where it starts below.
    """
    if bool(curve.correlation.isnan().any()):
        return math.nan
    correlation = curve.correlation
    padded = torch.cat([correlation[:1], correlation, correlation[-1:]])
    # Three rings together have three times the members.
    limit = THRESHOLDS[threshold](3 * curve.members)
    above = (padded[:-2] + padded[1:-1] + padded[2:]) / 3 - limit
    # The innermost rings have too few members for a threshold below 1: nothing could pass it.
    judged = torch.nonzero(limit < 1).flatten()
    below = judged[above[judged] < 0]
    if below.numel() == 0:
        return 0.5
    k = int(below[0])
    if k == int(judged[0]):
        return 0.0
    part = above[k - 1] / (above[k - 1] - above[k])
    return float(curve.frequency[k - 1] + part * (curve.frequency[k] - curve.frequency[k - 1]))
