"""Training batches cut from simulated fields, the same for the same seed and step.

Fields enter a pool in order and leave it again; every step draws its patches from the pool of that step. Each field is
normalised as a whole image would be at restoration: percentiles of the whole input field become 0 and 1, and the target
is mapped with the input's numbers. Those numbers depend on how full a field is, so each patch jitters them a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fluorsr.data.simulate import Field, SimulationConfig, simulate_pair
from fluorsr.errors import InputError


def normalised(field: Field, percentiles: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Input [Y, X] and target [scale * Y, scale * X], float32, in the input's percentile range."""
    low, high = np.percentile(field.degraded, percentiles)
    span = float(high - low) or 1.0
    pixels = (field.degraded.astype(np.float32) - np.float32(low)) / np.float32(span)
    return torch.from_numpy(pixels), torch.from_numpy((field.target - np.float32(low)) / np.float32(span))


@dataclass
class Patches:
    """Batches of random patches from an endless stream of simulated fields.

    patch, batch   size in input pixels, and how many
    pool           fields held at a time;  refresh  fields replaced per step
    jitter         standard deviation of the logarithm of the range, and of the offset in ranges
    Raises InputError where a patch does not fit a field.
    """

    config: SimulationConfig
    seed: int
    batch: int
    patch: int
    pool: int
    refresh: float
    percentiles: tuple[float, float]
    jitter: float

    def __post_init__(self) -> None:
        if self.patch > self.config.size_px:
            raise InputError(f"patch {self.patch} must fit the simulated field of {self.config.size_px} pixels")
        self._fields: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step: input [B, 1, P, P] and target [B, 1, scale * P, scale * P], float32."""
        first = int(step * self.refresh)
        self._fields = {
            k: self._fields[k] if k in self._fields else self._field(k) for k in range(first, first + self.pool)
        }
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, (1 << 62) + step], dtype=np.uint64)))
        pairs = [self._cut(rng, *self._fields[first + int(rng.integers(self.pool))]) for _ in range(self.batch)]
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])

    def _field(self, index: int) -> tuple[Tensor, Tensor]:
        return normalised(simulate_pair(self.config, self.seed, index), self.percentiles)

    def _cut(self, rng: np.random.Generator, pixels: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """One patch, turned or mirrored, with its normalisation jittered alike in input and target."""
        scale, size = self.config.scale, self.patch
        y, x = (int(v) for v in rng.integers(0, self.config.size_px - size + 1, 2))
        offset = self.jitter * rng.uniform(-0.25, 0.25)
        stretch = math.exp(self.jitter * rng.standard_normal())
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        views = []
        for image, s in ((pixels, 1), (target, scale)):
            view = torch.rot90(image[s * y : s * (y + size), s * x : s * (x + size)], turns)
            view = view.flip(-1) if mirror else view
            views.append(((view - offset) * stretch)[None])
        return views[0], views[1]
