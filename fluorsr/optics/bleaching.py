"""Photobleaching: fluorophores die under light, so later frames of a series are dimmer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fluorsr.errors import InputError


def bleach(frames: Tensor, loss_per_frame: float | Tensor, *, floor: float = 0.0) -> Tensor:
    """Dim each frame against the first: [F, ...] photons -> [F, ...], differentiable.

    frame f keeps floor + (1 - floor) * (1 - loss_per_frame)^f: a single exponential, with a share that never bleaches

    loss_per_frame    of the fluorophores, within [0, 1);  floor  within [0, 1]
    """
    loss = torch.as_tensor(loss_per_frame, dtype=torch.float64, device=frames.device)
    if not bool((loss >= 0) & (loss < 1)) or not 0 <= floor <= 1:
        raise InputError(
            f"loss_per_frame {float(loss):g} must be at least 0 and below 1, floor {floor:g} within 0 and 1"
        )
    left = floor + (1 - floor) * (1 - loss) ** torch.arange(frames.shape[0], device=frames.device)
    return frames * left.to(frames.dtype).reshape(-1, *(1,) * (frames.dim() - 1))


def loss_for(half_life_frames: float) -> float:
    """loss_per_frame that halves the light within so many frames."""
    if not half_life_frames > 0:
        raise InputError(f"half_life_frames {half_life_frames:g} must be above 0; use loss 0 for no bleaching")
    return 1 - math.exp(-math.log(2) / half_life_frames)
