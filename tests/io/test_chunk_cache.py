"""Large chunks: decoded once, whoever reads them, within a bound; the pixels are those of the array."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fluorsr.errors import FormatError
from fluorsr.image import PlaneIndex
from fluorsr.io.chunk_cache import LARGE_PX, ChunkCache, chunk_sides, with_chunk_cache
from fluorsr.io.chunked import ChunkedArray
from fluorsr.io.open import open_image
from fluorsr.pipeline.plan import make_plan, whole
from fluorsr.pipeline.rows import chunk_order
from fluorsr.restorer import RestorerSpec

PIXELS = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)


class Counting(ChunkedArray):
    """An array in memory that counts what is read of it."""

    def __init__(self, pixels: NDArray[Any], chunks: tuple[int, ...]) -> None:
        self.pixels, self.sides, self.read = pixels, chunks, 0
        super().__init__("memory")

    def _open(self) -> Any:
        return zarr.create_array({}, data=self.pixels, chunks=self.sides)

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        self.read += 1
        return super().__getitem__(key)


spans = st.tuples(st.integers(0, 19), st.integers(1, 20), st.integers(0, 29), st.integers(1, 30))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2), spans)
def test_any_region_is_that_of_the_array(z: int, span: tuple[int, int, int, int]) -> None:
    y0, dy, x0, dx = span
    cache = ChunkCache(Counting(PIXELS, (2, 7, 8)), limit_bytes=500)
    key = (z, slice(y0, min(y0 + dy, 20)), slice(x0, min(x0 + dx, 30)))
    np.testing.assert_array_equal(cache[key], PIXELS[key])
    np.testing.assert_array_equal(cache[(slice(0, 3), *key[1:])], PIXELS[:, key[1], key[2]])


def test_a_chunk_is_decoded_once_for_all_threads() -> None:
    array = Counting(PIXELS, (3, 20, 30))
    cache = ChunkCache(array)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache[0, slice(i, i + 1), slice(0, 30)], range(20)))
    assert array.read == 1
    copy = pickle.loads(pickle.dumps(ChunkCache(open_array_of(PIXELS))))
    np.testing.assert_array_equal(copy[1, slice(0, 20), slice(0, 30)], PIXELS[1])


def open_array_of(pixels: NDArray[Any]) -> ChunkedArray:
    return Counting(pixels, (1, 20, 30))


def test_what_is_kept_is_bounded_and_the_latest() -> None:
    array = Counting(PIXELS, (1, 20, 30))
    cache = ChunkCache(array, limit_bytes=2 * 20 * 30 * 2)
    for z in (0, 1, 0, 2, 0, 1):
        cache[z, slice(0, 20), slice(0, 30)]
    assert array.read == 4  # 0, 1, 2 and, since 2 pushed it out, 1 again
    assert len(cache._kept) == 2


def test_a_damaged_chunk_is_told_each_time(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=np.ones((2000, 1200), np.uint8), chunks=(2000, 1200))
    (tmp_path / "in.zarr" / "c" / "0" / "0").write_bytes(b"no chunk")
    image = with_chunk_cache(open_image(tmp_path / "in.zarr"))
    assert isinstance(image.data, ChunkCache)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"chunk \(0, 0\)"):
            image.read(PlaneIndex(), slice(0, 5), slice(0, 5))


def test_small_chunks_are_left_alone_and_blocks_follow_large_ones(tmp_path: Path) -> None:
    for chunk in (512, 2048):
        zarr.create_array(tmp_path / f"{chunk}.zarr", shape=(2, 4096, 3000), dtype="uint8", chunks=(1, chunk, chunk))
    image = with_chunk_cache(open_image(tmp_path / "512.zarr"))
    plan = make_plan(image, RestorerSpec("same"), whole(image), block=512)
    assert chunk_sides(image) is None
    assert list(chunk_order(plan, image)) == list(range(len(plan)))
    image = with_chunk_cache(open_image(tmp_path / "2048.zarr"))
    assert chunk_sides(image) == (2048, 2048) > (LARGE_PX, LARGE_PX)
    order = list(chunk_order(plan, image))
    assert sorted(order) == list(range(len(plan)))
    seen = [(b.planes[0].z, b.y[0] // 2048, b.x[0] // 2048) for b in map(plan.block, order)]
    assert len([1 for before, after in pairwise(seen) if before != after]) == 2 * 4 - 1
