"""Radial power spectra: how much detail of each size an image holds, and how much of it a restoration kept.

A restoration that is too smooth keeps less than 1 of the fine bands; one that invents texture keeps more.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair, check_pixel_size
from fluorsr.metrics.rings import rings, spectrum, square_side, squares, tapered

BANDS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""Edges of the bands, in shares of the Nyquist frequency."""


def power_spectrum(images: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies in cycles a pixel [R], and the mean power a frequency [..., R], both float64: of [..., Y, X].

    Under a Hann window scaled so that white noise of variance v has power v everywhere, whatever the image's size.
    Raises InputError below 16 x 16 pixels.
    """
    side = square_side(images.shape, "a power spectrum")
    layout = rings(side)
    window = tapered(side, 1.0, images.device)
    height, width = images.shape[-2:]
    powers = []
    for image in images.reshape(-1, height, width):
        parts = [layout.sum(spectrum(image[at], window).abs() ** 2) for at in squares(image.shape, side)]
        powers.append(torch.stack(parts).mean(0) / layout.members / window.square().sum().cpu())
    return layout.frequency, torch.stack(powers).reshape(*images.shape[:-2], -1)


def power_kept(
    prediction: Tensor,
    target: Tensor,
    *,
    data_range: float = 1.0,
    pixel_size_um: float = 1.0,
    bands: tuple[float, ...] = BANDS,
) -> Tensor:
    """The prediction's power over the target's in each band: [..., Y, X] twice -> [..., len(bands) - 1] float64.

    bands   edges in shares of the Nyquist frequency, rising from 0 to 1 at most
    NaN where neither image has any power. Raises InputError where a band holds no frequency of so small an image.
    """
    check_pair(prediction, target, data_range)
    check_pixel_size(pixel_size_um)
    frequency, power = power_spectrum(torch.stack([prediction, target]))
    share = 2 * frequency
    weight = rings(square_side(target.shape, "a power spectrum")).members
    kept = []
    for low, high in itertools.pairwise(bands):
        inside = (share > low) & (share <= high)
        if not bool(inside.any()):
            raise InputError(f"no frequency lies in the band {low} to {high}: give wider bands or a larger image")
        total = (power * weight)[..., inside].sum(-1)
        kept.append(total[0] / total[1])
    return torch.stack(kept, -1)
