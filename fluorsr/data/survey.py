"""One pass over the pixels of a plane, cell by cell: is anything wrong with them, and where is the most to see?"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np

from fluorsr.image import Image, PlaneIndex

CELL_PX = 1024
"""Cells have at least this many input pixels along an axis and fewer than twice as many; small images are one cell."""

BIT_DEPTHS = (8, 10, 12, 14, 15, 16)
"""A detector of n bits saturates at 2**n - 1; int16 at 2**15 - 1."""

Cell = tuple[slice, slice]


@dataclass(frozen=True)
class Survey:
    """What one plane holds.

    low, high   of the finite pixels;  nonfinite   how many are NaN or infinite
    saturated   share of the pixels at the upper end of the detector's range (of the file's, for floating point)
    spread      variance in each cell;  digest   the same for the same pixels
    """

    low: float
    high: float
    nonfinite: int
    saturated: float
    spread: tuple[float, ...]
    digest: str


def cells(height: int, width: int) -> list[Cell]:
    """Cut [height, width] input pixels into cells, row by row."""
    cuts = [np.linspace(0, n, max(1, n // CELL_PX) + 1).astype(int).tolist() for n in (height, width)]
    ys, xs = ([slice(a, b) for a, b in itertools.pairwise(cut)] for cut in cuts)
    return list(itertools.product(ys, xs))


def enlarged(cell: Cell, scale: int) -> Cell:
    """The same cell in target pixels."""
    y, x = cell
    return slice(y.start * scale, y.stop * scale), slice(x.start * scale, x.stop * scale)


def survey(image: Image, plane: PlaneIndex, scale: int = 1) -> Survey:
    """Read a plane once. `scale` is its pixels per input pixel, so that input and target have the same cells.

    Raises FormatError on damaged files.
    """
    low, high, nonfinite, at_top, count = np.inf, -np.inf, 0, 0, 0
    spread: list[float] = []
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    for cell in cells(image.size("y") // scale, image.size("x") // scale):
        pixels = image.read(plane, *enlarged(cell, scale))
        digest.update(pixels.tobytes())
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
        nonfinite += pixels.size - finite.size
        count += pixels.size
        if not finite.size:
            spread.append(0.0)
            continue
        top = float(finite.max())
        if top >= high:
            same = int(np.count_nonzero(finite == finite.max()))
            at_top = at_top + same if top == high else same
        low, high = min(low, float(finite.min())), max(high, top)
        spread.append(float(finite.var(dtype=np.float64)))
    detector = image.dtype.kind == "f" or high in {2.0**bits - 1 for bits in BIT_DEPTHS}
    # One pixel is always the brightest.
    saturated = at_top / count if detector and at_top > 1 and high > low else 0.0
    return Survey(low, high, nonfinite, saturated, tuple(spread), digest.hexdigest())
