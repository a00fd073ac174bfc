"""Where to cut training patches: more often where the target has something to show.

Most of a field is empty, and a network that sees mostly background learns background. Candidate patches lie on a coarse
grid; each is drawn in proportion to the target's variance within it, limited so that one bright spot does not outweigh
the rest, and then moved at random within a grid step. A part of all patches ignores the target: background must be
seen too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.errors import InputError

STEPS = 4
"""Candidates per patch width along either axis."""

MOST_PERCENTILE = 90.0
"""Candidates that vary more than this percentile of their field count as if they did not."""


@dataclass(frozen=True)
class Place:
    """A patch: which field, and its first pixel in input pixels."""

    field: int
    y: int
    x: int


class PatchSampler:
    """Draws patches from fields; patch `index` of `seed` is always the same, whatever was drawn before.

    targets   [scale * Y, scale * X] of each field, float; taken one at a time
    scale     target pixels per input pixel
    patch     side in input pixels;  uniform   share of patches that are drawn without looking at the target

    Holds a few numbers a patch width, not the images. Raises InputError where a patch does not fit a field, a target is
    not finite, or `uniform` is not a share.
    """

    def __init__(self, targets: Iterable[Tensor], scale: int, patch: int, seed: int, *, uniform: float = 0.2) -> None:
        if not 0 <= uniform <= 1 or seed < 0:
            raise InputError(f"uniform {uniform} must be 0 to 1, and seed {seed} at least 0")
        self.patch, self.seed, self.uniform = patch, seed, uniform
        self._step = max(1, patch // STEPS)
        self._sizes: list[tuple[int, int]] = []
        self._running: list[NDArray[np.float64]] = []
        for number, target in enumerate(targets):
            height, width = target.shape[-2] // scale, target.shape[-1] // scale
            if not 1 <= patch <= min(height, width):
                raise InputError(f"patch {patch} must fit field {number} of {height} x {width} input pixels")
            self._sizes.append((height, width))
            self._running.append(np.cumsum(_chances(target, patch * scale, self._step * scale)))
            if not np.isfinite(self._running[-1][-1]):
                raise InputError(f"the target of field {number} has pixels that are not finite; check the pairs first")
        if not self._sizes:
            raise InputError("there is no field to cut patches from; give at least one")

    def __call__(self, index: int) -> Place:
        """Patch `index`, an integer of at least 0. Every field is as likely; within it, see the top of this file."""
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, index], dtype=np.uint64)))
        field = int(rng.integers(len(self._sizes)))
        last = tuple(n - self.patch for n in self._sizes[field])
        if rng.uniform() < self.uniform:
            return Place(field, int(rng.integers(last[0] + 1)), int(rng.integers(last[1] + 1)))
        running = self._running[field]
        at = int(np.searchsorted(running, rng.uniform() * running[-1], side="right"))
        row, column = divmod(min(at, running.size - 1), last[1] // self._step + 1)
        moved = rng.integers(-(self._step // 2), self._step - self._step // 2, 2)
        y, x = row * self._step + int(moved[0]), column * self._step + int(moved[1])
        return Place(field, min(max(y, 0), last[0]), min(max(x, 0), last[1]))


def _chances(target: Tensor, patch: int, step: int) -> NDArray[np.float64]:
    """Variance of every candidate patch, limited: [rows, columns]; 1 everywhere where nothing varies."""
    pixels = target.double() - target.double().mean()
    sums = [_window_sums(values, patch)[::step, ::step] for values in (pixels, pixels**2)]
    variance = (sums[1] / patch**2 - (sums[0] / patch**2) ** 2).clamp(min=0).numpy()
    limit = np.percentile(variance, MOST_PERCENTILE) if np.isfinite(variance).all() else np.nan
    if limit == 0:
        limit = float(variance.max())
    limited: NDArray[np.float64] = np.minimum(variance, limit) if limit != 0 else np.ones(variance.shape)
    return limited


def _window_sums(values: Tensor, size: int) -> Tensor:
    """Sums over all size x size windows: [Y, X] -> [Y - size + 1, X - size + 1], by running sums."""
    total = torch.nn.functional.pad(values.cumsum(0).cumsum(1), (1, 0, 1, 0))
    return total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
