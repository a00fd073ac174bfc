"""One block of a run: its pixels and, where samples are drawn, their mean and how far they differ.

Samples are drawn in pairs of mirrored noise (fluorsr.models.noise), one after the other, and only their running mean
and squares are kept (Welford 1962), so a thousand take the memory of two. Everything is done pixel by pixel, so neither
block nor worker changes a bit.

Their variance is the sum of squares over N, not N - 1: what of a sample is odd in the noise cancels in the mean, which
costs no degree of freedom. Of a true variance V(odd) + V(even) it finds V(odd) + (1 - 2 / N) V(even), for even N.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.image import Image, PlaneIndex
from fluorsr.models.noise import seed_of
from fluorsr.normalize import Normalization
from fluorsr.pipeline.empty import Empty
from fluorsr.pipeline.measure import Facts, restorer_of
from fluorsr.pipeline.plan import Block, Plan
from fluorsr.predict import Restored, restore_region
from fluorsr.restorer import Restorer


@dataclass(frozen=True)
class Made:
    """A finished block: the images that a run writes, and what was met on the way.

    images   [y, x] each: the restored pixels in the dtype asked for; with samples their mean, and their standard
             deviation in float32 and the input's units
    """

    images: tuple[NDArray[Any], ...]
    met: Restored


@dataclass(frozen=True)
class Maker:
    """What decides a block's pixels besides the image and the model; picklable.

    normalizations, empty   by input channel; where `empty` has none, no tile is skipped
    facts                   what was measured of planes, for restorers that measure
    """

    plan: Plan
    normalizations: Mapping[int, Normalization]
    seed: int = 0
    facts: Mapping[PlaneIndex, Facts] = field(default_factory=dict)
    empty: Mapping[int, Empty] = field(default_factory=dict)

    def make(self, block: Block, image: Image, restorer: Restorer, pool: ThreadPoolExecutor) -> Made:
        """Restore one block; in memory and out of core alike."""
        dtype = self.plan.layout.dtype
        if self.plan.samples is None:
            found = self._restore(block, image, restorer, pool, self.seed, dtype)
            return Made((found.pixels,), found)
        mean: NDArray[Any] = np.zeros(())
        squares: NDArray[Any] = np.zeros(())
        with np.errstate(invalid="ignore"):  # what a model made infinite is counted
            for count in range(1, 1 + self.plan.samples):
                found = self._restore(block, image, restorer, pool, seed_of(self.seed, count - 1), "float32")
                difference = found.pixels - mean
                mean = mean + difference / count
                squares = squares + difference * (found.pixels - mean)
            deviation = np.sqrt(squares / count).astype(np.float32)
        pixels, saturated = _rounded(mean, dtype)
        diverged = int(mean.size - np.count_nonzero(np.isfinite(mean)))
        return Made((pixels, deviation), replace(found, pixels=pixels, saturated=saturated, diverged=diverged))

    def _restore(
        self, block: Block, image: Image, restorer: Restorer, pool: ThreadPoolExecutor, seed: int, dtype: str
    ) -> Restored:
        channel = block.planes[0].c
        return restore_region(
            image,
            block.planes,
            block.y,
            block.x,
            restorer_of(restorer, self.facts, block.planes[0]),
            self.plan.grid,
            self.normalizations[channel],
            pool,
            dtype=dtype,
            batch=self.plan.batch,
            seed=seed,
            empty=self.empty.get(channel),
        )


def _rounded(values: NDArray[np.float64], dtype: str) -> tuple[NDArray[Any], int]:
    """`values` in the dtype, as the core rounds (half to even, saturated, NaN 0), and how many were clipped."""
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype), 0
    limits = np.iinfo(dtype)
    whole = np.rint(np.nan_to_num(values, posinf=np.inf, neginf=-np.inf))
    clipped = int(np.count_nonzero((whole < limits.min) | (whole > limits.max)))
    return np.clip(whole, limits.min, limits.max).astype(dtype), clipped
