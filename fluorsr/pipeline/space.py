"""How many bytes an output takes, and whether the disk has them, before the work starts."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
from numcodecs import Blosc

from fluorsr.errors import StorageError
from fluorsr.image import Image
from fluorsr.io.pyramid import level_sizes
from fluorsr.io.writer import Layout
from fluorsr.pipeline.plan import Plan

SAMPLES = 8
SIDE = 512
CERTAIN = 0.5
"""Less free space than this share of the estimate is refused: a restored image may compress better than its input."""


def raw_bytes(layout: Layout) -> int:
    """Bytes of all pixels of all levels, not compressed."""
    planes = int(np.prod(layout.shape[:-2], dtype=np.int64))
    return planes * layout.itemsize * sum(y * x for y, x in level_sizes(layout.size("y"), layout.size("x")))


def output_bytes(image: Image, plan: Plan) -> int:
    """What a run's images will take on disk, compressed: about, and rather too much than too little."""
    restored, *deviation = plan.layouts
    return int(raw_bytes(restored) * compressed_share(image, plan)) + sum(raw_bytes(layout) for layout in deviation)


def compressed_share(image: Image, plan: Plan) -> float:
    """What the output's codec leaves of the input's pixels, in the output's dtype: 0 to 1.

    Sampled in SAMPLES blocks spread over the run, at most 512 x 512 pixels of each. Noise does not compress, and what a
    model restores has less of it than its input, so this is mostly more than the output will take.
    """
    codec = Blosc(cname="zstd", clevel=1, shuffle=Blosc.SHUFFLE)
    raw = packed = 0
    for index in sorted({int((i + 0.5) / SAMPLES * len(plan)) for i in range(SAMPLES)}):
        block = plan.block(index)
        y, x = (slice(start, min(stop, start + SIDE)) for start, stop in (block.y, block.x))
        pixels = np.nan_to_num(image.read(block.planes[0], y, x)).astype(plan.layout.dtype)
        raw += pixels.nbytes
        packed += len(codec.encode(pixels))
    return min(1.0, packed / raw)


def check_space(folder: Path, needed: int) -> str:
    """A line of warning where the disk may not hold `needed` bytes, else empty. Raises StorageError where it cannot."""
    free = shutil.disk_usage(folder).free
    told = f"about {needed / 1e9:.2f} GB will be written, and {folder} has {free / 1e9:.2f} GB free"
    if free < CERTAIN * needed:
        refusal = StorageError(f"{told}: free space, choose another disk, or restore a part with --region, --z or --t")
        refusal.errno = errno.ENOSPC
        raise refusal
    return f"{told}; it may not be enough" if free < needed else ""
