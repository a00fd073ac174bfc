"""One region of one image -> the restored region: the only place where numpy arrays and torch tensors meet.

    read (region + context) -> cut and normalise -> restore, batch by batch -> blend, denormalise, round -> pixels

The result depends on the image, the restorer, the grid, the batch size and the seed only: each tile is computed by one
thread in a batch of fixed size, and the grid is anchored at pixel 0 of the image, so neither the region asked for nor
the number of threads can change a bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.image import Image, PlaneIndex
from fluorsr.normalize import Normalization
from fluorsr.restorer import Restorer
from fluorsr.tiling.blend import blend, crc32c, extract
from fluorsr.tiling.grid import Box, Grid, TileBlock

FILL = 0.0
"""What a NaN or infinite pixel becomes, normalised: the image's low percentile, its background."""


@dataclass(frozen=True)
class Restored:
    """A restored region and what was met on the way.

    pixels      [scale * Y, scale * X] in the dtype asked for
    source      CRC32C of the input pixels it was made from, context included
    nonfinite   NaN and infinite input pixels inside the region (replaced by the background before the model)
    saturated   output pixels clipped to the dtype's range
    diverged    output pixels the model made NaN or infinite
    skipped     tiles that were empty
    """

    pixels: NDArray[Any]
    source: int
    nonfinite: int
    saturated: int
    diverged: int
    skipped: int = 0


def available_threads() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def tile_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that restore one tile batch each.

    torch itself runs single-threaded meanwhile: tiles side by side scale as well as threads inside an operator do, and
    the number of threads cannot change the order of any sum.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tile", initializer=torch.set_num_threads, initargs=(1,))
    try:
        with pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def restore_region(
    image: Image,
    planes: Sequence[PlaneIndex],
    y: tuple[int, int],
    x: tuple[int, int],
    restorer: Restorer,
    grid: Grid,
    normalization: Normalization,
    pool: ThreadPoolExecutor,
    *,
    dtype: str = "float32",
    batch: int = 1,
    seed: int = 0,
    empty: Callable[[NDArray[Any]], bool] | None = None,
) -> Restored:
    """Restore the input pixels [y[0], y[1]) x [x[0], x[1]) of one plane (or of `spec.frames` raw frames).

    planes  one index per frame the restorer takes
    grid    of the whole image, axes (z, y, x) with z = 1
    dtype   uint8, uint16 or float32
    empty   tells of a tile's input pixels [y, x] inside the image whether the model need not see them; where that holds
            for every frame of a tile, the tile becomes FILL, the background
    """
    block = Box((0, y[0], x[0]), (1, y[1], x[1]))
    tiles = grid.tiles(block)
    _, rows, columns = tiles.source.slices
    frames = read_source(image, planes, y, x, grid)
    count = len(tiles.starts)
    wanted = np.flatnonzero([empty is None or not _holds(empty, frames, tiles, grid, i) for i in range(count)])
    restored = _restore_tiles(frames, tiles, wanted, restorer, grid, normalization, pool, batch, seed)
    _, sy, sx = grid.scale
    pixels = np.empty((1, (y[1] - y[0]) * sy, (x[1] - x[0]) * sx), dtype)
    counts = blend(restored, grid, tiles, block, pixels, multiply=normalization.scale, add=normalization.low)
    inside = (slice(y[0] - rows.start, y[1] - rows.start), slice(x[0] - columns.start, x[1] - columns.start))
    nonfinite = sum(_count_nonfinite(frame[inside]) for frame in frames)
    counted = (nonfinite, counts.saturated, counts.nonfinite, count - len(wanted))
    return Restored(pixels[0], source_crc32c(frames), *counted)


def read_source(
    image: Image, planes: Sequence[PlaneIndex], y: tuple[int, int], x: tuple[int, int], grid: Grid
) -> list[NDArray[Any]]:
    """The input pixels that a region is restored from, context included: one [y, x] array per plane."""
    _, rows, columns = grid.tiles(Box((0, y[0], x[0]), (1, y[1], x[1]))).source.slices
    return [image.read(plane, rows, columns) for plane in planes]


def source_crc32c(frames: Sequence[NDArray[Any]]) -> int:
    """CRC32C of the pixels of `read_source`."""
    value = 0
    for frame in frames:
        value = crc32c(frame, value)
    return value


def _restore_tiles(
    frames: list[NDArray[Any]],
    tiles: TileBlock,
    wanted: NDArray[np.int64],
    restorer: Restorer,
    grid: Grid,
    normalization: Normalization,
    pool: ThreadPoolExecutor,
    batch: int,
    seed: int,
) -> NDArray[np.float32]:
    """Every tile of a block, float32 [tiles, 1, scale * T, scale * T], normalised: restored, or FILL if not wanted."""
    count = len(tiles.starts)
    _, height, width = grid.tile
    _, sy, sx = grid.scale
    restored = np.empty((count, 1, height * sy, width * sx), np.float32)
    if len(wanted) < count:
        restored.fill(FILL)

    def restore_batch(first: int) -> None:
        chosen = wanted[first : first + batch]
        starts = tiles.starts[np.pad(chosen, (0, batch - len(chosen)), mode="edge")]  # a short batch repeats its last
        cut = np.empty((len(frames), batch, 1, height, width), np.float32)
        for frame, out in zip(frames, cut, strict=True):
            extract(
                frame[None],
                tiles.source.start,
                grid.shape,
                starts,
                grid.tile,
                subtract=normalization.low,
                multiply=1.0 / normalization.scale,
                fill=FILL,
                out=out,
            )
        batched = torch.from_numpy(cut[:, :, 0]).transpose(0, 1).contiguous()
        result = restorer.restore(batched, torch.from_numpy(starts[:, 1:].copy()), seed)
        restored[chosen] = result[: len(chosen)].cpu().numpy()

    for _ in pool.map(restore_batch, range(0, len(wanted), batch)):
        pass
    return restored


def _holds(
    empty: Callable[[NDArray[Any]], bool], frames: list[NDArray[Any]], tiles: TileBlock, grid: Grid, tile: int
) -> bool:
    """Does a rule hold for what each frame has inside a tile?"""
    inside = tuple(
        slice(max(0, int(start) - first), int(start) - first + length)
        for start, first, length in zip(tiles.starts[tile][1:], tiles.source.start[1:], grid.tile[1:], strict=True)
    )
    return all(empty(frame[inside]) for frame in frames)


def _count_nonfinite(pixels: NDArray[Any]) -> int:
    return int(pixels.size - np.count_nonzero(np.isfinite(pixels))) if pixels.dtype.kind == "f" else 0
