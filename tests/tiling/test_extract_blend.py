"""Extraction and blending against numpy: conversion, reflection, fades, rounding, counts, vector levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fluorsr import _core
from fluorsr.tiling.blend import BlendCounts, blend, extract
from fluorsr.tiling.grid import Box, Grid, Triple

DTYPES = ("uint8", "uint16", "int16", "float32")


def pixels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(100, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def everything(shape: Triple) -> Box:
    return Box((0, 0, 0), shape)


def finish(
    values: NDArray[np.float32], dtype: str, multiply: float = 1.0, add: float = 0.0
) -> tuple[NDArray[Any], BlendCounts]:
    """A row of values through blend, one tile, nothing to fade."""
    row = values.reshape(1, 1, 1, -1)
    shape = (1, 1, values.size)
    grid = Grid(shape, shape)
    out = np.empty(shape, dtype)
    block = everything(shape)
    return out, blend(row, grid, grid.tiles(block), block, out, multiply=multiply, add=add)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 90)),
    st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 40)),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)
def test_tiles_are_windows_of_the_reflected_image(shape: Triple, tile: Triple, dtype: str, seed: int) -> None:
    image = pixels(shape, dtype, seed)
    pad = 100
    origins = np.random.default_rng(seed).integers(-60, 60, (6, 3))
    tiles = extract(image, (0, 0, 0), shape, origins, tile, subtract=7.25, multiply=0.3, fill=0.0)
    padded = np.pad(image, pad, mode="reflect").astype(np.float32)
    expected = (padded - np.float32(7.25)) * np.float32(0.3)
    for values, (z, y, x) in zip(tiles, origins + pad, strict=True):
        window = (slice(z, z + tile[0]), slice(y, y + tile[1]), slice(x, x + tile[2]))
        np.testing.assert_array_equal(values, expected[window])


def test_extract_fills_the_given_array() -> None:
    image = pixels((1, 8, 9), "uint16")
    out = np.empty((1, 1, 8, 9), np.float32)
    result = extract(
        image, (0, 0, 0), image.shape, np.zeros((1, 3), np.int64), (1, 8, 9), subtract=0, multiply=1, fill=0, out=out
    )
    assert result is out
    np.testing.assert_array_equal(out[0], image)


def test_pixels_that_are_not_finite_become_the_fill_value() -> None:
    image = np.arange(40, dtype=np.float32).reshape(1, 1, 40)
    image[0, 0, [3, 20, 39]] = [np.nan, np.inf, -np.inf]
    image[0, 0, 7] = 3e38  # overflows when it is normalised
    tiles = extract(
        image, (0, 0, 0), (1, 1, 40), np.array([[0, 0, -5]]), (1, 1, 50), subtract=0, multiply=10, fill=-2.5
    )
    expected = np.pad(np.arange(40) * 10.0, (5, 5), mode="reflect")
    hidden = np.pad(np.isin(np.arange(40), [3, 7, 20, 39]), (5, 5), mode="reflect")
    np.testing.assert_array_equal(tiles.ravel(), np.where(hidden, -2.5, expected))


def windows(grid: Grid) -> list[list[NDArray[np.float64]]]:
    """Per axis, each tile's weights over the whole output, in float64, straight from the definition."""
    result = []
    for axis in range(3):
        scale, stride, count = (g[axis] for g in (grid.scale, grid.stride, grid.count))
        fade = grid.overlap[axis] * scale
        size = grid.shape[axis] * scale
        position = np.arange(size) + 0.5
        rising = [
            np.clip((position - (k * stride * scale - fade / 2)) / fade, 0, 1)
            if fade
            else (position >= k * stride * scale).astype(float)
            for k in range(count)
        ]
        raised = [(1 - np.cos(np.pi * r)) / 2 if k else np.ones(size) for k, r in enumerate(rising)]
        raised.append(np.zeros(size))
        result.append([raised[k] - raised[k + 1] for k in range(count)])
    return result


@pytest.mark.parametrize(
    "grid",
    [
        Grid((1, 1, 100), (1, 1, 40), (0, 0, 4), (0, 0, 10), scale=(1, 1, 2)),
        Grid((1, 50, 61), (1, 20, 24), (0, 2, 3), (0, 8, 6), scale=(1, 4, 1)),
        Grid((9, 20, 33), (6, 12, 16), (1, 1, 2), (2, 4, 6), scale=(1, 2, 2)),
        Grid((7, 9, 5), (8, 24, 30), (2, 6, 5), (2, 6, 10)),
        Grid((1, 40, 3000), (1, 40, 2600), (0, 4, 0), (0, 16, 1300)),
    ],
)
def test_fades_are_raised_cosines_that_sum_to_one(grid: Grid) -> None:
    block = everything(grid.shape)
    needed = grid.tiles(block)
    size = [t * s for t, s in zip(grid.tile, grid.scale, strict=True)]
    tiles = np.random.default_rng(3).normal(size=(len(needed.starts), *size)).astype(np.float32)
    weights = windows(grid)
    assert all(np.allclose(np.sum(axis, axis=0), 1) for axis in weights)
    expected = np.zeros([n * s for n, s in zip(grid.shape, grid.scale, strict=True)])
    for n, tile in enumerate(tiles):
        index = np.unravel_index(n, needed.counts)
        target, source, window = [], [], np.ones((1, 1, 1))
        for axis in range(3):
            at = int(needed.starts[n, axis]) * grid.scale[axis]
            low, high = max(at, 0), min(at + size[axis], expected.shape[axis])
            target.append(slice(low, high))
            source.append(slice(low - at, high - at))
            along = [1, 1, 1]
            along[axis] = -1
            window = window * weights[axis][index[axis]][low:high].reshape(along)
        expected[tuple(target)] += window * tile[tuple(source)]
    out = np.empty(expected.shape, np.float32)
    blend(tiles, grid, needed, block, out, multiply=3.0, add=0.5)
    np.testing.assert_allclose(out, 3 * expected + 0.5, atol=2e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(1, 40))
