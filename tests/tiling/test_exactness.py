"""Tiling is exact: cut, restore and blend equal the model on the whole reflect-padded image.

The model here is a correlation with whole-number weights, computed in float64, whose output also depends on the place
within the grid of `multiple` (as a U-Net's does) and within the output pixel group of `scale`. All values are whole and
below 2**24, so float32 holds them exactly and the comparison is equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import correlate

from fluorsr.tiling.blend import blend, extract
from fluorsr.tiling.grid import Box, Grid, Triple


@dataclass(frozen=True)
class Model:
    """float64 [n, z, y, x] -> float64 [n, sz, sy, sx]; its weights are at least 1 and reach `radius` pixels."""

    weights: NDArray[np.float64]
    multiple: Triple
    scale: Triple

    def __call__(self, tiles: NDArray[Any]) -> NDArray[np.float64]:
        values = correlate(tiles.astype(np.float64), self.weights[None], mode="constant")
        for axis, (multiple, scale) in enumerate(zip(self.multiple, self.scale, strict=True), start=1):
            along = [1, 1, 1, 1]
            along[axis] = -1
            values = values + (np.arange(values.shape[axis]) % multiple).reshape(along)
            values = np.repeat(values, scale, axis=axis)
            values = values + (np.arange(values.shape[axis]) % scale).reshape(along)
        return values


@dataclass(frozen=True)
class Case:
    image: NDArray[Any]
    grid: Grid
    model: Model
    subtract: float

    def whole(self) -> NDArray[np.float64]:
        """The reference: the model on the whole image, padded by more than it can see."""
        radius = np.array(self.model.weights.shape) // 2
        pad = [-(-int(r) // m) * m for r, m in zip(radius, self.grid.multiple, strict=True)]
        padded = np.pad(self.image.astype(np.float64) - self.subtract, [(p, p) for p in pad], mode="reflect")
        inner = tuple(slice(p * s, (p + n) * s) for p, s, n in zip(pad, self.grid.scale, self.grid.shape, strict=True))
        return self.model(padded[None])[0][inner]

    def tiled(self, blocks: list[Box], dtype: str = "float32", threads: int = 1) -> NDArray[Any]:
        scale = self.grid.scale
        out = np.empty([n * s for n, s in zip(self.grid.shape, scale, strict=True)], dtype)
        for block in blocks:
            needed = self.grid.tiles(block)
            tiles = extract(
                self.image[needed.source.slices],
                needed.source.start,
                self.grid.shape,
                needed.starts,
                self.grid.tile,
                subtract=self.subtract,
                multiply=1.0,
                fill=0.0,
                threads=threads,
            )
            target = out[tuple(slice(a * s, b * s) for a, b, s in zip(block.start, block.stop, scale, strict=True))]
            restored = self.model(tiles).astype(np.float32)
            blend(restored, self.grid, needed, block, target, multiply=1.0, add=0.0, threads=threads)
        return out


def whole_image(shape: Triple) -> list[Box]:
    return [Box((0, 0, 0), shape)]


@st.composite
def cases(draw: st.DrawFn, missing_halo: int = 0) -> Case:
    """Images of 1 to 3 axes, 1 to 700 pixels, with a grid that has the model's radius less `missing_halo` as halo.

    Where some halo is missing every axis has a second tile: along an axis of one tile, half the overlap replaces it.
    """
    rank = draw(st.integers(1, 3))
    longest = {1: 700, 2: 150, 3: 28}[rank]
    lengths = st.one_of(
        st.integers(1, longest), st.sampled_from([n for n in (1, 2, 3, 7, 13, 97, 127, 691) if n <= longest])
    )
    columns: list[tuple[int, int, int, int, int, int, int]] = []
    for axis in range(3):
        if axis < 3 - rank:
            columns.append((1, 1, 0, 0, 1, 1, 0))
            continue
        multiple = draw(st.sampled_from((1, 1, 1, 2, 4)))
        radius = max(draw(st.integers(0, 3)), missing_halo)
        half = draw(st.integers(0, 5 if rank < 3 else 2))
        halo = radius - missing_halo
        if missing_halo:
            multiple = 1
        halo += -(halo + half) % multiple
        stride = multiple * draw(st.integers(1, max(1, (60 if rank < 3 else 12) // multiple)))
        stride += -(-max(2 * half - stride, 0) // multiple) * multiple
        scale = draw(st.sampled_from((1, 2, 4) if rank < 3 else (1, 2)))
        length = draw(lengths) + (stride if missing_halo else 0)
        columns.append((length, stride + 2 * (halo + half), halo, 2 * half, multiple, scale, radius))
    shape, tile, halo_, overlap, multiple_, scale_, radius_ = (tuple(c) for c in zip(*columns, strict=True))
    dtype = draw(st.sampled_from(("uint8", "uint16", "int16", "float32")))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    subtract = draw(st.sampled_from((0.0, -1.0)))
    image = rng.integers(1, 16, shape).astype(dtype)
    weights = rng.integers(1, 4, [2 * r + 1 for r in radius_]).astype(np.float64)
    grid = Grid(shape, tile, halo_, overlap, multiple_, scale_)  # type: ignore[arg-type]
    return Case(image, grid, Model(weights, multiple_, scale_), subtract)  # type: ignore[arg-type]


def cut(data: st.DataObject, shape: Triple) -> list[Box]:
    """The image in boxes, cut at random places."""
    edges = []
    for n in shape:
        cuts = data.draw(st.sets(st.integers(1, n - 1), max_size=3)) if n > 1 else set()
        edges.append([0, *sorted(cuts), n])
    return [
        Box((z0, y0, x0), (z1, y1, x1))
        for z0, z1 in zip(edges[0], edges[0][1:], strict=False)
        for y0, y1 in zip(edges[1], edges[1][1:], strict=False)
        for x0, x1 in zip(edges[2], edges[2][1:], strict=False)
    ]


quick = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@quick
@given(cases(), st.data())
def test_tiled_equals_whole(case: Case, data: st.DataObject) -> None:
    result = case.tiled(cut(data, case.grid.shape))
    np.testing.assert_array_equal(result, case.whole())


@quick
@given(cases(), st.data(), st.sampled_from(("uint8", "uint16")))
def test_integer_output_is_the_whole_result_saturated(case: Case, data: st.DataObject, dtype: str) -> None:
    result = case.tiled(cut(data, case.grid.shape), dtype)
    np.testing.assert_array_equal(result, np.clip(case.whole(), 0, np.iinfo(dtype).max).astype(dtype))


@quick
@given(cases(missing_halo=1))
def test_a_halo_one_pixel_too_small_is_wrong(case: Case) -> None:
    """The tests above can fail: pixels and weights are positive, so what a short halo hides is always missed."""
    result = case.tiled(whole_image(case.grid.shape))
    assert (result != case.whole()).any()


@st.composite
def inexact_cases(draw: st.DrawFn) -> Case:
    """Models that see the tile's edge, so that neighbouring tiles disagree and every fade counts."""
    case = draw(cases())
    rng = np.random.default_rng(1)
    noisy = rng.normal(size=case.image.shape).astype(np.float32)
    return Case(noisy, case.grid, Model(rng.normal(size=(5, 5, 5)), case.grid.multiple, case.grid.scale), 0.25)


@quick
@given(inexact_cases(), st.data())
def test_blocks_change_no_bit(case: Case, data: st.DataObject) -> None:
    once = case.tiled(whole_image(case.grid.shape))
    np.testing.assert_array_equal(case.tiled(cut(data, case.grid.shape)).view(np.uint32), once.view(np.uint32))


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_threads_change_no_bit(threads: int, dtype: str) -> None:
    rng = np.random.default_rng(2)
    shape = (3, 211, 307)
    grid = Grid(shape, (4, 64, 48), (0, 8, 4), (2, 16, 8), (1, 1, 1), (1, 2, 2))
    case = Case(
        rng.uniform(-10, 300, shape).astype(np.float32),
        grid,
        Model(rng.normal(size=(3, 3, 3)), (1, 1, 1), grid.scale),
        3.0,
    )
    alone = case.tiled(whole_image(shape), dtype)
    assert alone.size > 64 * 2**13  # enough work for several threads to be started
    np.testing.assert_array_equal(case.tiled(whole_image(shape), dtype, threads), alone)
