"""Cutting tiles out of an image and putting restored tiles together: the typed face of the C++ core.

    source [z, y, x] -> extract -> tiles [n, z, y, x] -> model -> tiles [n, sz, sy, sx] -> blend -> out [z, y, x]

The arithmetic is float32. Every function releases the GIL, and no thread count changes a bit of its result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluorsr import _core
from fluorsr.errors import InputError
from fluorsr.tiling.grid import Box, Grid, TileBlock, Triple, triple


class BlendCounts(NamedTuple):
    """Output pixels that did not fit: beyond the integer type's range, or NaN or infinite before they were finished."""

    saturated: int
    nonfinite: int


def extract(
    source: NDArray[Any],
    source_start: Triple,
    image_shape: Triple,
    starts: NDArray[np.int64],
    tile: Triple,
    *,
    subtract: float,
    multiply: float,
    fill: float,
    out: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Cut tiles out of `source`, normalise them, and continue the image by reflection where they leave it.

    source         [z, y, x] uint8, uint16, int16 or float32, any strides: part of an image of `image_shape` pixels,
                   from `source_start` on; it must hold all that the tiles show (TileBlock.source)
    starts, tile   int64 [n, 3] origins in image pixels, and the size of every tile
    out            C-contiguous float32 [n, z, y, x] to fill; made where None
    returns        float32 [n, z, y, x]: (pixel - subtract) * multiply; `fill` where that is not finite

    Raises InputError where an array or a number does not fit, with what is wrong and the remedy.
    """
    try:
        return _core.extract(
            source,
            triple("source_start", source_start),
            triple("image_shape", image_shape),
            starts,
            triple("tile", tile),
            subtract=subtract,
            multiply=multiply,
            fill=fill,
            out=out,
            threads=threads,
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def blend(
    tiles: NDArray[np.float32],
    grid: Grid,
    tile_block: TileBlock,
    block: Box,
    out: NDArray[Any],
    *,
    multiply: float,
    add: float,
    threads: int = 1,
) -> BlendCounts:
    """Put restored tiles together and finish them: value * multiply + add into `out`.

    tiles       float32 [n, scale * tile z, y, x], the tiles of `tile_block` in its order, contiguous along x
    block       input pixels whose output is wanted; `tile_block` is grid.tiles(block), or that of a box around it
    out         [z, y, x], scale times the block: uint8, uint16 (rounded half to even, saturated, NaN becomes 0) or
                float32, any strides

    Neighbours cross-fade as a + w (b - a), so where they agree the result is their value bit for bit.
    Raises InputError where an array or a number does not fit, with what is wrong and the remedy.
    """
    try:
        counts = _core.blend(
            tiles,
            grid.native,
            tile_block.first,
            tile_block.counts,
            block.start,
            block.stop,
            out,
            multiply=multiply,
            add=add,
            threads=threads,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    return BlendCounts(*counts)


def crc32c(array: NDArray[Any] | bytes, value: int = 0) -> int:
    """CRC-32C (RFC 3720) of bytes or of a C-contiguous array's memory, continued from `value`.

    Raises InputError where the memory is not contiguous or `value` is not 0 to 2**32 - 1.
    """
    if not 0 <= value < 2**32:
        raise InputError(f"value is {value}; a CRC-32C lies in 0 to 2**32 - 1")
    try:
        return _core.crc32c(array, value)
    except ValueError as error:
        raise InputError(str(error)) from None
