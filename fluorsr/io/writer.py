"""What is written and who writes it: Layout, Block and the ImageWriter protocol.

One block has one writer, and one block is whole storage objects, so blocks may be written in any order, from any
number of threads and processes, without a lock:

    level 0   | block |              one shard of `block` pixels
    level 1   | /2 |                 one shard of block/2 pixels   }  written by the same call, from the same pixels,
    level 2   |/4|                   one shard of block/4 pixels   }  as long as the block divides
    tail      | block |              levels above: shards of `block` pixels, each built from the level before
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import AXES, Channel, PlaneIndex

WRITABLE = ("uint8", "uint16", "int16", "float32")
"""Pixel types that can be written."""


class Block(NamedTuple):
    """One storage object of one level: its plane and its first pixel, in pixels of that level."""

    plane: PlaneIndex
    y: int
    x: int


@dataclass(frozen=True)
class Layout:
    """Shape and meaning of an image that is to be written.

    axes             letters out of "tczyx" in that order; y and x must be there
    shape            one length per axis
    dtype            one of `WRITABLE`
    pixel_size_um    micrometres per pixel along z, y, x; an axis whose size is unknown is absent
    translation_um   position of the centre of pixel 0 along z, y, x; absent means 0
    channels         one per index along c (exactly one where there is no c axis); named by number where empty
    block            (y, x) pixels that one `write` takes: one shard of level 0

    Raises InputError where these do not fit together.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: str
    pixel_size_um: Mapping[str, float] = field(default_factory=dict)
    translation_um: Mapping[str, float] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    name: str = "image"
    block: tuple[int, int] = (2048, 2048)

    def __post_init__(self) -> None:
        if self.axes != "".join(a for a in AXES if a in self.axes) or not {"y", "x"} <= set(self.axes):
            raise InputError(f"axes {self.axes!r} must be letters of {AXES!r} in that order, with y and x")
        if len(self.shape) != len(self.axes) or min(self.shape) < 1:
            raise InputError(f"shape {self.shape} must give each of the axes {self.axes!r} a length of at least 1")
        if self.dtype not in WRITABLE:
            raise InputError(f"dtype {self.dtype!r} cannot be written; use one of {', '.join(WRITABLE)}")
        if len(self.block) != 2 or min(self.block) < 1:
            raise InputError(f"block {self.block} must be two positive numbers of pixels (y, x)")
        if not self.channels:
            object.__setattr__(self, "channels", tuple(Channel(f"channel {i}") for i in range(self.size("c"))))
        if len(self.channels) != self.size("c"):
            raise InputError(f"{len(self.channels)} channels are described, but the c axis has {self.size('c')}")

    def size(self, axis: str) -> int:
        """Length along `axis`; 1 where there is no such axis."""
        return int(self.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def itemsize(self) -> int:
        return int(np.dtype(self.dtype).itemsize)

    def leading(self, plane: PlaneIndex) -> tuple[int, ...]:
        """The plane's indices along the axes before y and x. Raises InputError outside the image."""
        given = plane._asdict()
        for axis, index in given.items():
            if not 0 <= index < self.size(axis):
                raise InputError(f"{plane} is outside the image: {axis} must be 0 to {self.size(axis) - 1}")
        return tuple(given[axis] for axis in self.axes if axis not in "yx")

    def check_block(self, y: int, x: int, pixels: NDArray[Any]) -> None:
        """Raise InputError unless `pixels` [y, x] is exactly the block that starts at pixel (y, x)."""
        (by, bx), (height, width) = self.block, (self.size("y"), self.size("x"))
        if y % by or x % bx or not (0 <= y < height and 0 <= x < width):
            raise InputError(f"a block starts at multiples of {self.block} inside {height} x {width}, not at {(y, x)}")
        whole = (min(by, height - y), min(bx, width - x))
        if pixels.shape != whole:
            raise InputError(f"the block at {(y, x)} must be whole: shape {whole}, not {pixels.shape}")
        if pixels.dtype != np.dtype(self.dtype):
            raise InputError(f"the pixels must be {self.dtype}, not {pixels.dtype}")


class ImageWriter(Protocol):
    """Writes one image block by block; picklable, and safe from several threads on different blocks."""

    path: Path
    layout: Layout

    def write(self, plane: PlaneIndex, y: int, x: int, pixels: NDArray[Any]) -> None:
        """Write the whole block that starts at pixel (y, x), clipped at the image's edge: [y, x] of the layout's dtype.

        Durable (fsynced) on return, and idempotent. Raises StorageError where the disk refuses, InputError where
        the pixels are not exactly that block.
        """
        ...

    def read(self, plane: PlaneIndex, y: int, x: int, height: int, width: int) -> NDArray[Any]:
        """Read [height, width] pixels of level 0 back, for verification. Raises FormatError on corrupt data."""
        ...

    @property
    def tail(self) -> Sequence[int]:
        """Levels to build after level 0 is complete, in this order, each from the level before."""
        ...

    def tail_blocks(self, level: int) -> Sequence[Block]:
        """Every block of one level of the tail; they may be built in any order."""
        ...

    def build_tail(self, level: int, block: Block) -> NDArray[Any]:
        """Build one block of the tail from the level before; durable on return, deterministic and idempotent.

        Returns the pixels written.
        """
        ...

    def finish(self) -> None:
        """Write what needs the whole image (contrast windows, the file's final name); durable on return."""
        ...
