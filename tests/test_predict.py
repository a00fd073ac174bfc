"""Tiled equals whole, exactly, and nothing but the image decides the numbers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fluorsr.image import Image, PlaneIndex
from fluorsr.normalize import Normalization
from fluorsr.predict import restore_region, tile_pool
from fluorsr.restorer import Restorer, RestorerSpec
from fluorsr.tiling.grid import Grid

ONE = Normalization(0.0, 1.0)
Make = Callable[..., Any]


def grid_for(restorer: Restorer, shape: tuple[int, int], stride: int, overlap: int) -> Grid:
    spec = restorer.spec
    tile = stride + overlap + 2 * spec.halo
    return Grid(
        shape=(1, *shape),
        tile=(1, tile, tile),
        halo=(0, spec.halo, spec.halo),
        overlap=(0, overlap, overlap),
        multiple=(1, spec.multiple, spec.multiple),
        scale=(1, spec.scale, spec.scale),
    )


def restored_in_blocks(
    pixels: NDArray[Any], restorer: Restorer, grid: Grid, block: int, threads: int = 1, batch: int = 1
) -> NDArray[np.float32]:
    height, width = pixels.shape
    s = restorer.spec.scale
    out = np.full((height * s, width * s), np.nan, np.float32)
    with tile_pool(threads) as pool:
        for y in range(0, height, block):
            for x in range(0, width, block):
                rows, columns = (y, min(y + block, height)), (x, min(x + block, width))
                part = restore_region(
                    Image(pixels, "yx"), [PlaneIndex()], rows, columns, restorer, grid, ONE, pool, batch=batch
                )
                out[rows[0] * s : rows[1] * s, columns[0] * s : columns[1] * s] = part.pixels
    return out


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tiled_equals_the_model_on_the_whole_padded_image(integer_restorer: Make, data: st.DataObject) -> None:
    draw = data.draw
    lengths = st.one_of(st.integers(1, 40), st.sampled_from([1, 2, 97, 128, 211, 347, 700]))
    shape = (draw(lengths, "height"), draw(lengths, "width"))
    m = draw(st.sampled_from([1, 2, 4, 8]), "multiple")
    restorer = integer_restorer(
        scale=draw(st.sampled_from([1, 2, 4]), "scale"), radius=draw(st.integers(1, 6), "radius"), multiple=m
    )
    least = max(1, max(shape) // 12 // m)  # not thousands of tiles
    stride = m * draw(st.integers(least, least + 24), "stride / multiple")
    overlap = 2 * m * draw(st.integers(0, stride // (2 * m)), "overlap / 2 multiple")
    block = draw(st.integers(max(1, max(shape) // 3), 700), "block")
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]), "dtype")
    rng = np.random.default_rng(draw(st.integers(0, 99), "seed"))
    pixels = rng.integers(0, 100, shape).astype(dtype)
    grid = grid_for(restorer, shape, stride, overlap)
    tiled = restored_in_blocks(pixels, restorer, grid, block, batch=draw(st.sampled_from([1, 3]), "batch"))
    np.testing.assert_array_equal(tiled, restorer.whole(pixels))


@pytest.mark.parametrize("overlap", [0, 8])
def test_a_halo_one_pixel_too_small_is_seen(integer_restorer: Make, overlap: int) -> None:
    restorer = integer_restorer(radius=5)
    pixels = np.random.default_rng(0).integers(0, 100, (90, 70)).astype(np.uint16)
    short = restorer.with_halo(restorer.spec.halo - 1)
    right = restored_in_blocks(pixels, restorer, grid_for(restorer, pixels.shape, 16, overlap), 64)
    wrong = restored_in_blocks(pixels, short, grid_for(short, pixels.shape, 16, overlap), 64)
    np.testing.assert_array_equal(right, restorer.whole(pixels))
    assert np.count_nonzero(wrong != restorer.whole(pixels)) > 0


class _Network:
    """A float32 network with rounding of its own: what must not change a bit is where its tiles are computed."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 4, 3, padding=1)]
        self.network = torch.nn.Sequential(*layers, torch.nn.PixelShuffle(2)).eval()
        self.spec = RestorerSpec("network", scale=2, halo=2)

    @torch.inference_mode()
    def restore(self, tiles: torch.Tensor, origin: torch.Tensor, seed: int) -> torch.Tensor:
        result: torch.Tensor = self.network(tiles)
        return result


