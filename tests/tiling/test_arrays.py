"""Arrays of every layout are handled, or refused with what is wrong and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.tiling.blend import BlendCounts, blend, extract
from fluorsr.tiling.grid import Box, Grid

SHAPE = (2, 12, 20)
GRID = Grid(SHAPE, (2, 8, 12), (0, 1, 1), (0, 2, 4))
BLOCK = Box((0, 0, 0), SHAPE)
NEEDED = GRID.tiles(BLOCK)
IMAGE = np.random.default_rng(0).integers(0, 1000, SHAPE, "uint16")


def cut(source: Any = IMAGE, **changes: Any) -> NDArray[np.float32]:
    arguments: dict[str, Any] = {
        "source_start": (0, 0, 0),
        "image_shape": SHAPE,
        "starts": NEEDED.starts,
        "tile": GRID.tile,
        "subtract": 0.0,
        "multiply": 1.0,
        "fill": 0.0,
    } | changes
    return extract(source, **arguments)


TILES = cut()


def put(out: Any, tiles: Any = TILES, **changes: Any) -> BlendCounts:
    arguments: dict[str, Any] = {"multiply": 1.0, "add": 0.0} | changes
    return blend(tiles, GRID, NEEDED, BLOCK, out, **arguments)


def misaligned(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.zeros(count + 1, np.uint8)[1:].view(dtype).reshape(shape)


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "transposed": np.asfortranarray,
    "reversed": lambda a: a[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "every second pixel": lambda a: np.repeat(np.repeat(a, 2, 1), 2, 2)[:, ::2, ::2],
    "part of a wider array": lambda a: np.pad(a, ((0, 0), (1, 1), (3, 4)))[:, 1:-1, 3:-4],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sources_of_any_strides(layout: str) -> None:
    np.testing.assert_array_equal(cut(LAYOUTS[layout](IMAGE)), TILES)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_outputs_of_any_strides(layout: str, dtype: str) -> None:
    expected = np.zeros(SHAPE, dtype)
    counts = put(expected)
    out = LAYOUTS[layout](np.zeros(SHAPE, dtype))
    assert put(out) == counts
    np.testing.assert_array_equal(out, expected)


def test_a_view_is_filled_and_nothing_beside_it() -> None:
    whole = np.full((2, 14, 30), 7, "uint16")
    put(whole[:, 1:-1, 3:23])
    np.testing.assert_array_equal(whole[:, 1:-1, 3:23], IMAGE)
    whole[:, 1:-1, 3:23] = 7
    assert (whole == 7).all()


def test_a_read_only_or_repeated_source_is_read() -> None:
    frozen = IMAGE.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(cut(frozen), TILES)
    flat = np.broadcast_to(np.uint16(9), SHAPE)
    assert (cut(flat) == 9).all()


def test_tiles_need_not_be_packed() -> None:
    wide = np.pad(TILES, ((0, 0), (0, 1), (2, 0), (0, 5)))[:, :-1, 2:, :-5]
    out = np.empty(SHAPE, "uint16")
    put(out, wide)
    np.testing.assert_array_equal(out, IMAGE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([[1]], "source is a list; it must be a numpy array"),
        (IMAGE.astype(">u2"), "source has dtype >u2; it must be one of uint8, .* native byte order; try np.ascont"),
        (IMAGE.astype("float64"), "source has dtype <f8; it must be one of uint8, uint16, int16, float32"),
        (IMAGE.astype(object), r"source has dtype \|O"),
        (IMAGE[0], r"source has shape \(12, 20\); it must have 3 axes"),
        (IMAGE[:, :0], r"source is empty: its shape is \(2, 0, 20\)"),
        (misaligned(SHAPE, "uint16"), r"source is misaligned: .*; try source.copy\(\)"),
        (np.zeros(SHAPE, [("a", "u1"), ("b", "<u2")])["b"], "source is misaligned"),
        (IMAGE[:, :5], "y: tile . shows image pixels .*, but the source holds 0 to 5; read TileBlock.source"),
        (np.zeros((2, 13, 20), "uint8"), "y: the source's 13 pixels from 0 on must lie inside the image of 12"),
    ],
)
def test_sources_that_are_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cut(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_start": (0, -1, 0)}, "y: the source's 12 pixels from -1 on must lie inside the image"),
        ({"source_start": (0, 2**61, 0)}, "y: the source's 12 pixels from .* must lie inside the image"),
        ({"source_start": (0, 0)}, r"source_start is \(0, 0\); it must be three integers"),
        ({"image_shape": (0, 12, 20)}, "z: image size 0 and tile 2 must be at least 1"),
        ({"tile": (2, 0, 12)}, "y: tile 0 must be 1 to"),
        ({"tile": (2**24, 2**24, 2**24)}, "the tiles would need more memory than any machine has"),
        ({"starts": NEEDED.starts.astype("int32")}, "starts has dtype <i4; it must be one of int64"),
        ({"starts": NEEDED.starts[:, :2]}, r"starts has shape \(12, 2\); it must be \[tiles, 3\]"),
        ({"starts": NEEDED.starts[:0]}, "starts is empty"),
        ({"starts": NEEDED.starts[:, ::-1]}, "starts is not C-contiguous"),
        ({"starts": np.full((1, 3), -(2**62))}, "z: tile 0 starts at -4611686018427387904, which no image reaches"),
        ({"multiply": np.inf}, "multiply is inf; it must be finite as float32"),
        ({"subtract": 1e60}, r"subtract is 1e\+60; it must be finite as float32"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
        ({"out": np.empty((12, 2, 8, 11), np.float32)}, r"out has shape .*; it must be \(12, 2, 8, 12\)"),
        ({"out": np.empty((12, 2, 8, 12))}, "out has dtype <f8; it must be one of float32"),
        ({"out": np.empty((12, 2, 8, 24), np.float32)[..., ::2]}, "out is not C-contiguous"),
        ({"out": misaligned((12, 2, 8, 12), "float32")}, "out is misaligned"),
        ({"out": np.broadcast_to(np.float32(0), (12, 2, 8, 12))}, "out is read-only; it must be writeable"),
    ],
)
def test_extract_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cut(**changes)


def test_extract_refuses_an_output_in_the_source() -> None:
    memory = np.zeros(12 * 2 * 8 * 12, np.float32)
    source = memory[: 2 * 12 * 20].reshape(SHAPE)
    with pytest.raises(InputError, match="out and source share memory; they must be separate arrays"):
        cut(source, out=memory.reshape(12, 2, 8, 12))


def twice(dtype: str) -> NDArray[Any]:
    memory = np.zeros(2 * 12 * 20, dtype)
    item = memory.itemsize
    return np.lib.stride_tricks.as_strided(memory, SHAPE, (item * 20, item * 20, item))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty(SHAPE, "float64"), "out has dtype <f8; it must be one of uint8, uint16, float32"),
        (np.empty(SHAPE, ">u2"), "out has dtype >u2; .* native byte order"),
        (np.empty(SHAPE, "int16"), "out has dtype <i2"),
        (np.empty((2, 12, 40), "uint8"), "x: out has 40 pixels; a block of 20 at scale 1 makes 20"),
        (np.empty((12, 20), "uint8"), r"out has shape \(12, 20\); it must have 3 axes"),
        (np.broadcast_to(np.uint8(0), SHAPE), "out is read-only"),
        (twice("uint16"), r"out overlaps itself: its strides \(40, 40, 2\) reach some elements twice"),
        (misaligned(SHAPE, "uint16"), r"out is misaligned: .*; try out.copy\(\)"),
        (TILES[:, 0, :3, :][:2, :, :], "out has 3 pixels"),
        (None, "out is a NoneType; it must be a numpy array"),
    ],
)
def test_outputs_that_are_refused(out: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        put(out, TILES.copy())


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        (TILES.astype("float64"), "tiles has dtype <f8; it must be one of float32"),
        (TILES[:5], "tiles holds 5 tiles; the block has 12"),
        (TILES[:, :, :, :11], "x: tiles have 11 pixels, but tile 12 at scale 1 makes 12; the model's scale differs"),
        (TILES[0], "tiles has shape .*; it must have 4 axes"),
        (np.asfortranarray(TILES), "tiles must be contiguous along x; try np.ascontiguousarray"),
    ],
)
def test_tiles_that_are_refused(tiles: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        put(np.empty(SHAPE, "uint8"), tiles)


def test_blend_refuses_an_output_in_the_tiles() -> None:
    memory = TILES.copy()
    with pytest.raises(InputError, match="out and tiles share memory"):
        put(memory.ravel()[: 2 * 12 * 20].reshape(SHAPE), memory)


def test_blend_refuses_tiles_of_another_block() -> None:
    other = GRID.tiles(Box((0, 0, 0), (2, 4, 4)))
    tiles = cut(starts=other.starts)
    with pytest.raises(InputError, match="y: the block needs tiles 0 to 3, but tiles 0 to 2 are given"):
        blend(tiles, GRID, other, BLOCK, np.empty(SHAPE, "uint8"), multiply=1.0, add=0.0)


def test_a_part_of_a_block_may_be_blended_from_its_tiles() -> None:
    out = np.empty((1, 5, 9), "uint16")
    blend(TILES, GRID, NEEDED, Box((1, 4, 7), (2, 9, 16)), out, multiply=1.0, add=0.0)
    np.testing.assert_array_equal(out, IMAGE[1:2, 4:9, 7:16])
