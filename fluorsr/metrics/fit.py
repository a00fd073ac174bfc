"""Ways to bring two images to one intensity scale before they are compared. Each says something else: print which.

raw             as they are: gain and offset count
min-max         each to 0 and 1 by its own extremes, as the published tables do; one hot pixel decides
percentile      each to 0 and 1 by its own 0.1 and 99.9 percentiles, not clipped
least-squares   the prediction by the gain and offset that bring it closest to the target
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PERCENTILES = (0.1, 99.9)

Pair = tuple[Tensor, Tensor]


def fit_intensity(prediction: Tensor, target: Tensor) -> Tensor:
    """The a * prediction + b closest to the target in least squares, fitted per image: [..., Y, X] -> [..., Y, X].

    a = cov(prediction, target) / var(prediction); sums are float64. A constant prediction becomes the target's mean.
    """
    mean_p, mean_t = _mean(prediction), _mean(target)
    covariance, variance = _mean((prediction - mean_p) * (target - mean_t)), _mean((prediction - mean_p) ** 2)
    slope = torch.where(variance > 0, covariance / variance.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return (prediction - mean_p) * slope.to(prediction.dtype) + mean_t


def percentiles(images: Tensor, wanted: tuple[float, ...] = PERCENTILES) -> list[Tensor]:
    """Percentiles of each image, between neighbours as numpy's: [..., Y, X] -> one [..., 1, 1] for each wanted.

    torch.quantile refuses images above 16 million pixels.
    """
    flat = images.reshape(*images.shape[:-2], -1)
    found = []
    for percentile in wanted:
        at = percentile / 100 * (flat.shape[-1] - 1)
        low = int(at)
        below = flat.kthvalue(low + 1).values
        above = flat.kthvalue(min(low + 2, flat.shape[-1])).values
        found.append((below + (above - below) * (at - low))[..., None, None])
    return found


def _unit(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map low to 0 and high to 1; what is constant becomes 0."""
    width = high - low
    return (images - low) / torch.where(width > 0, width, torch.ones_like(width))


def _raw(prediction: Tensor, target: Tensor) -> Pair:
    return prediction, target


def _min_max(prediction: Tensor, target: Tensor) -> Pair:
    scaled = [_unit(i, i.amin((-2, -1), keepdim=True), i.amax((-2, -1), keepdim=True)) for i in (prediction, target)]
    return scaled[0], scaled[1]


def _percentile(prediction: Tensor, target: Tensor) -> Pair:
    scaled = [_unit(i, *percentiles(i)) for i in (prediction, target)]
    return scaled[0], scaled[1]


def _least_squares(prediction: Tensor, target: Tensor) -> Pair:
    return fit_intensity(prediction, target), target


INTENSITIES: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    "raw": _raw,
    "min-max": _min_max,
    "percentile": _percentile,
    "least-squares": _least_squares,
}
"""Name -> (prediction, target), both [..., Y, X] float -> the two on one scale, per image."""

SHORT = {"minmax": "min-max", "fit": "least-squares"}
"""Names that are quicker to type."""


def _mean(images: Tensor) -> Tensor:
    """Mean along y and x, summed in float64, in the images' own dtype unless that would lose a variance."""
    mean = images.sum((-2, -1), keepdim=True, dtype=torch.float64) / (images.shape[-2] * images.shape[-1])
    return mean.to(images.dtype)
