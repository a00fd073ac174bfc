"""Normalised root mean square error, as scikit-image defines it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair

NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "euclidean": lambda target: target.double().square().mean((-2, -1)).sqrt(),
    "min-max": lambda target: (target.amax((-2, -1)) - target.amin((-2, -1))).double(),
    "mean": lambda target: target.mean((-2, -1), dtype=torch.float64),
}
"""What the error is divided by: the target's root mean square, its range, or its mean."""


def nrmse(
    prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0, norm: str = "euclidean"
) -> Tensor:
    """sqrt(mean squared error) over one of NORMS of the target: [..., Y, X] twice -> [...] float64.

    A camera's offset enlarges two of the three norms: take it off first. data_range and pixel size do not matter.
    inf or NaN where the norm is 0, as for a target of zeros.
    """
    check_pair(prediction, target, data_range)
    if norm not in NORMS:
        raise InputError(f"there is no norm {norm!r}; there are {', '.join(NORMS)}")
    squared = (prediction - target).square().mean((-2, -1), dtype=torch.float64)
    return squared.sqrt() / NORMS[norm](target)
