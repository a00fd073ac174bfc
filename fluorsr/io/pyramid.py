"""Resolution levels: each is the 2 x 2 mean of the level before along y and x, and along no other axis.

    level l   | 0 | 1 | 2 | 3 | 4 |        n pixels
    level l+1 |   0   |   1   |  2 |       ceil(n / 2) pixels; the last of an odd row averages what there is

Integers round half up (towards plus infinity). Every level is computed from the stored, rounded level before it, so a
level is the same whoever builds it. A pixel of level l covers 2**l pixels of level 0, so its centre lies at
translation + scale / 2 * (2**l - 1) + index * scale * 2**l.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 512
"""Levels are added until neither y nor x is longer than this."""

_ACCUMULATORS = {"uint8": np.uint16, "uint16": np.uint32, "int16": np.int32, "float32": np.float32}


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(y, x) sizes of all levels, level 0 first."""
    sizes = [(height, width)]
    while max(sizes[-1]) > SMALLEST:
        y, x = sizes[-1]
        sizes.append(((y + 1) // 2, (x + 1) // 2))
    return sizes


def level_transform(scale: float, translation: float, level: int) -> tuple[float, float]:
    """(scale, translation) along y or x of `level`, from those of level 0; any unit."""
    return scale * 2**level, translation + scale / 2 * (2**level - 1)


def halve(pixels: NDArray[Any]) -> NDArray[Any]:
    """The 2 x 2 mean of [y, x] pixels: [ceil(y/2), ceil(x/2)] of the same dtype (one of WRITABLE).

    NaN stays NaN: a level shows where its data are missing.
    """
    wide = np.dtype(_ACCUMULATORS[pixels.dtype.name])
    padded = _repeat_last(_repeat_last(pixels, 0), 1)
    # Rows first: they are contiguous, so the strided pass over columns runs on half the pixels.
    rows = np.add(padded[0::2], padded[1::2], dtype=wide)
    sums: NDArray[Any] = rows[:, 0::2] + rows[:, 1::2]
    if wide.kind == "f":
        sums *= wide.type(0.25)
    else:
        sums += wide.type(2)
        sums >>= wide.type(2)
    return sums.astype(pixels.dtype)


def _repeat_last(pixels: NDArray[Any], axis: int) -> NDArray[Any]:
    """Make an odd length even; the mean with a copy of itself is the mean of what there is, rounded alike."""
    if pixels.shape[axis] % 2 == 0:
        return pixels
    last = pixels[-1:] if axis == 0 else pixels[:, -1:]
    return np.concatenate((pixels, last), axis=axis)
