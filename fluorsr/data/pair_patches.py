"""Training batches cut from real pairs, the same for the same seed and step.

The input is brought to 0 to 1 by percentiles of the whole field, as at restoration, never of a patch. The target is of
another instrument, in other counts: it is brought to where it agrees best with the input, both in blocks of BLOCK
pixels. So a restored image is sharper, not brighter, as with simulated targets, and a model of those can be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fluorsr.data.augment import Augmentation
from fluorsr.data.pairs import Pair, PairSet
from fluorsr.data.sampling import PatchSampler, Place
from fluorsr.errors import InputError

BLOCK = 16
"""Input pixels within which no microscope tells anything apart, so that two of them show the same."""


class Window(NamedTuple):
    """Intensities that become 0 and 1."""

    low: float
    high: float

    def apply(self, image: Tensor) -> Tensor:
        return (image - self.low) / ((self.high - self.low) or 1.0)


class PairPatches:
    """Batches of patches that favour foreground, turned and varied at random.

    patch, batch   size in input pixels, and how many;  uniform   share of patches drawn regardless of the target
    share          (i, n): the batches of process i out of n, which together are one batch n times as large
    memory_bytes   fields are kept in memory as long as they fit; of the others, only what a patch needs is read

    Reads every pair once when made, one at a time, for its percentiles and for where there is something to see. Raises
    InputError where a patch does not fit a field, or the frames are not those that `augmentation` describes.
    """

    def __init__(
        self,
        pairs: PairSet,
        batch: int,
        patch: int,
        seed: int,
        *,
        percentiles: tuple[float, float] = (0.1, 99.9),
        augmentation: Augmentation | None = None,
        uniform: float = 0.2,
        share: tuple[int, int] = (0, 1),
        memory_bytes: int = 2**31,
    ) -> None:
        if batch < 1:
            raise InputError(f"batch {batch} must be at least 1")
        self.augmentation = augmentation or Augmentation()
        order = self.augmentation.frames
        if order is not None and order.count != pairs.frames:
            raise InputError(f"the pairs have {pairs.frames} frames, the order of their angles describes {order.count}")
        self.pairs, self.batch, self.patch, self.seed = pairs, batch, patch, seed
        self._percentiles, self._share, self._room = percentiles, share, memory_bytes
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._windows: list[tuple[Window, Window]] = []
        self._sampler = PatchSampler(self._survey(), pairs.scale, patch, seed, uniform=uniform)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step: input [B, F, P, P] and target [B, 1, scale * P, scale * P], float32."""
        first = (step * self._share[1] + self._share[0]) * self.batch
        made = [self._one(first + i) for i in range(self.batch)]
        return torch.stack([pixels for pixels, _ in made]), torch.stack([target for _, target in made])

    def _one(self, index: int) -> tuple[Tensor, Tensor]:
        place = self._sampler(index)
        pixels, target = self._cut(place)
        windows = self._windows[place.field]
        # Its own stream: the sampler uses the keys below 2**62.
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, (1 << 62) + index], dtype=np.uint64)))
        return self.augmentation(windows[0].apply(pixels), windows[1].apply(target)[None], rng)

    def _cut(self, place: Place) -> tuple[Tensor, Tensor]:
        if place.field not in self._kept:
            return self.pairs.pairs[place.field].cut(place.y, place.x, self.patch, self.patch)
        pixels, target = self._kept[place.field]
        s, size = self.pairs.scale, self.patch
        large = slice(s * place.y, s * (place.y + size)), slice(s * place.x, s * (place.x + size))
        return pixels[:, place.y : place.y + size, place.x : place.x + size], target[large]

    def _survey(self) -> Iterator[Tensor]:
        """Note the windows of each pair, and yield its target brought to its window."""
        for number, pair in enumerate(self.pairs):
            pixels, target = pair.read()
            if pixels.nbytes + target.nbytes <= self._room:
                self._room -= pixels.nbytes + target.nbytes
                self._kept[number] = pixels, target
            window = self._window(pair, pixels)
            self._windows.append((window, self._agreeing(pair, window.apply(pixels).mean(0), target)))
            yield self._windows[-1][1].apply(target)

    def _window(self, pair: Pair, image: Tensor) -> Window:
        low, high = (float(v) for v in np.percentile(image.numpy(), self._percentiles))
        if not np.isfinite(high - low):
            raise InputError(f"pair {pair.name} has pixels that are not finite; run `fluorsr data check` first")
        return Window(low, high)

    def _agreeing(self, pair: Pair, seen: Tensor, target: Tensor) -> Window:
        """The window of `target` [sY, sX] in which its blocks are nearest to those of the normalised input [Y, X].

        By least squares; light that only the input has (haze) must not flatten the target altogether.
        """
        side = min(BLOCK, *seen.shape)
        x, y = (F.avg_pool2d(image[None], size).flatten().double() for image, size in (
            (target, side * self.pairs.scale), (seen, side)))  # fmt: skip
        spread = float(x.std(correction=0))
        if not spread > 0 or not float(y.std(correction=0)) > 0:
            return self._window(pair, target)
        covariance = float(((x - x.mean()) * (y - y.mean())).mean())
        slope = max(covariance / spread**2, 0.2 * float(y.std(correction=0)) / spread)
        low = float(x.mean()) - float(y.mean()) / slope
        return Window(low, low + 1 / slope)
