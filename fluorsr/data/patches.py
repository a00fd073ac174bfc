"""Training batches cut from simulated fields, the same for the same seed and step.

Fields enter a pool in order and leave it again; every step draws its patches from the pool of that step. Each field is
normalised as a whole image would be at restoration: percentiles of the whole input field become 0 and 1, and the target
is mapped with the input's numbers. Those numbers depend on how full a field is, so each patch varies them a little.

    field    0  1  2  3  4  5  6  7 ...        pool 4, refresh 0.5
    step 0  [0  1  2  3] 4  5                  the fields after the pool are made ahead, by the executor's workers
    step 2   0 [1  2  3  4] 5  6               process i of n has the fields and the patches i, i + n, i + 2 n, ...
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.data.augment import Augmentation
from fluorsr.data.sim_orders import taken_apart
from fluorsr.data.simulate import Field, SimulationConfig, simulate_pair
from fluorsr.errors import InputError

AHEAD = 16
"""Fields that are made before the pool needs them."""

Pixels = NDArray[np.float32]


def normalised(made: Field, percentiles: tuple[float, float]) -> tuple[Pixels, Pixels]:
    """Input [F, Y, X] and target [1, scale * Y, scale * X], float32, in the input's percentile range.

    The target of raw SIM frames is 0 where nothing is in focus. How much even light lies over the frames, of which
    their own 0 depends, cannot be told from them.
    """
    low, high = np.percentile(made.degraded, percentiles)
    span = np.float32(float(high - low) or 1.0)
    frames = made.degraded.reshape(-1, *made.degraded.shape[-2:]).astype(np.float32)
    dark = made.drawn["offset"] if len(frames) > 1 else low
    return (frames - np.float32(low)) / span, (made.target[None] - np.float32(dark)) / span


def make_field(
    config: SimulationConfig,
    seed: int,
    index: int,
    percentiles: tuple[float, float],
    structure: str | None = None,
    *,
    orders: bool = False,
) -> tuple[Pixels, Pixels]:
    """Simulate and normalise one field; what worker processes are asked for. `orders`: see fluorsr.data.sim_orders."""
    made = simulate_pair(config, seed, index, structure)
    pixels, target = normalised(made, percentiles)
    return (taken_apart(made, pixels, np.random.default_rng((seed, index))) if orders else pixels), target


@dataclass
class Patches:
    """Batches of random patches from an endless stream of simulated fields.

    patch, batch   size in input pixels, and how many
    pool           fields held at a time;  refresh  fields replaced per step
    share          (i, n): the part of process i out of n, which together take as many patches n times
    orders         the frames are taken apart into orders (fluorsr.data.sim_orders)
    executor       makes the fields ahead; they are made when they are needed where None
    Raises InputError where a patch does not fit a field, or the pool is smaller than the number of processes.
    """

    config: SimulationConfig
    seed: int
    batch: int
    patch: int
    pool: int
    refresh: float
    percentiles: tuple[float, float]
    augmentation: Augmentation = field(default_factory=Augmentation)
    share: tuple[int, int] = (0, 1)
    executor: Executor | None = None
    orders: bool = False

    def __post_init__(self) -> None:
        if self.patch > self.config.size_px:
            raise InputError(f"patch {self.patch} must fit the simulated field of {self.config.size_px} pixels")
        if self.pool < self.share[1]:
            raise InputError(f"pool {self.pool} must be at least the number of processes, {self.share[1]}")
        self._fields: dict[int, Callable[[], tuple[Pixels, Pixels]]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step: input [B, F, P, P] and target [B, 1, scale * P, scale * P], float32."""
        place, processes = self.share
        first = int(step * self.refresh)
        wanted = range(first + (place - first) % processes, first + self.pool, processes)
        ahead = range(wanted.start, wanted.stop + (AHEAD if self.executor else 0), processes)
        self._fields = {k: self._fields.get(k) or self._begin(k) for k in ahead}
        pairs = []
        for i in range(self.batch):
            number = (step * processes + place) * self.batch + i
            rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, (1 << 62) + number], dtype=np.uint64)))
            pairs.append(self._cut(rng, *self._fields[wanted[int(rng.integers(len(wanted)))]]()))
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])

    def _begin(self, index: int) -> Callable[[], tuple[Pixels, Pixels]]:
        """Have a field made; calling the result waits for it."""
        asked = self.config, self.seed, index, self.percentiles
        if self.executor:
            return self.executor.submit(make_field, *asked, orders=self.orders).result
        made = make_field(*asked, orders=self.orders)
        return lambda: made

    def _cut(self, rng: np.random.Generator, pixels: Pixels, target: Pixels) -> tuple[Tensor, Tensor]:
        """One patch, turned or mirrored, its intensities varied alike in input and target."""
        s, size = self.config.scale, self.patch
        y, x = (int(v) for v in rng.integers(0, self.config.size_px - size + 1, 2))
        views = [
            torch.from_numpy(image[:, k * y : k * (y + size), k * x : k * (x + size)])
            for image, k in ((pixels, 1), (target, s))
        ]
        return self.augmentation(views[0], views[1], rng)
