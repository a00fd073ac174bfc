"""Restorations spoilt on purpose, to see whether they are told: restored [Y, X] float32 -> spoilt [Y, X]."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fluorsr.optics.psf import gaussian_blur


def with_seams(restored: Tensor, tile: int, step: float = 0.01) -> Tensor:
    """Tiles of `tile` pixels that are, by turns, brighter and darker by half of `step` times the image's range."""
    y, x = (torch.arange(n) // tile for n in restored.shape)
    turn = ((y[:, None] + x[None, :]) % 2).float() - 0.5
    return restored + step * _range(restored) * turn


def with_filaments(restored: Tensor, width_px: float, count: int = 3, seed: int = 1) -> Tensor:
    """Curved filaments that nothing in the specimen bears out, 0.7 times as bright as the brightest hundredth."""
    rng = np.random.default_rng(seed)
    drawn = torch.zeros_like(restored)
    height, width = restored.shape
    for _ in range(count):
        y, x, angle = rng.uniform(0.1 * height, 0.9 * height), rng.uniform(0.1 * width, 0.9 * width), rng.uniform(0, 7)
        for _ in range(200):
            angle += rng.normal(0, 0.03)
            y, x = y + math.sin(angle), x + math.cos(angle)
            if 0 <= y < height and 0 <= x < width:
                drawn[int(y), int(x)] = 1
    drawn = gaussian_blur(drawn, width_px)
    low, high = _quantiles(restored, 0.05, 0.99)
    return restored + 0.7 * (high - low) * drawn / drawn.max()


def smoothed(restored: Tensor, width_px: float) -> Tensor:
    """Blurred by a Gaussian of that full width at half maximum."""
    return gaussian_blur(restored[None], width_px)[0]


def bent(restored: Tensor, exponent: float) -> Tensor:
    """Its intensities, from least to most, raised to a power: no longer in proportion."""
    low, high = float(restored.min()), float(restored.max())
    return low + (high - low) * ((restored - low) / (high - low)) ** exponent


def _range(image: Tensor) -> float:
    low, high = _quantiles(image, 0.001, 0.999)
    return high - low


def _quantiles(image: Tensor, *shares: float) -> tuple[float, float]:
    flat = image.flatten().sort().values
    low, high = (float(flat[int(share * (flat.numel() - 1))]) for share in shares)
    return low, high
