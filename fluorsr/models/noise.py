"""Gaussian noise that belongs to a place: a pixel's depends on (seed, draw, global y, global x) and on nothing else.

    tile at (0, 0)    +-------+
                      |   +---|---+        where tiles overlap they see the same noise, in any order, on any worker:
                      |   |===|   |        a sample does not depend on the tiling
                      +---|---+   |
                          +-------+  tile at (y, x)

Numbers come from Philox 4 x 32-10 (Salmon et al. 2011, SC11), a counter-based generator: ten rounds scramble the
counter (y, x, draw, high bits of y and x) under the key (seed). In int64, whose products keep their low 64 bits.

A seed below 0 is the mirror of one that is not: the noise of -1 - n is that of n, negated (antithetic variates,
Hammersley and Morton 1956). What of a sample is odd in its noise cancels in the mean of such a pair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = 0xFFFFFFFF


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four random words of 32 bits for each counter of four, all int64 in 0 to 2**32 - 1; counters broadcast."""
    c0, c1, c2, c3 = counter
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32 & LOW) ^ c1 ^ key[0],
            second & LOW,
            (first >> 32 & LOW) ^ c3 ^ key[1],
            first & LOW,
        )
        key = (key[0] + WEYL[0]) & LOW, (key[1] + WEYL[1]) & LOW
    return c0, c1, c2, c3


def seed_of(seed: int, sample: int) -> int:
    """Seed of the n-th of several samples that begin at `seed`, 0 or more: each seed, then its mirror."""
    one = seed + sample // 2
    return -1 - one if sample % 2 else one


def gaussian(seed: int, draw: int, origin: Tensor, height: int, width: int) -> Tensor:
    """Standard normal numbers [B, 1, height, width] float32 of the pixels from `origin` [B, 2] int64 (y, x) on.

    seed, draw   which sample, and which of its draws; an int each, of which the low 64 and 32 bits count
    """
    mirrored = seed >> 63  # -1 where the seed is below 0, else 0; without a branch, which an export would bake in
    seed = seed ^ mirrored
    y = origin[:, 0].reshape(-1, 1, 1, 1) + torch.arange(height, device=origin.device).reshape(-1, 1)
    x = origin[:, 1].reshape(-1, 1, 1, 1) + torch.arange(width, device=origin.device)
    counter = (y & LOW, x & LOW, torch.full_like(y, draw & LOW), (y >> 32 & 0xFFFF) | (x >> 32 & 0xFFFF) << 16)
    one, two, _, _ = philox(counter, (seed & LOW, seed >> 32 & LOW))
    # Box and Muller 1958; the half keeps the logarithm from 0
    radius = (1 + 2 * mirrored) * torch.sqrt(-2 * torch.log((one.float() + 0.5) * 2.0**-32))
    return radius * torch.cos(two.float() * (2 * math.pi * 2.0**-32))
