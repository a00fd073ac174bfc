"""Images for a page: cut to a budget, and written as 16-bit PNG that a script can turn back into intensities.

A pixel of the PNG is a code: 0 stands for NaN and infinity, and any other code c for `low + (c - 1) * step`. Integer
images that span fewer than 65535 counts keep every count (step 1); others lose less than one part in 130,000 of their
span. So contrast, profiles and error maps of the page are of the pixels, not of a picture of them.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from fluorsr.errors import InputError

CODES = 65535
BUDGET_BYTES = 12 * 2**20
"""Of all images of a page, as base64; what bounds its size."""
MOST_PX, LEAST_PX = 512, 64


@dataclass(frozen=True)
class Encoded:
    """A PNG as base64 and how its codes read; `bad` counts the pixels that are not finite."""

    png: str
    low: float
    step: float
    high: float
    bad: int


def encode(image: NDArray[Any]) -> Encoded:
    """Encode [Y, X] of any real dtype. Raises InputError where it is empty or not two-dimensional."""
    if image.ndim != 2 or not image.size:
        raise InputError(f"a page shows images [Y, X] with pixels, not one of shape {image.shape}")
    finite = np.isfinite(image)
    seen = image[finite].astype(np.float64)
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    exact = np.issubdtype(image.dtype, np.integer) and high - low < CODES
    step = 1.0 if exact or high == low else (high - low) / (CODES - 1)
    codes = np.zeros(image.shape, np.uint16)
    codes[finite] = np.rint((seen - low) / step).astype(np.uint16) + 1
    file = io.BytesIO()
    Pillow.fromarray(codes).save(file, format="png", compress_level=6)
    return Encoded(
        base64.b64encode(file.getvalue()).decode("ascii"), low, step, high, int(image.size - np.count_nonzero(finite))
    )


def side_for(areas: list[float], budget: int = BUDGET_BYTES) -> int:
    """The side in pixels of square crops that keep a page's images within `budget` bytes, even where none compresses.

    areas   of each image to be shown: its pixels for each pixel of the crop's area (1 for a truth; 1/4 for an input
            with pixels of twice the size)
    A crop has 64 to 512 pixels: the budget yields to the former.
    """
    bytes_each_px = sum(areas) * 2 * 4 / 3
    side = math.isqrt(int(budget / bytes_each_px)) if bytes_each_px else MOST_PX
    return max(LEAST_PX, min(MOST_PX, side // 16 * 16))


def most_structured_square(image: NDArray[Any], side: int) -> tuple[int, int]:
    """(y, x) of the square of `side` pixels in which [Y, X] varies most, on a grid of half a side; from the top left.

    Pass the truth or the input: what is shown must not be chosen by how a restoration looks.
    """
    height, width = image.shape
    clean = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0)
    best, at = -1.0, (0, 0)
    for y in _starts(height, side):
        for x in _starts(width, side):
            if (spread := float(clean[y : y + side, x : x + side].std())) > best:
                best, at = spread, (y, x)
    return at


def _starts(length: int, side: int) -> list[int]:
    last = max(length - side, 0)
    return sorted({*range(0, last, max(1, side // 2)), last})
