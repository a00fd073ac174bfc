"""A chunked array whose failures say which chunk, where.

Whatever a codec raises on damaged data (each codec its own class), the reader sees one FormatError:

    chunk (0, 3, 2) of /data/img.zarr/0, pixels [0:1, 1536:2048, 1024:1536], cannot be read: ...
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, FormatError

LARGEST_CHUNK_BYTES = 2 * 2**30
"""A chunk that would decode to more than this is refused: a small damaged or hostile file could fill the memory."""


class ChunkedArray(ABC):
    """A LazyArray over a zarr array that opens when first read, in whichever process that is.

    Picklable as long as its attributes are; safe to read from several threads at once.
    """

    def __init__(self, where: str) -> None:
        """`where` names the array in error messages."""
        self.where = where
        self._reset()
        array = self._array()
        self.shape = tuple(int(n) for n in array.shape)
        # zarr's strings have a dtype class of their own, which numpy's byte-order functions do not take.
        self.dtype = array.dtype if array.dtype.kind in "biufcOSUVmM" else np.dtype(object)
        self.chunks = tuple(int(n) for n in array.chunks)
        self._check_chunk()

    @abstractmethod
    def _open(self) -> Any:
        """Open the zarr array. Raises FormatError where it is not readable."""

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_opened")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _array(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        """Read a region; steps must be 1. Raises FormatError, naming the chunk, where the data are damaged."""
        array = self._array()
        try:
            return np.asarray(array[key])
        except (IndexError, FluorsrError):
            raise
        except Exception as error:
            raise self._blame(array, key, error) from error

    def _check_chunk(self) -> None:
        if min(self.chunks, default=1) < 1:
            raise FormatError(f"{self.where}: chunks of {self.chunks} pixels cannot be; the metadata are damaged")
        size = self.dtype.itemsize
        for side in self.chunks:
            size *= side
        if size > LARGEST_CHUNK_BYTES:
            raise FormatError(
                f"{self.where}: one chunk of {self.chunks} pixels takes {size / 2**30:.1f} GiB of memory, but at most "
                f"{LARGEST_CHUNK_BYTES / 2**30:.0f} GiB are allowed; rechunk the store to chunks of about 512 x 512"
            )

    def _blame(self, array: Any, key: tuple[slice | int, ...], error: Exception) -> FormatError:
        """Read the region's chunks one by one to find the one that fails."""
        spans = []
        for index, length in zip(key, self.shape, strict=False):
            start, stop, _ = index.indices(length) if isinstance(index, slice) else (index, index + 1, 1)
            spans.append((start, stop))
        spans += [(0, n) for n in self.shape[len(spans) :]]
        grids = [range(a // c, -(-b // c)) for (a, b), c in zip(spans, self.chunks, strict=True)]
        for chunk in itertools.product(*grids):
            box = [(i * c, min((i + 1) * c, n)) for i, c, n in zip(chunk, self.chunks, self.shape, strict=True)]
            try:
                array[tuple(slice(a, b) for a, b in box)]
            except Exception as cause:  # noqa: BLE001 (as above)
                pixels = ", ".join(f"{a}:{b}" for a, b in box)
                text = str(cause) or type(cause).__name__
                return FormatError(
                    f"chunk {chunk} of {self.where}, pixels [{pixels}], cannot be read: {text}; "
                    "the file is damaged or incomplete: copy it again or restore it from a backup"
                )
        pixels = ", ".join(f"{a}:{b}" for a, b in spans)
        return FormatError(f"pixels [{pixels}] of {self.where} cannot be read: {error or type(error).__name__}")
