"""Which tiles hold nothing but background, so that a run may leave them out.

A tile is empty where no mean over 4 x 4 of its input pixels, halo included, is above a threshold. Four pixels are less
than what a microscope can resolve, so a structure raises such means and a single hot pixel hardly does. Tiles lie on
the image's grid, so what is skipped depends on neither blocks nor workers.

The threshold is given, in counts, or found in the image: background + 6 noise / 4, since the noise of a mean over
4 x 4 pixels is a quarter of theirs. Background and noise are those of the darkest hundredth of all patches of 64 x 64
pixels (of a sample of the image where it is large). Constant patches are the padding of mosaics: they do not count, nor
do those that hold more than a hundredth of such pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.pyramid import halve
from fluorsr.normalize import sample_blocks

PATCH = 64
DARKEST = 0.01
PADDED = 0.01
NOISES = 6.0
"""How far above the background, in noises of a 4 x 4 mean: with Gaussian noise one mean in 10^9 is further."""


@dataclass(frozen=True)
class Empty:
    """The rule of one channel: means over 4 x 4 pixels at or below `threshold`, in counts; `why` it is that."""

    threshold: float
    why: str

    def __call__(self, pixels: NDArray[Any]) -> bool:
        """Is this part of a plane [y, x] empty? NaN and infinite pixels are taken as background, as everywhere."""
        values = pixels.astype(np.float32)
        if pixels.dtype.kind == "f":
            values[~np.isfinite(values)] = self.threshold
        return bool(halve(halve(values)).max() <= np.float32(self.threshold))

    def __str__(self) -> str:
        return f"no mean over 4 x 4 pixels above {self.threshold:.4g} counts ({self.why})"


def empty_rules(image: Image, channels: Sequence[int], wanted: str | float | None) -> dict[int, Empty]:
    """The rule of each channel: `wanted` counts, or "auto"; nothing where it is None.

    Raises InputError for anything else.
    """
    if wanted is None:
        return {}
    if wanted == "auto":
        return {c: _find(image, c) for c in channels}
    try:
        threshold = float(wanted)
    except ValueError:
        threshold = np.nan
    if not np.isfinite(threshold):
        raise InputError(f"skip_empty {wanted!r} must be auto or a number of counts, such as 120")
    return {c: Empty(threshold, "as given") for c in channels}


def _find(image: Image, channel: int) -> Empty:
    patches: list[NDArray[np.float64]] = []
    least = np.inf
    for plane, y, x in sample_blocks(image, (channel,))[0]:
        pixels = image.read(plane, y, x).astype(np.float64)
        least = min(least, float(pixels[np.isfinite(pixels)].min(initial=np.inf)))
        patches.append(_patches(pixels))
    mean, noises, lowest, share = np.concatenate(patches).T
    padding = mean[noises == 0]
    counts = np.isfinite(mean) & (noises > 0) & ~(np.isin(lowest, padding) & (share > PADDED))
    if not counts.any():
        return Empty(least, "the least there is: no patch shows noise")
    mean, noises = mean[counts], noises[counts]
    darkest = np.argsort(mean, kind="stable")[: max(1, int(DARKEST * len(mean)))]
    background, noise = float(np.median(mean[darkest])), float(np.median(noises[darkest]))
    why = f"background {background:.4g} + {NOISES:.0f} x noise {noise:.3g} / 4"
    return Empty(background + NOISES * noise / 4, why)


def _patches(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every whole patch [n, 4]: mean, noise, lowest pixel, share of pixels that are it; a small image is one patch.

    The noise is that of differences between neighbours, over the square root of 2: slopes do not count.
    """
    height, width = (min(PATCH, n) for n in pixels.shape)
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    cut = pixels[: rows * height, : columns * width].reshape(rows, height, columns, width).swapaxes(1, 2)
    noise = np.diff(cut, axis=-1).std(axis=(2, 3)) / np.sqrt(2) if width > 1 else np.zeros(cut.shape[:2])
    lowest = cut.min(axis=(2, 3), keepdims=True)
    share = (cut == lowest).mean(axis=(2, 3))
    return np.stack([found.ravel() for found in (cut.mean(axis=(2, 3)), noise, lowest, share)], axis=1)
