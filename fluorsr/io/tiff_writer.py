"""Write a small image as one OME-TIFF.

The file is laid out whole under a hidden name, each block is written into its rows, and `finish` gives the file its
name. So memory stays flat and any process may write; but it has no levels, no record and no resuming.

The hidden file is locked (flock) as long as its maker lives. What a killed run left is known by its free lock, and the
next run with the same output removes it.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import PlaneIndex
from fluorsr.io.disk import hidden, put_in_place, storage_error
from fluorsr.io.tiff_plain import PlainArray
from fluorsr.io.writer import Block, Layout

LARGEST_BYTES = 4 * 2**30
"""More pixels than this are refused: the format has no levels and much software reads a TIFF whole."""


def create_tiff(path: Path, layout: Layout, *, provenance: dict[str, Any], overwrite: bool) -> TiffWriter:
    """Lay out an empty OME-TIFF beside `path`.

    Raises InputError where the pixels take more than 4 GiB, StorageError where the disk refuses or is too small.
    """
    shape = layout.shape
    size = int(np.prod(shape, dtype=object)) * layout.itemsize
    if size > LARGEST_BYTES:
        raise InputError(
            f"{path}: {size / 2**30:.1f} GiB of pixels are too many for a TIFF (at most "
            f"{LARGEST_BYTES / 2**30:.0f} GiB); write OME-Zarr instead: {path.with_suffix('.ome.zarr').name}"
        )
    _sweep(path)
    partial = hidden(path, "partial")
    lock = None
    try:
        lock = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tifffile.imwrite(
            partial,
            shape=shape,
            dtype=layout.dtype,
            ome=True,
            bigtiff=size > 2**32 - 2**25,
            photometric="minisblack",
            software="fluorsr",
            metadata=_ome_metadata(layout, provenance),
        )
        with tifffile.TiffFile(partial) as tif:
            offset = int(tif.series[0].dataoffset)
        with partial.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is told before the work starts
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
            os.fsync(file.fileno())
    except OSError as error:
        if lock is not None:
            partial.unlink(missing_ok=True)
            os.close(lock)
        raise storage_error(path, "creating the output", error) from error
    return TiffWriter(path, partial, layout, offset, lock, overwrite=overwrite)


def _sweep(path: Path) -> None:
    """Remove the hidden files of runs that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
        if not left.is_file():
            continue
        with suppress(OSError), left.open("rb") as file:  # its maker lives, or it was removed meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


class TiffWriter:
    """An ImageWriter for one OME-TIFF."""

    def __init__(
        self, path: Path, partial: Path, layout: Layout, offset: int, lock: int | None, *, overwrite: bool
    ) -> None:
        self._lock = lock
        self.path = path
        self.layout = layout
        self._partial = partial
        self._overwrite = overwrite
        plane = layout.size("y") * layout.size("x") * layout.itemsize
        planes = np.prod(layout.shape[:-2], dtype=np.int64)
        offsets = offset + plane * np.arange(planes, dtype=np.int64)
        self._array = PlainArray(partial, layout.shape, np.dtype(layout.dtype), offsets)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lock": None}  # the maker's own

    def write(self, plane: PlaneIndex, y: int, x: int, pixels: NDArray[Any]) -> None:
        """See ImageWriter.write."""
        self.layout.check_block(y, x, pixels)
        size, width = self.layout.itemsize, self.layout.size("x")
        start = int(self._array.offsets[self.layout.leading(plane)]) + (y * width + x) * size
        rows = np.ascontiguousarray(pixels)
        try:
            file = os.open(self._partial, os.O_WRONLY)
            try:
                for i, row in enumerate(rows):
                    _pwrite(file, row.tobytes(), start + i * width * size)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise storage_error(self.path, f"writing the block at {(y, x)}", error) from error

    def read(self, plane: PlaneIndex, y: int, x: int, height: int, width: int) -> NDArray[Any]:
        """See ImageWriter.read."""
        return self._array[(*self.layout.leading(plane), slice(y, y + height), slice(x, x + width))]

    @property
    def tail(self) -> list[int]:
        return []

    def tail_blocks(self, level: int) -> list[Block]:
        """A TIFF has no tail. Raises InputError."""
        raise InputError(f"a TIFF has only level 0; there is no level {level} to build")

    def build_tail(self, level: int, block: Block) -> NDArray[Any]:
        """A TIFF has no tail. Raises InputError."""
        raise InputError(f"a TIFF has only level 0; there is no level {level} to build")

    def finish(self) -> None:
        """Give the file its name, replacing what stands there only if that was asked for."""
        try:
            put_in_place(self._partial, self.path, overwrite=self._overwrite)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the file unless it has its name already."""
        self._partial.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _pwrite(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _ome_metadata(layout: Layout, provenance: dict[str, Any]) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for axis, size in layout.pixel_size_um.items():
        sizes[f"PhysicalSize{axis.upper()}"] = size
        sizes[f"PhysicalSize{axis.upper()}Unit"] = "µm"
    colors = [_signed_rgba(channel.color) for channel in layout.channels]
    return {
        "axes": layout.axes.upper(),
        "Name": layout.name,
        "Channel": {"Name": [channel.name for channel in layout.channels], "Color": colors},
        "MapAnnotation": {"fluorsr": json.dumps(provenance)},
        **sizes,
    }


def _signed_rgba(color: str) -> int:
    value = int(color, 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value
