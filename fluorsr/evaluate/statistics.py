"""How sure a mean is, and whether two methods differ: no distribution is assumed, and every draw is seeded.

Images are what is resampled and what is compared in pairs, never pixels: pixels of one image are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
LEVEL = 0.95
CHUNK = 4_000_000
"""Numbers drawn at a time, which bounds the memory."""


def bootstrap_interval(
    values: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval at LEVEL (Efron 1979, Ann. Stat. 7, 1) of a statistic of images.

    values      [N, ...], one row an image;  statistic   [draws, N, ...] -> [draws]
    NaN for fewer than two images, and where a draw gives no finite value. It is too narrow for few images: of 5 it
    holds the mean 83 to 88 times in a hundred, of 20 some 93.
    """
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.Generator(np.random.Philox(seed))
    rows = max(1, CHUNK // values.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.concatenate(
            [
                statistic(values[rng.integers(len(values), size=(min(rows, DRAWS - first), len(values)))])
                for first in range(0, DRAWS, rows)
            ]
        )
    if not np.isfinite(found).all():
        return math.nan, math.nan
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(found, (tail, 100 - tail))
    return float(low), float(high)


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945, Biometrics Bull. 1, 80), exact for any ties.

    Differences of 0 are left out, as Wilcoxon did. Under the null each rank is as likely to count as not, so the
    distribution of their sum is a product of two-point distributions, multiplied out. NaN where one is NaN.
    """
    own = np.asarray(differences, np.float64)
    if np.isnan(own).any():
        return math.nan
    own = own[own != 0]
    if own.size == 0:
        return 1.0
    size = np.abs(own)
    below = (size[None, :] < size[:, None]).sum(1)
    same = (size[None, :] == size[:, None]).sum(1)
    doubled = 2 * below + same + 1  # twice the mean rank: whole numbers even where ranks tie
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[:-rank]
        chance = (chance + moved) / 2
    positive = int(doubled[own > 0].sum())
    return float(min(1.0, 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Corrected for having made them all (Holm 1979, Scand. J. Stat. 6, 65). NaN stays, and counts as a test made."""
    order = sorted(range(len(probabilities)), key=lambda k: (np.isnan(probabilities[k]), probabilities[k]))
    corrected = [math.nan] * len(probabilities)
    highest = 0.0
    for place, k in enumerate(order):
        if not np.isnan(probabilities[k]):
            highest = max(highest, min(1.0, (len(probabilities) - place) * probabilities[k]))
            corrected[k] = highest
    return corrected
