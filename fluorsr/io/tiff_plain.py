"""Uncompressed TIFF planes, read straight from the file: only the rows, or parts of rows, that are asked for.

A TIFF writer may call a whole 32768 x 32768 plane one strip, and a strip is the least that the general reader can
read. Positioned reads rather than a memory map: a map's pages count as resident memory, and a failing disk would kill
the process instead of raising an error.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import FormatError


class PlainArray:
    """A LazyArray [..., y, x] over planes that lie uncompressed in a file; picklable and safe for threads.

    offsets   int64, one per plane: where its first row begins; rows follow each other without gaps
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offsets: NDArray[np.int64]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.offsets = offsets.reshape(shape[:-2])

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        """Read a region; steps must be 1. Raises FormatError where the file ends too early."""
        wanted = [*key, *[slice(None)] * (len(self.shape) - len(key))]
        spans = []
        for index, length in zip(wanted, self.shape, strict=True):
            start, stop, _ = index.indices(length) if isinstance(index, slice) else (index, index + 1, 1)
            if not 0 <= start <= length or stop > length:
                raise IndexError(f"index {index} is outside an axis of length {length}")
            spans.append(range(start, max(start, stop)))
        *lead, rows, columns = spans
        out = np.empty([len(s) for s in spans], dtype=self.dtype)
        planes = out.reshape(math.prod(len(s) for s in lead), len(rows), len(columns))
        file = self._open()
        try:
            for plane, place in zip(planes, itertools.product(*lead), strict=True):
                self._read_plane(file, int(self.offsets[place]), rows, columns, plane)
        finally:
            os.close(file)
        return out[tuple(slice(None) if isinstance(index, slice) else 0 for index in wanted)]

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise FormatError(f"{self.path} cannot be read: {error.strerror}") from error

    def _read_plane(self, file: int, offset: int, rows: range, columns: range, out: NDArray[Any]) -> None:
        size, width = self.dtype.itemsize, self.shape[-1]
        if 2 * len(columns) >= width:  # one large read is cheaper than many small ones
            whole = self._pread(file, offset + rows.start * width * size, len(rows) * width)
            out[:] = whole.reshape(len(rows), width)[:, columns.start : columns.stop]
            return
        for i, row in enumerate(rows):
            out[i] = self._pread(file, offset + (row * width + columns.start) * size, len(columns))

    def _pread(self, file: int, offset: int, count: int) -> NDArray[Any]:
        wanted = count * self.dtype.itemsize
        parts = bytearray()
        try:
            while len(parts) < wanted and (part := os.pread(file, wanted - len(parts), offset + len(parts))):
                parts += part  # one call returns at most 2 GiB
        except OSError as error:
            raise FormatError(f"bytes {offset} to {offset + wanted} of {self.path} cannot be read: {error}") from error
        if len(parts) < wanted:
            raise FormatError(f"{self.path} is truncated: it ends before byte {offset + wanted}; copy it again")
        return np.frombuffer(parts, dtype=self.dtype)
