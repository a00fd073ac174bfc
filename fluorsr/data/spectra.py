r"""Power and correlation of two images, ring by ring of spatial frequency, and how much of the power is noise.

Camera and photon noise is white: alike at every frequency. Light from a lens is not: nothing of it reaches the corners
of Fourier space, beyond half a cycle a pixel. So the power there is the noise's, and what a ring has more is the
image's.

    power |\
          | \____             share of the image in a ring = 1 - floor / power
          |      \__________  floor, read off the corners
          +------------------> frequency      0.5 ......... 0.71 cycles a pixel
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fluorsr.errors import InputError

SMALLEST = 32
"""Images with a shorter side have too few frequencies to be judged."""

LOWEST_CYCLES = 3
"""Rings of fewer cycles a field are left out: uneven light makes all images of one microscope agree there."""


@dataclass(frozen=True)
class Rings:
    """Which ring each frequency of a real transform [Y, X // 2 + 1] is in; ring `count` holds the corners.

    index       int64 [Y, X // 2 + 1];  times   how many frequencies of the full plane each stands for, 1 or 2
    frequency   [count] float64, cycles a pixel, one step of the shorter side apart
    """

    index: Tensor
    times: Tensor
    frequency: Tensor

    @property
    def count(self) -> int:
        return int(self.frequency.numel())

    def sum(self, values: Tensor) -> Tensor:
        """Sum over each ring, the corners last: [Y, X // 2 + 1] -> [count + 1] float64."""
        totals = torch.zeros(self.count + 1, dtype=torch.float64)
        return totals.index_add_(0, self.index.flatten(), (values.double() * self.times).flatten())


@lru_cache(maxsize=4)
def rings(height: int, width: int) -> Rings:
    """The rings of images [height, width]. Raises InputError where one side is shorter than `SMALLEST`."""
    if min(height, width) < SMALLEST:
        raise InputError(f"an image of {height} x {width} pixels is too small: it needs {SMALLEST} along y and x")
    fy = torch.fft.fftfreq(height, dtype=torch.float64)
    fx = torch.fft.rfftfreq(width, dtype=torch.float64)
    side = min(height, width)
    radius = torch.hypot(fy[:, None], fx[None, :])
    count = side // 2
    index = torch.floor(radius * side + 0.5).long()
    index[(radius >= 0.5) | (index > count - 1)] = count
    times = torch.full(index.shape, 2.0, dtype=torch.float64)
    times[:, 0] = 1.0
    if width % 2 == 0:
        times[:, -1] = 1.0
    return Rings(index, times, torch.arange(count, dtype=torch.float64) / side)


def spectrum(image: Tensor) -> Tensor:
    """Real transform of an image [Y, X] under a Hann window: [Y, X // 2 + 1] complex128.

    The mean taken off is the window's own, or the window itself would show in every spectrum and all would agree.
    """
    pixels = image.double()
    hann = [torch.hann_window(n + 2, periodic=False, dtype=torch.float64)[1:-1] for n in pixels.shape]
    window = hann[0][:, None] * hann[1][None, :]
    mean = (pixels * window).sum() / window.sum()
    result: Tensor = torch.fft.rfft2((pixels - mean) * window)
    return result


def moved(transform: Tensor, shape: torch.Size, shift_px: tuple[float, float]) -> Tensor:
    """The transform of the image whose pixel (y, x) is the other's (y, x) + shift."""
    fy = torch.fft.fftfreq(shape[0], dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(shape[1], dtype=torch.float64)[None, :]
    return transform * torch.exp(2j * math.pi * (fy * shift_px[0] + fx * shift_px[1]))


@dataclass(frozen=True)
class Profile:
    """What two images have in each ring; all [count] float64.

    frequency     cycles a pixel;  members   frequencies of the full plane in the ring
    whole         mean power of the first and the second image
    powers        the same without the noise, at least 0
    shares        of the image in the power of the first and the second, 0 to 1
    correlation   of the two, -1 to 1: the Fourier ring correlation
    """

    frequency: Tensor
    members: Tensor
    whole: tuple[Tensor, Tensor]
    powers: tuple[Tensor, Tensor]
    shares: tuple[Tensor, Tensor]
    correlation: Tensor


def profile(first: Tensor, second: Tensor, layout: Rings) -> Profile:
    """Compare two spectra [Y, X // 2 + 1], ring by ring of `layout`."""
    members = layout.sum(torch.ones(first.shape)).clamp(min=1)
    whole_a, whole_b = (layout.sum(s.abs() ** 2) / members for s in (first, second))
    cross = layout.sum((first * second.conj()).real) / members
    tiny = torch.finfo(torch.float64).tiny
    share_a, share_b = ((1 - p[-1] / p.clamp(min=tiny)).clamp(0, 1)[:-1] for p in (whole_a, whole_b))
    return Profile(
        layout.frequency,
        members[:-1],
        (whole_a[:-1], whole_b[:-1]),
        (whole_a[:-1] * share_a, whole_b[:-1] * share_b),
        (share_a, share_b),
        (cross / torch.sqrt(whole_a * whole_b).clamp(min=tiny))[:-1],
    )
