"""Normalisation: fitted once on a whole image, applied to every tile, inverted on the way out.

    x' = (x - low) / (high - low)

`low` and `high` are percentiles of the image's finite pixels, over all of it or, where it is large, over a fixed
sample of blocks that depends on nothing but the image's shape. They are never fitted per tile: that would make seams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex

SAMPLE_BLOCK = 1024
MAX_BLOCKS_INTEGER = 64  # a histogram of 2^26 pixels: under a second to read
MAX_BLOCKS_FLOAT = 16  # floats are kept to be sorted: 64 MiB


@dataclass(frozen=True)
class Normalization:
    """Maps `low` to 0 and `high` to 1, in the camera's units; `sample` tells what they were fitted on."""

    low: float
    high: float
    sample: str = "given"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high)) or self.high < self.low:
            raise InputError(f"normalisation needs finite low <= high, not {self.low} and {self.high}")

    @property
    def scale(self) -> float:
        """high - low; 1 for a constant image, which thus becomes 0 everywhere."""
        return self.high - self.low if self.high > self.low else 1.0


def fit(image: Image, channels: Sequence[int] = (0,), percentiles: tuple[float, float] = (0.1, 99.9)) -> Normalization:
    """Fit on all planes (every t and z) of `channels` together.

    A percentile is the smallest pixel value that at least that share of the finite pixels does not exceed (numpy's
    `inverted_cdf`); for integer pixels it comes from an exact histogram. Where both percentiles coincide though the
    image is not constant (a few bright points on nothing), its extremes are taken instead. An image without a finite
    pixel gives low = high = 0.
    """
    counts: NDArray[np.int64] | None = None
    values: list[NDArray[np.float32]] = []
    offset = 0
    blocks, total = sample_blocks(image, channels)
    for plane, y, x in blocks:
        pixels = image.read(plane, y, x).ravel()
        if pixels.dtype.kind == "f":
            values.append(pixels[np.isfinite(pixels)])
        else:
            offset = int(np.iinfo(pixels.dtype).min)
            shifted = pixels.astype(np.int32) - offset if offset else pixels
            found = np.bincount(shifted, minlength=2 ** (8 * pixels.dtype.itemsize))
            counts = found if counts is None else counts + found
    sample = "all pixels" if len(blocks) == total else f"{len(blocks)} of {total} blocks of {SAMPLE_BLOCK} px"
    if counts is not None:
        ranked = np.cumsum(counts)
        low, high, least, most = (
            float(np.searchsorted(ranked, rank)) + offset for rank in _ranks(int(ranked[-1]), percentiles)
        )
    else:
        finite = np.concatenate(values)
        if finite.size == 0:
            return Normalization(0.0, 0.0, sample)
        ranks = [rank - 1 for rank in _ranks(finite.size, percentiles)]
        finite.partition(sorted(set(ranks)))
        low, high, least, most = (float(finite[rank]) for rank in ranks)
    return Normalization(low, high, sample) if high > low else Normalization(least, most, sample)


def _ranks(count: int, percentiles: tuple[float, float]) -> tuple[int, int, int, int]:
    """1-based ranks of the low and high percentile, the least and the most of `count` sorted pixels."""
    low, high = (min(count, max(1, int(np.ceil(p / 100 * count)))) for p in percentiles)
    return low, high, 1, count


def sample_blocks(image: Image, channels: Sequence[int]) -> tuple[list[tuple[PlaneIndex, slice, slice]], int]:
    """The blocks to fit on, and how many there are in all.

    Every block where the image is small; else a fixed sample spread evenly over planes, y and x by the R3 sequence
    (Roberts 2018, the generalised golden ratio), so that no row or column of blocks is favoured.
    """
    planes = [plane for plane in image.planes() if plane.c in channels]
    rows, columns = -(-image.size("y") // SAMPLE_BLOCK), -(-image.size("x") // SAMPLE_BLOCK)
    total = len(planes) * rows * columns
    limit = MAX_BLOCKS_INTEGER if image.dtype.name in ("uint8", "uint16", "int16") else MAX_BLOCKS_FLOAT

    def block(plane: int, row: int, column: int) -> tuple[PlaneIndex, slice, slice]:
        y, x = row * SAMPLE_BLOCK, column * SAMPLE_BLOCK
        return planes[plane], _upto(y, image.size("y")), _upto(x, image.size("x"))

    if total <= limit:
        return [block(p, r, c) for p in range(len(planes)) for r in range(rows) for c in range(columns)], total
    chosen = dict.fromkeys(_spread(len(planes), rows, columns, limit))
    return [block(*index) for index in chosen], total


def _upto(start: int, size: int) -> slice:
    return slice(start, min(start + SAMPLE_BLOCK, size))


def _spread(planes: int, rows: int, columns: int, count: int) -> Iterator[tuple[int, int, int]]:
    ratio = 1.2207440846057596  # the real root of r^4 = r + 1
    steps: NDArray[Any] = (1 / ratio) ** np.arange(1, 4)
    for i in range(count):
        p, r, c = (0.5 + i * steps) % 1.0
        yield int(p * planes), int(r * rows), int(c * columns)