@pytest.mark.parametrize("overlap", [0, 10])
def test_blocks_threads_and_place_in_the_batch_change_no_bit(overlap: int) -> None:
    restorer = _Network()
    pixels = np.random.default_rng(1).random((203, 151), np.float32)
    grid = grid_for(restorer, pixels.shape, 32, overlap)
    for batch in (1, 4):
        reference = restored_in_blocks(pixels, restorer, grid, 1000, threads=1, batch=batch)
        for block, threads in ((64, 1), (37, 2), (1000, 4)):
            again = restored_in_blocks(pixels, restorer, grid, block, threads, batch)
            np.testing.assert_array_equal(again, reference)


def test_nan_and_inf_are_counted_once_and_do_not_spread(integer_restorer: Make) -> None:
    restorer = integer_restorer(scale=2, radius=3)
    clean = np.random.default_rng(2).integers(1, 100, (80, 80)).astype(np.float32)
    dirty = clean.copy()
    dirty[31, 32], dirty[40, 40], dirty[0, 79] = np.nan, np.inf, -np.inf
    as_background = np.where(np.isfinite(dirty), dirty, 0)
    grid = grid_for(restorer, (80, 80), 16, 0)
    counted = 0
    with tile_pool(1) as pool:
        for y in (0, 40):
            part = restore_region(Image(dirty, "yx"), [PlaneIndex()], (y, y + 40), (0, 80), restorer, grid, ONE, pool)
            counted += part.nonfinite
            np.testing.assert_array_equal(part.pixels, restorer.whole(as_background)[2 * y : 2 * y + 80])
    assert counted == 3


def test_a_model_that_diverges_is_told() -> None:
    class Broken(_Network):
        def restore(self, tiles: torch.Tensor, origin: torch.Tensor, seed: int) -> torch.Tensor:
            return super().restore(tiles, origin, seed) * float("nan")

    restorer = Broken()
    image = Image(np.ones((20, 20), np.uint16), "yx")
    grid = grid_for(restorer, (20, 20), 16, 0)
    with tile_pool(1) as pool:
        part = restore_region(image, [PlaneIndex()], (0, 20), (0, 20), restorer, grid, ONE, pool, dtype="uint16")
    assert part.diverged == 40 * 40
    assert not part.pixels.any()


def test_normalisation_is_inverted_and_rounding_saturates(integer_restorer: Make) -> None:
    class Doubler(_Network):
        def restore(self, tiles: torch.Tensor, origin: torch.Tensor, seed: int) -> torch.Tensor:
            return 2 * tiles.repeat_interleave(2, -1).repeat_interleave(2, -2)

    restorer = Doubler()
    pixels = np.array([[100, 110], [140, 250]], np.uint8)
    grid = grid_for(restorer, (2, 2), 16, 0)
    with tile_pool(1) as pool:
        part = restore_region(
            Image(pixels, "yx"),
            [PlaneIndex()],
            (0, 2),
            (0, 2),
            restorer,
            grid,
            Normalization(100, 150),
            pool,
            dtype="uint8",
        )
    np.testing.assert_array_equal(part.pixels[::2, ::2], [[100, 120], [180, 255]])  # 100 + 2 (x - 100), 400 clipped
    assert part.saturated == 4


def test_torch_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with tile_pool(2) as pool:
        assert isinstance(pool, ThreadPoolExecutor)
        assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == before
