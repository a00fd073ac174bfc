"""Losses: (restored, target), both [B, 1, Y, X] normalised, -> a scalar to minimise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def l1(restored: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, as Lim et al. 2017 train EDSR."""
    return functional.l1_loss(restored, target)


def mse(restored: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return functional.mse_loss(restored, target)


def charbonnier(restored: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 0.001^2): the L1 loss with a smooth bottom (Charbonnier et al. 1994)."""
    return torch.sqrt((restored - target) ** 2 + 1e-6).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "mse": mse, "charbonnier": charbonnier}
"""The losses that a recipe can name."""
