"""Write an OME-Zarr image block by block (see fluorsr.io.writer for who writes what)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, FormatError, InputError
from fluorsr.image import PlaneIndex
from fluorsr.io.disk import hidden, put_in_place, remove, storage_error, sync_folder, write_json
from fluorsr.io.ngff_write import check_version, window, write_group
from fluorsr.io.nodes import read_node
from fluorsr.io.pyramid import halve
from fluorsr.io.writer import Block, Layout
from fluorsr.io.zarr_store import Level, check_array, context, fused_levels, open_array, plan_levels

SAMPLE_PLANES = 64
"""At most so many planes of a channel's smallest level decide its contrast window."""


STRIP = 1024
"""Rows read at a time to build a block of the tail: even, and whole chunks."""


def create_ome_zarr(
    path: Path, layout: Layout, *, ngff: str, provenance: dict[str, Any], overwrite: bool
) -> OmeZarrWriter:
    """Create an empty image at `path`; it appears there complete in its metadata, or not at all."""
    check_version(ngff)
    levels = plan_levels(layout)
    skeleton = hidden(path, "partial")
    try:
        skeleton.mkdir()
        write_group(skeleton, layout, len(levels), ngff, provenance)
        for level in levels:
            open_array(skeleton, layout, level, ngff, context(), create=True)
        sync_folder(skeleton)
        put_in_place(skeleton, path, overwrite=overwrite)
    except (OSError, ValueError) as error:
        if skeleton.exists():
            remove(skeleton)
        if isinstance(error, FluorsrError):
            raise
        raise storage_error(path, "creating the output", error) from error
    return OmeZarrWriter(path, layout, ngff)


def reopen_ome_zarr(path: Path, layout: Layout) -> OmeZarrWriter:
    """Continue writing an image; an array whose metadata document is missing or unreadable gets it anew.

    Raises FormatError where its arrays are not what `layout` asks for.
    """
    node = read_node(path)
    if node.kind != "group":
        raise FormatError(f"{path} is a zarr array, not an OME-Zarr image that fluorsr wrote; use --overwrite")
    ngff = "0.4" if node.zarr_format == 2 else "0.5"
    for level in plan_levels(layout):
        document = path / str(level.number) / ("zarr.json" if ngff == "0.5" else ".zarray")
        if not _is_json(document):
            document.unlink(missing_ok=True)
            try:
                open_array(path, layout, level, ngff, context(), create=True)
            except ValueError as error:
                raise storage_error(document, "writing metadata anew", error) from error
        check_array(path, layout, level, ngff)
    return OmeZarrWriter(path, layout, ngff)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


