"""Tile geometry: which tiles there are, where they start, and what a block of the image needs.

One global grid, anchored at pixel 0 of the image. Along an axis: tile T, halo h (thrown away), overlap o (cross-faded),
stride S = T - 2h - o; tile k owns the output of the input pixels [kS, (k+1)S).

    input axis      |<-- h -->|<- o/2 ->|<------- S - o ------->|<- o/2 ->|<-- h -->|
    tile k          |  thrown |  fades  |      its own alone     |  fades  | thrown  |
    starts at         kS - o/2 - h

All triples are (z, y, x) in INPUT pixels of the whole image; a 2-D image has z = 1. The geometry itself is implemented
once, in csrc/core/grid.hpp; this is its typed face.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fluorsr import _core
from fluorsr.errors import InputError

Triple = tuple[int, int, int]

ONES: Triple = (1, 1, 1)
ZEROS: Triple = (0, 0, 0)
_MOST = 2**62


def triple(name: str, values: object) -> Triple:
    """`values` as three Python integers (z, y, x). Raises InputError where they are not."""
    try:
        z, y, x = (operator.index(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError(f"{name} is {values!r}; it must be three integers (z, y, x)") from None
    if max(abs(z), abs(y), abs(x)) > _MOST:
        raise InputError(f"{name} is {values!r}; no image is that large")
    return z, y, x


@dataclass(frozen=True)
class Box:
    """A half-open box of pixels: start <= (z, y, x) < stop."""

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", triple("start", self.start))
        object.__setattr__(self, "stop", triple("stop", self.stop))

    @property
    def shape(self) -> Triple:
        (z0, y0, x0), (z1, y1, x1) = self.start, self.stop
        return z1 - z0, y1 - y0, x1 - x0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array [z, y, x]."""
        (z0, y0, x0), (z1, y1, x1) = self.start, self.stop
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)


@dataclass(frozen=True, eq=False)
class TileBlock:
    """The tiles that the output of one block needs.

    first, counts   index of the first tile and number of tiles along z, y, x
    starts          int64 [n, 3]: input-pixel origin (z, y, x) of each tile in the whole image, C order, may be negative
    source          the part of the image that must be read: what the tiles show, reflection included
    """

    first: Triple
    counts: Triple
    starts: NDArray[np.int64]
    source: Box


@dataclass(frozen=True)
class Grid:
    """The grid of tiles over an image of `shape` pixels.

    tile       pixels that the model is given; a multiple of `multiple`
    halo       pixels on each side that are thrown away: the model's receptive-field radius
    overlap    pixels over which neighbours cross-fade: even, at most the stride
    multiple   divides every tile's origin and size
    scale      output pixels per input pixel

    Raises InputError with the remedy where these do not fit together.
    """

    shape: Triple
    tile: Triple
    halo: Triple = ZEROS
    overlap: Triple = ZEROS
    multiple: Triple = ONES
    scale: Triple = ONES
    native: _core.Grid = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("shape", "tile", "halo", "overlap", "multiple", "scale"):
            object.__setattr__(self, name, triple(name, getattr(self, name)))
        try:
            native = _core.Grid(self.shape, self.tile, self.halo, self.overlap, self.multiple, self.scale)
        except ValueError as error:
            raise InputError(str(error)) from None
        object.__setattr__(self, "native", native)

    def __reduce__(self) -> tuple[type[Grid], tuple[Triple, ...]]:
        return Grid, (self.shape, self.tile, self.halo, self.overlap, self.multiple, self.scale)

    @property
    def stride(self) -> Triple:
        """tile - 2 * halo - overlap."""
        return self.native.stride

    @property
    def count(self) -> Triple:
        """Number of tiles over the whole image."""
        return self.native.count

    def tiles(self, block: Box) -> TileBlock:
        """The tiles k with kS - o/2 < stop and (k+1)S + o/2 > start: those that show the output of `block`.

        Raises InputError where `block` is empty or leaves the image.
        """
        try:
            first, counts, starts, source_start, source_stop = self.native.tiles(block.start, block.stop)
        except ValueError as error:
            raise InputError(str(error)) from None
        return TileBlock(first, counts, starts, Box(source_start, source_stop))
