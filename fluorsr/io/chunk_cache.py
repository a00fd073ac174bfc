"""Large chunks decoded once: blocks next to each other read the same chunk, which is kept for a while.

one chunk of 4096 x 4096   +----+----+----+----+
                           | block of 1024 ... |    without: decoded whole for each of its 16 blocks
                           +----+----+----+----+    with: once, as long as the blocks come in its order
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.image import Image
from fluorsr.io.chunked import ChunkedArray

LARGE_PX = 1024
"""Chunks longer than this along y or x are worth keeping; smaller ones lie within one or two blocks."""

LIMIT_BYTES = 512 * 2**20
"""Of decoded chunks kept at a time; never less than one chunk."""


class ChunkCache:
    """A LazyArray over a ChunkedArray that keeps the chunks it decoded last; safe to read from several threads.

    Picklable: a copy starts empty.
    """

    def __init__(self, array: ChunkedArray, limit_bytes: int = LIMIT_BYTES) -> None:
        self.array = array
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks
        self.limit_bytes = limit_bytes
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], Future[NDArray[Any]]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        """Read a region; steps must be 1. Raises what the array raises."""
        spans = [
            index.indices(length)[:2] if isinstance(index, slice) else (index, index + 1)
            for index, length in zip(key, self.shape, strict=True)
        ]
        out = np.empty([stop - start for start, stop in spans], self.dtype)
        ranges = [range(a // c, -(-b // c)) for (a, b), c in zip(spans, self.chunks, strict=True)]
        for at in itertools.product(*ranges):
            chunk = self._chunk(at)
            corner = [i * c for i, c in zip(at, self.chunks, strict=True)]
            part = [
                (max(a, first), min(b, first + length))
                for (a, b), first, length in zip(spans, corner, chunk.shape, strict=True)
            ]
            target = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(part, spans, strict=True))
            source = tuple(slice(a - first, b - first) for (a, b), first in zip(part, corner, strict=True))
            out[target] = chunk[source]
        return out[tuple(0 if not isinstance(index, slice) else slice(None) for index in key)]

    def _chunk(self, at: tuple[int, ...]) -> NDArray[Any]:
        """One decoded chunk; of several threads that want it one decodes it and the others wait."""
        with self._lock:
            kept = self._kept.get(at)
            if kept is None:
                mine = self._kept[at] = Future()
            else:
                self._kept.move_to_end(at)
        if kept is not None:
            return kept.result()
        try:
            spans = zip(at, self.chunks, self.shape, strict=True)
            chunk = self.array[tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in spans)]
        except BaseException as error:
            with self._lock:
                self._kept.pop(at, None)
            mine.set_exception(error)
            raise
        mine.set_result(chunk)
        self._forget()
        return chunk

    def _forget(self) -> None:
        """Drop the chunks used longest ago until the rest fits."""
        with self._lock:
            ready = {
                at: future.result().nbytes
                for at, future in self._kept.items()
                if future.done() and not future.exception()
            }
            total = sum(ready.values())
            for at, size in list(ready.items())[:-1]:
                if total <= self.limit_bytes:
                    break
                del self._kept[at]
                total -= size


def with_chunk_cache(image: Image) -> Image:
    """The image with a ChunkCache where its chunks are large, else the image itself."""
    data = image.data
    if not isinstance(data, ChunkedArray):
        return image
    large = any(data.chunks[image.axes.index(a)] > LARGE_PX and image.size(a) > LARGE_PX for a in "yx")
    return replace(image, data=ChunkCache(data)) if large else image


def chunk_sides(image: Image) -> tuple[int, int] | None:
    """(y, x) sides of the chunks of an image that has a ChunkCache, else None."""
    data = image.data
    if not isinstance(data, ChunkCache):
        return None
    return data.chunks[image.axes.index("y")], data.chunks[image.axes.index("x")]