class OmeZarrWriter:
    """An ImageWriter for OME-Zarr. Arrays are opened when first needed, in whichever process that is."""

    def __init__(self, path: Path, layout: Layout, ngff: str) -> None:
        self.path = path
        self.layout = layout
        self.ngff = ngff
        self.levels = plan_levels(layout)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._arrays: dict[int, Any] = {}
        self._synced: set[Path] = set()
        self._context: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "layout": self.layout, "ngff": self.ngff, "levels": self.levels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def write(self, plane: PlaneIndex, y: int, x: int, pixels: NDArray[Any]) -> None:
        """See ImageWriter.write. Levels 1 and 2 of the block are written by the same call."""
        self.layout.check_block(y, x, pixels)
        lead = self.layout.leading(plane)
        parts = [(self.levels[0], y, x, pixels)]
        for level in self.levels[1 : 1 + fused_levels(self.layout.block)]:
            pixels = halve(pixels)
            parts.append((level, y >> level.number, x >> level.number, pixels))
        self._write(lead, parts)

    def read(self, plane: PlaneIndex, y: int, x: int, height: int, width: int) -> NDArray[Any]:
        """See ImageWriter.read."""
        lead = self.layout.leading(plane)
        return self._read(self.levels[0], lead, (slice(y, y + height), slice(x, x + width)))

    @property
    def tail(self) -> list[int]:
        return [level.number for level in self.levels if level.number > fused_levels(self.layout.block)]

    def tail_blocks(self, level: int) -> list[Block]:
        """Every block of one level of the tail. Raises InputError where the level is not of the tail."""
        if level not in self.tail:
            raise InputError(f"level {level} is not of the tail; the tail's levels are {self.tail}")
        (height, width), (by, bx) = self.levels[level].size, self.levels[level].shard
        return [
            Block(plane, y, x) for plane in self._planes() for y in range(0, height, by) for x in range(0, width, bx)
        ]

    def build_tail(self, level: int, block: Block) -> NDArray[Any]:
        """See ImageWriter.build_tail."""
        if level not in self.tail:
            raise InputError(f"level {level} is not of the tail; the tail's levels are {self.tail}")
        here, before = self.levels[level], self.levels[level - 1]
        lead = self.layout.leading(block.plane)
        rows, columns = (
            slice(2 * start, min(2 * (start + side), size))
            for start, side, size in zip((block.y, block.x), here.shard, before.size, strict=True)
        )
        strips = (slice(y, min(y + STRIP, rows.stop)) for y in range(rows.start, rows.stop, STRIP))
        pixels = np.concatenate([halve(self._read(before, lead, (strip, columns))) for strip in strips])
        self._write(lead, [(here, block.y, block.x, pixels)])
        return pixels

    def finish(self) -> None:
        """Recompute the contrast windows from the smallest level; all else is durable already."""
        smallest = self.levels[-1]
        whole = (slice(0, smallest.size[0]), slice(0, smallest.size[1]))
        windows = []
        for c in range(self.layout.size("c")):
            planes = [plane for plane in self._planes() if plane.c == c]
            chosen = np.unique(np.linspace(0, len(planes) - 1, min(len(planes), SAMPLE_PLANES)).round().astype(int))
            sample = [self._read(smallest, self.layout.leading(planes[i]), whole) for i in chosen]
            windows.append(window(sample, self.layout))
        document = read_node(self.path).document
        ome = document if self.ngff == "0.4" else document["attributes"]["ome"]
        for channel, shown in zip(ome["omero"]["channels"], windows, strict=True):
            channel["window"] = shown
        write_json(self.path / (".zattrs" if self.ngff == "0.4" else "zarr.json"), document)

    def _planes(self) -> Iterator[PlaneIndex]:
        size = self.layout.size
        return (PlaneIndex(t, c, z) for t in range(size("t")) for c in range(size("c")) for z in range(size("z")))

    def _array(self, level: Level) -> Any:
        with self._lock:
            if self._context is None:
                self._context = context()
            if level.number not in self._arrays:
                try:
                    array = open_array(self.path, self.layout, level, self.ngff, self._context)
                except ValueError as error:
                    raise storage_error(self.path / str(level.number), "opening the output", error) from error
                self._arrays[level.number] = array
            return self._arrays[level.number]

    def _read(self, level: Level, lead: tuple[int, ...], region: tuple[slice, ...]) -> NDArray[Any]:
        try:
            pixels: NDArray[Any] = self._array(level)[(*lead, *region)].read().result()
        except ValueError as error:
            raise FormatError(f"{self.path / str(level.number)} cannot be read back: {error}") from error
        return np.ascontiguousarray(pixels, dtype=self.layout.dtype)

    def _write(self, lead: tuple[int, ...], parts: list[tuple[Level, int, int, NDArray[Any]]]) -> None:
        """Write whole storage objects of several levels side by side, and wait until all of them are durable."""
        regions = []
        for level, y, x, pixels in parts:
            region = (*lead, slice(y, y + pixels.shape[0]), slice(x, x + pixels.shape[1]))
            regions.append((level, self._array(level)[region], pixels, (*lead, y, x)))
        running = [view.write(pixels) for _, view, pixels, _ in regions]
        failures = []
        for (level, view, pixels, start), future in zip(regions, running, strict=True):
            try:
                self._commit(future, level, view, pixels, start)
            except ValueError as error:
                failures.append(storage_error(self.path / str(level.number), f"writing the block at {start}", error))
        if failures:
            raise failures[0]

    def _commit(self, future: Any, level: Level, view: Any, pixels: NDArray[Any], start: tuple[int, ...]) -> None:
        files = self._objects(level, start, pixels.shape)
        try:
            future.result()
        except ValueError as error:
            # At the image's edge tensorstore reads the old object first; a corrupt one must not stop its replacement.
            if "os_error_code" in str(error):
                raise
            for file in files:
                file.unlink(missing_ok=True)
            view.write(pixels).result()
        for folder in {file.parent for file in files}:
            self._sync_name(folder)

    def _objects(self, level: Level, start: tuple[int, ...], shape: tuple[int, ...]) -> list[Path]:
        """The files that hold a block: its one shard, or its chunks in 0.4."""
        sides = level.chunk if self.ngff == "0.4" else level.shard
        *lead, y, x = start
        above = self.path.joinpath(str(level.number), *(() if self.ngff == "0.4" else ("c",)), *map(str, lead))
        rows, columns = (
            range(at // side, -(-(at + length) // side)) for at, length, side in zip((y, x), shape, sides, strict=True)
        )
        return [above / str(row) / str(column) for row in rows for column in columns]

    def _sync_name(self, folder: Path) -> None:
        """Make the name of a folder, and of those above it, durable: tensorstore syncs only what is in the folder."""
        while folder != self.path and folder not in self._synced:
            if folder.exists():
                sync_folder(folder.parent)
                self._synced.add(folder)
            folder = folder.parent
