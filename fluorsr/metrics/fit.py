"""Linear intensity fit, for comparing images whose offset and gain need not agree."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_intensity(prediction: Tensor, target: Tensor) -> Tensor:
    """The a * prediction + b closest to the target in least squares, fitted per image: [..., Y, X] -> [..., Y, X].

    a = cov(prediction, target) / var(prediction); sums are float64. A constant prediction becomes the target's mean.
    """
    mean_p, mean_t = _mean(prediction), _mean(target)
    covariance, variance = _mean((prediction - mean_p) * (target - mean_t)), _mean((prediction - mean_p) ** 2)
    slope = torch.where(variance > 0, covariance / variance.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return (prediction - mean_p) * slope.to(prediction.dtype) + mean_t


def _mean(images: Tensor) -> Tensor:
    """Mean along y and x, summed in float64, in the images' own dtype unless that would lose a variance."""
    mean = images.sum((-2, -1), keepdim=True, dtype=torch.float64) / (images.shape[-2] * images.shape[-1])
    return mean.to(images.dtype)
