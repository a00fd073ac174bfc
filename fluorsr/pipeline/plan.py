"""What a run will do, decided and checked before anything is written.

output plane          one block = one task = one level-0 shard, written whole by one worker
+--------+--------+---
| block 0| block 1|      blocks run t slowest, then c, z, y, and x fastest
+--------+--------+---   tiles lie on their own grid, anchored at pixel 0 of the image
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fluorsr.errors import InputError
from fluorsr.image import AXES, Image, PlaneIndex
from fluorsr.io.writer import Layout
from fluorsr.restorer import RestorerSpec
from fluorsr.tiling.grid import Box, Grid

DEFAULT_BLOCK = 2048
DEFAULT_STRIDE = 512
INEXACT_OVERLAP = 64
RESTORED_DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Selection:
    """Which part of the image to restore: indices along t, c, z and input pixels along y and x."""

    t: tuple[int, ...]
    c: tuple[int, ...]
    z: tuple[int, ...]
    y: tuple[int, int]
    x: tuple[int, int]


@dataclass(frozen=True)
class Block:
    """One task: which input pixels to restore, and where they go in the output.

    planes   input planes, one per frame the restorer takes
    output   plane of the output
    y, x     input pixels, half open
    y_out, x_out   first output pixel
    """

    index: int
    planes: tuple[PlaneIndex, ...]
    output: PlaneIndex
    y: tuple[int, int]
    x: tuple[int, int]
    y_out: int
    x_out: int


@dataclass(frozen=True)
class Plan:
    """Everything about a run that does not need the data: the grid, the output's layout, and its blocks.

    samples   how many are drawn of a stochastic model, whose mean and deviation are written; None: one restored image
    """

    selection: Selection
    grid: Grid
    layout: Layout
    frames: int
    batch: int
    samples: int | None = None

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Of the images that the run writes: what is restored, and with samples their deviation."""
        if self.samples is None:
            return (self.layout,)
        return self.layout, replace(self.layout, dtype="float32", name=f"{self.layout.name}, deviation")

    @property
    def tiles(self) -> int:
        """Tiles that all blocks compute together; rows times columns, since blocks and tiles both lie on grids."""
        (y0, y1), (x0, x1) = self.selection.y, self.selection.x
        by, bx = self.block_input
        rows = sum(self.grid.tiles(Box((0, y, x0), (1, min(y + by, y1), x0 + 1))).counts[1] for y in range(y0, y1, by))
        columns = sum(
            self.grid.tiles(Box((0, y0, x), (1, y0 + 1, min(x + bx, x1)))).counts[2] for x in range(x0, x1, bx)
        )
        return rows * columns * int(np.prod(self.output_planes(), dtype=np.int64))

    @property
    def block_input(self) -> tuple[int, int]:
        """Input pixels of a whole block along y and x."""
        return self.layout.block[0] // self.grid.scale[1], self.layout.block[1] // self.grid.scale[2]

    @property
    def blocks_yx(self) -> tuple[int, int]:
        (y0, y1), (x0, x1) = self.selection.y, self.selection.x
        by, bx = self.block_input
        return -(-(y1 - y0) // by), -(-(x1 - x0) // bx)

    def output_planes(self) -> tuple[int, int, int]:
        """Number of output planes along t, c and z."""
        return len(self.selection.t), len(self.selection.c), len(self.selection.z)

    @property
    def input_planes(self) -> list[PlaneIndex]:
        """The first frame of every output plane, in the order of the blocks."""
        chosen = self.selection
        return [PlaneIndex(t, c, z) for t in chosen.t for c in chosen.c for z in chosen.z]

    def __len__(self) -> int:
        return int(np.prod(self.output_planes(), dtype=np.int64)) * self.blocks_yx[0] * self.blocks_yx[1]

    def block(self, index: int) -> Block:
        """The block of that index; computed, so that a million blocks cost nothing."""
        rest, column = divmod(index, self.blocks_yx[1])
        rest, row = divmod(rest, self.blocks_yx[0])
        _, c_count, z_count = self.output_planes()
        rest, z = divmod(rest, z_count)
        t, c = divmod(rest, c_count)
        (y0, y1), (x0, x1) = self.selection.y, self.selection.x
        by, bx = self.block_input
        chosen = PlaneIndex(self.selection.t[t], self.selection.c[c], self.selection.z[z])
        y, x = (y0 + row * by, min(y0 + (row + 1) * by, y1)), (x0 + column * bx, min(x0 + (column + 1) * bx, x1))
        return Block(
            index,
            tuple(chosen._replace(q=q) for q in range(self.frames)),
            PlaneIndex(t, c, z),
            y,
            x,
            (y[0] - y0) * self.grid.scale[1],
            (x[0] - x0) * self.grid.scale[2],
        )


def make_plan(
    image: Image,
    spec: RestorerSpec,
    selection: Selection,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int = 1,
    dtype: str = "same",
    block: int | None = None,
    samples: int | None = None,
) -> Plan:
    """Lay out a run over an image whose axis q, if any, holds the frames (see fluorsr.pipeline.frames).

    Raises InputError where image, restorer and options do not fit together.
    """
    if batch < 1:
        raise InputError(f"batch {batch} must be at least 1")
    if samples is not None and samples < 2:
        raise InputError(f"samples is {samples}; a deviation takes at least 2")
    if samples is not None and not spec.stochastic:
        raise InputError(f"{spec.name} gives the same image for every seed; leave out samples")
    if image.size("q") != spec.frames:
        raise InputError(f"{spec.name} takes {spec.frames} frames, and the image has {image.size('q')} along q")
    block = _block_size(block, spec.scale)
    tiles, overlaps = _tiles(image, spec, block // spec.scale, tile, overlap)
    grid = Grid(
        shape=(1, image.size("y"), image.size("x")),
        tile=(1, *tiles),
        halo=(0, spec.halo, spec.halo),
        overlap=(0, *overlaps),
        multiple=(1, spec.multiple, spec.multiple),
        scale=(1, spec.scale, spec.scale),
    )
    layout = _layout(image, spec, selection, _output_dtype(image, dtype), block)
    return Plan(selection, grid, layout, spec.frames, batch, samples)


def _block_size(block: int | None, scale: int) -> int:
    """Output pixels of a block: a multiple of the scale, by default the largest up to 2048 with four chunks an axis."""
    if block is None:
        return DEFAULT_BLOCK // (4 * scale) * 4 * scale
    if block < scale or block % scale:
        raise InputError(
            f"block {block} must be a multiple of the scale, {scale}; try {max(1, block // scale) * scale}"
        )
    return block


def _tiles(
    image: Image, spec: RestorerSpec, block: int, tile: int | None, overlap: int | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tile and overlap along y and x, in input pixels.

    An exact restorer needs no cross-fade, so its overlap is 0. The stride divides the block where it can, so that no
    tile is computed twice; among those the one with the fewest pixels to compute over the image is taken.
    """
    m = spec.multiple
    if overlap is None:
        overlap = default_overlap(spec)
    if tile is not None:
        return (tile, tile), (overlap, overlap)
    margin = 2 * spec.halo + overlap
    call = 8  # a tile costs a call: about as much as so many more pixels along each axis

    def best(length: int) -> int:
        if length <= block:
            strides = {_ceil_to(-(-length // n), m) for n in range(1, 1 + -(-length // 128))}
        else:
            strides = {block // n for n in range(1, 17) if block % n == 0 and (block // n) % m == 0}
        usable = {s for s in strides if overlap <= s <= DEFAULT_STRIDE} or {_ceil_to(max(overlap, min(length, 256)), m)}
        return margin + min(usable, key=lambda s: (-(-length // s) * (s + margin + call), -s))

    return (best(image.size("y")), best(image.size("x"))), (overlap, overlap)


def default_overlap(spec: RestorerSpec) -> int:
    """Input pixels over which tiles cross-fade: none for an exact restorer, which needs no cross-fade."""
    return 0 if spec.exact else 2 * spec.multiple * -(-INEXACT_OVERLAP // (2 * spec.multiple))


def _ceil_to(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _output_dtype(image: Image, dtype: str) -> str:
    if dtype == "same":
        return image.dtype.name if image.dtype.name in RESTORED_DTYPES else "float32"
    if dtype not in RESTORED_DTYPES:
        raise InputError(f"dtype {dtype!r} cannot be written; choose same or one of {', '.join(RESTORED_DTYPES)}")
    return dtype


def _layout(image: Image, spec: RestorerSpec, selection: Selection, dtype: str, block: int) -> Layout:
    sizes: dict[str, int] = {
        "t": len(selection.t),
        "c": len(selection.c),
        "z": len(selection.z),
        "y": (selection.y[1] - selection.y[0]) * spec.scale,
        "x": (selection.x[1] - selection.x[0]) * spec.scale,
    }
    axes = "".join(axis for axis in AXES if axis in image.axes)
    return Layout(
        axes=axes,
        shape=tuple(sizes[axis] for axis in axes),
        dtype=dtype,
        pixel_size_um=_output_pixel_size(image, spec.scale),
        translation_um=_output_translation(image, spec.scale, selection),
        channels=tuple(image.channels[c] for c in selection.c),
        name=image.name,
        block=(block, block),
    )


def _output_pixel_size(image: Image, scale: int) -> dict[str, float]:
    return {axis: size / (scale if axis in "yx" else 1) for axis, size in image.pixel_size_um.items()}


def _output_translation(image: Image, scale: int, selection: Selection) -> dict[str, float]:
    """Pixel centres move, edges do not: from scale s and translation t, factor f gives t - (s / 2) (1 - 1 / f)."""
    first: dict[str, int] = {"z": selection.z[0], "y": selection.y[0], "x": selection.x[0]}
    moved: dict[str, float] = {}
    for axis, size in image.pixel_size_um.items():
        factor = scale if axis in "yx" else 1
        start = image.translation_um.get(axis, 0.0) + first[axis] * size
        moved[axis] = start - size / 2 * (1 - 1 / factor)
    return moved


def whole(image: Image) -> Selection:
    """All of an image."""
    return Selection(
        tuple(range(image.size("t"))),
        tuple(range(image.size("c"))),
        tuple(range(image.size("z"))),
        (0, image.size("y")),
        (0, image.size("x")),
    )


def as_record(plan: Plan) -> dict[str, Any]:
    """The plan's parameters that decide the output's bytes, as plain JSON values."""
    grid, chosen = plan.grid, plan.selection
    return {
        "tile": list(grid.tile[1:]),
        "halo": list(grid.halo[1:]),
        "overlap": list(grid.overlap[1:]),
        "batch": plan.batch,
        "block": list(plan.layout.block),
        "dtype": plan.layout.dtype,
        "t": list(chosen.t),
        "c": list(chosen.c),
        "z": list(chosen.z),
        "y": list(chosen.y),
        "x": list(chosen.x),
        **({"samples": plan.samples, "mirrored": True} if plan.samples else {}),
    }
