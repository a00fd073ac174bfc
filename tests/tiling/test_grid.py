"""Tile geometry against a brute-force reading of its definition."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.errors import InputError
from fluorsr.tiling.grid import Box, Grid


def grid_1d(size: int, tile: int, halo: int = 0, overlap: int = 0, multiple: int = 1, scale: int = 1) -> Grid:
    return Grid((1, 1, size), (1, 1, tile), (0, 0, halo), (0, 0, overlap), (1, 1, multiple), (1, 1, scale))


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """size, tile, halo, overlap, multiple that fit together."""
    multiple = draw(st.sampled_from((1, 1, 2, 3, 8)))
    half = draw(st.integers(0, 12))
    halo = draw(st.integers(0, 12))
    halo += -(halo + half) % multiple
    stride = multiple * draw(st.integers(1, 20))
    stride += -(-max(2 * half - stride, 0) // multiple) * multiple
    return draw(st.integers(1, 700)), stride + 2 * halo + 2 * half, halo, 2 * half, multiple


@settings(max_examples=200, deadline=None)
@given(axes(), st.data())
def test_a_block_asks_for_the_tiles_that_show_it_and_no_others(
    axis: tuple[int, int, int, int, int], data: st.DataObject
) -> None:
    size, tile, halo, overlap, multiple = axis
    grid = grid_1d(size, tile, halo, overlap, multiple)
    stride = tile - 2 * halo - overlap
    assert grid.stride[2] == stride
    assert (grid.count[2] - 1) * stride < size <= grid.count[2] * stride
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))

    tiles = grid.tiles(Box((0, 0, start), (1, 1, stop)))

    wanted = [
        k for k in range(grid.count[2]) if k * stride - overlap // 2 < stop and (k + 1) * stride + overlap // 2 > start
    ]
    assert list(range(tiles.first[2], tiles.first[2] + tiles.counts[2])) == wanted
    starts = [k * stride - overlap // 2 - halo for k in wanted]
    assert tiles.starts[:, 2].tolist() == starts
    assert all(origin % multiple == 0 for origin in starts)
    reflected = np.pad(np.arange(size), 4 * tile, mode="reflect")
    shown = np.concatenate([reflected[4 * tile + origin :][:tile] for origin in starts])
    assert (tiles.source.start[2], tiles.source.stop[2]) == (shown.min(), shown.max() + 1)


def test_starts_are_in_c_order() -> None:
    tiles = Grid((2, 5, 7), (1, 3, 4)).tiles(Box((0, 0, 0), (2, 5, 7)))
    assert tiles.counts == (2, 2, 2)
    assert tiles.starts.dtype == np.int64
    assert tiles.starts.tolist() == [[z, y, x] for z in (0, 1) for y in (0, 3) for x in (0, 4)]


def test_offsets_beyond_32_bits() -> None:
    size = 10**13
    grid = grid_1d(size, 256, 8, 32)
    tiles = grid.tiles(Box((0, 0, size - 100), (1, 1, size)))
    assert tiles.source.stop[2] == size
    assert tiles.starts[-1, 2] == (grid.count[2] - 1) * grid.stride[2] - 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((700, 100, 0, 0, 16), r"x: tile 100 must be a multiple of 16 \(.*\); try 96 or 112"),
        ((700, 7, 0, 0, 16), r"x: tile 7 must be a multiple of 16 \(.*\); try 16"),
        ((700, 64, 0, 7), r"x: overlap 7 must be even .*; try 6 or 8"),
        ((700, 64, 3, 4, 4), r"halo \+ overlap / 2 = 3 \+ 2 = 5 must be a multiple of 4 .*; try halo 6"),
        ((700, 64, 32, 0), r"tile 64 is too small for halo 32 .* = 0, .*; try tile 65"),
        ((700, 64, 8, 30), r"tile 64 is too small .* = 18, .*; try tile 76 or a smaller overlap"),
        ((700, 64, 16, 32, 16), r"tile 64 is too small .*; try tile 96 or a smaller overlap"),
        ((0, 64), "x: image size is 0; it must be 1 to"),
        ((700, 0), "x: tile is 0; it must be 1 to"),
        ((700, 64, -1), "x: halo is -1; it must be 0 to"),
        ((700, 64, 0, 0, 1, 0), "x: scale is 0; it must be 1 to"),
        ((2**63, 64), "no image is that large"),
        ((2**60, 64), "x: image size is .*; it must be 1 to"),
        ((700, 1.5), r"tile is \(1, 1, 1.5\); it must be three integers"),
    ],
)
def test_misfits_are_refused_with_the_remedy(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        grid_1d(*arguments)


@pytest.mark.parametrize(("size", "arguments"), [(700, (64, 3, 4, 4)), (700, (64, 8, 30)), (700, (64, 16, 32, 16))])
def test_the_remedy_given_works(size: int, arguments: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        grid_1d(size, *arguments)
    words = str(caught.value).split("; try ")[1].split()
    tile, halo, *rest = arguments
    fixed = (tile, int(words[1]), *rest) if words[0] == "halo" else (int(words[1]), halo, *rest)
    assert grid_1d(size, *fixed).stride[2] >= arguments[2]


@pytest.mark.parametrize(("start", "stop"), [(5, 5), (-1, 3), (0, 701), (6, 5)])
def test_a_block_must_lie_inside_the_image(start: int, stop: int) -> None:
    with pytest.raises(InputError, match=f"x: block {start} to {stop} must hold .* inside the image, 0 to 700"):
        grid_1d(700, 64).tiles(Box((0, 0, start), (1, 1, stop)))


def test_a_block_of_too_many_tiles_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs more than .* tiles; take smaller blocks"):
        Grid((1, 2**30, 2**30), (1, 1, 1)).tiles(Box((0, 0, 0), (1, 2**30, 2**30)))


def test_a_grid_travels_between_processes() -> None:
    grid = grid_1d(700, 64, 8, 16, 2, 4)
    copy = pickle.loads(pickle.dumps(grid))
    assert copy == grid
    assert copy.count == grid.count


def test_box() -> None:
    box = Box((1, 2, 3), (2, 4, 6))
    assert box.shape == (1, 2, 3)
    assert np.empty((5, 6, 7))[box.slices].shape == (1, 2, 3)
    with pytest.raises(InputError, match="three integers"):
        Box((1, 2), (3, 4))  # type: ignore[arg-type]
