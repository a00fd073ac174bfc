"""Fourier space in rings: the squares of an image under a window, and sums over rings of one spatial frequency.

    image [Y, X]  |  square  |  square  |     each: minus its mean, times the window, transformed
                  |  square  |  square  |     squares overlap where the sides are no multiples of one

Large images are never transformed whole: their squares' sums are added up, which bounds time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fluorsr.errors import InputError

BLOCK = 1024
"""The longest side of a square, in pixels."""

SMALLEST = 16
"""The shortest side of an image whose rings mean anything, in pixels."""


@dataclass(frozen=True)
class Rings:
    """Which ring each frequency of a real transform [S, S // 2 + 1] is in; zero and those past Nyquist are in none.

    index      int64 [S, S // 2 + 1]; equals the number of rings where a frequency is in none
    times      float64, for how many frequencies of the full plane each stands: 2, or 1 in its own mirror's column
    members    float64 [R], frequencies of the full plane in a ring
    frequency  float64 [R], in cycles a pixel, up to 0.5 (Nyquist)
    """

    index: Tensor
    times: Tensor
    members: Tensor
    frequency: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """Sum over each ring: [S, S // 2 + 1] -> [R] float64."""
        return _sum(values, self.index, self.times, self.members.numel())


@lru_cache(maxsize=4)
def rings(side: int) -> Rings:
    """Rings one frequency step wide of squares of `side` pixels, centred on 1, 2, ... side // 2 cycles a square."""
    fy, fx = torch.fft.fftfreq(side, dtype=torch.float64), torch.fft.rfftfreq(side, dtype=torch.float64)
    count = side // 2
    nearest = torch.round(torch.hypot(fy[:, None], fx[None, :]) * side).long()
    index = torch.where((nearest < 1) | (nearest > count), count, nearest - 1)
    times = torch.full((side // 2 + 1,), 2.0, dtype=torch.float64)
    times[0] = 1.0
    if side % 2 == 0:
        times[-1] = 1.0
    members = _sum(torch.ones_like(index), index, times, count)
    return Rings(index, times, members, torch.arange(1, count + 1, dtype=torch.float64) / side)


def square_side(shape: tuple[int, ...], what: str) -> int:
    """Side of the squares of an image [Y, X]. Raises InputError where the image is too small for `what`."""
    side = min(*shape[-2:], BLOCK)
    if side < SMALLEST:
        raise InputError(f"{what} needs at least {SMALLEST} x {SMALLEST} pixels, not {shape[-2]} x {shape[-1]}")
    return side


def squares(shape: tuple[int, ...], side: int) -> Iterator[tuple[slice, slice]]:
    """Squares that together cover an image [Y, X], evenly spread."""
    for y in _starts(shape[0], side):
        for x in _starts(shape[1], side):
            yield slice(y, y + side), slice(x, x + side)


def spectrum(square: Tensor, window: Tensor) -> Tensor:
    """Real transform of a square [S, S] minus its mean, times window [S, S]: complex128 [S, S // 2 + 1]."""
    pixels = square.double()
    result: Tensor = torch.fft.rfft2((pixels - pixels.mean()) * window).cpu()
    return result


def tapered(side: int, share: float, device: torch.device | None = None) -> Tensor:
    """A window [S, S] float64 of ones with raised-cosine edges (Tukey's): `share` of each side fades; 1 is Hann's."""
    at = torch.arange(side, dtype=torch.float64, device=device)
    edge = max(1.0, share * (side - 1) / 2)
    ramp = torch.minimum(at, side - 1 - at).clamp(max=edge) / edge
    profile = 0.5 - 0.5 * torch.cos(torch.pi * ramp)
    return profile[:, None] * profile[None, :]


def _starts(size: int, side: int) -> list[int]:
    count = -(-size // side)
    return [k * (size - side) // max(count - 1, 1) for k in range(count)]


def _sum(values: Tensor, index: Tensor, times: Tensor, count: int) -> Tensor:
    total = torch.zeros(count + 1, dtype=torch.float64)
    return total.index_add_(0, index.flatten(), (values.double() * times).flatten())[:count]