def test_where_tiles_agree_their_value_stays_bit_for_bit(value: float, length: int) -> None:
    grid = Grid((3, length, 50), (6, 8, 16), (0, 1, 2), (2, 2, 6))
    block = everything(grid.shape)
    needed = grid.tiles(block)
    tiles = np.full((len(needed.starts), *grid.tile), value, np.float32)
    out = np.empty(grid.shape, np.float32)
    blend(tiles, grid, needed, block, out, multiply=1.0, add=0.0)
    assert (out == np.float32(value)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_rounded_half_to_even_and_saturated(dtype: str) -> None:
    top = float(np.iinfo(dtype).max)
    values = np.array(
        [0.5, 1.5, 2.5, 254.5, top - 0.5, top + 0.49, top + 0.5, top + 1, 1e9, 3e38, -0.5, -0.51, -1, -1e9, 0.4999],
        np.float32,
    )
    out, counts = finish(values, dtype)
    np.testing.assert_array_equal(out.ravel(), np.clip(np.rint(values), 0, top).astype(dtype))
    rounded = np.rint(values)
    assert counts == ((rounded < 0).sum() + (rounded > top).sum(), 0)


def test_every_half_of_uint16_rounds_as_numpy_does() -> None:
    values = np.arange(-4, 2 * 65540, dtype=np.float32) / 2
    out, _ = finish(values, "uint16")
    np.testing.assert_array_equal(out.ravel(), np.clip(np.rint(values), 0, 65535))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_values_that_are_not_finite_are_counted(dtype: str) -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf, 5.0, 3e38] * 21, np.float32)
    out, counts = finish(values, dtype, multiply=10.0)
    assert counts.nonfinite == 4 * 21  # 3e38 * 10 overflows
    assert counts.saturated == 0
    if dtype == "float32":
        assert np.isnan(out.ravel()[1])
        assert out.ravel()[2] == np.inf
    else:
        assert out.ravel()[:6].tolist() == [10, 0, np.iinfo(dtype).max, 0, 50, np.iinfo(dtype).max]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_denormalisation_is_one_multiplication_and_one_addition(dtype: str) -> None:
    values = np.random.default_rng(4).uniform(-0.2, 1.2, 1003).astype(np.float32)
    out, _ = finish(values, dtype, multiply=211.7, add=3.3)
    expected = values * np.float32(211.7) + np.float32(3.3)
    if dtype != "float32":
        expected = np.clip(np.rint(expected), 0, np.iinfo(dtype).max)
    np.testing.assert_array_equal(out.ravel(), expected.astype(dtype))


@pytest.mark.parametrize("length", [1, 3, 8, 17, 63, 64, 65, 1000, 2051])
def test_every_vector_level_gives_the_same_bits(length: int) -> None:
    levels = _core.simd_levels()
    assert levels[0] == "baseline"
    grid = Grid((2, 9, length), (4, 6, min(40, length)), (0, 1, 0), (2, 2, 2 * (min(40, length) // 4)))
    block = everything(grid.shape)
    needed = grid.tiles(block)
    for dtype in DTYPES:
        image = pixels(grid.shape, dtype)
        if dtype == "float32":
            image.flat[::7] = np.nan
        cut = [
            _core.extract(
                image[needed.source.slices], needed.source.start, grid.shape, needed.starts, grid.tile,
                subtract=1.7, multiply=0.013, fill=0.1, simd=level,
            )
            for level in levels
        ]  # fmt: skip
        for other in cut[1:]:
            np.testing.assert_array_equal(other.view(np.uint32), cut[0].view(np.uint32))
        tiles = cut[0] * np.random.default_rng(5).normal(1, 0.3, cut[0].shape).astype(np.float32)
        tiles.flat[::97] = np.nan
        for out_dtype in ("uint8", "uint16", "float32"):
            outs = [np.empty(grid.shape, out_dtype) for _ in levels]
            counts = {
                _core.blend(
                    tiles, grid.native, needed.first, needed.counts, block.start, block.stop, out,
                    multiply=81.3, add=40.1, simd=level,
                )
                for level, out in zip(levels, outs, strict=True)
            }  # fmt: skip
            assert len(counts) == 1
            for out in outs[1:]:
                assert out.tobytes() == outs[0].tobytes()


def test_an_unknown_vector_level_is_refused() -> None:
    with pytest.raises(ValueError, match="simd level 'mmx' is not one that this machine runs; use one of: baseline"):
        _core.extract(
            np.zeros((1, 1, 1), np.uint8), (0, 0, 0), (1, 1, 1), np.zeros((1, 3), np.int64), (1, 1, 1),
            subtract=0, multiply=1, fill=0, simd="mmx",
        )  # fmt: skip
