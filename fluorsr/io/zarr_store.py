"""The arrays of an OME-Zarr as they are written: shards, chunks and codecs of each level, through tensorstore.

    OME-Zarr 0.5 (zarr 3)   shard of the level's block; inner chunks; bytes, blosc(zstd 1, byte shuffle), crc32c
    OME-Zarr 0.4 (zarr 2)   the same chunks without shards; blosc(zstd 1, byte shuffle); zarr 2 has no checksum

tensorstore rather than zarr-python writes, because it syncs to disk and renames each object into place. It keeps no
cache here, so memory stays flat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from fluorsr.errors import FormatError, InputError
from fluorsr.io.pyramid import level_sizes
from fluorsr.io.writer import Layout

FUSED = 2
"""Levels 1 to FUSED are written together with level 0, where the block divides."""

CHUNK = 512
"""Longest side of a chunk, where the shard has a divisor between SHORTEST and this."""

SHORTEST = 128
LARGEST_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Level:
    """One resolution level: all pairs are (y, x) in pixels of that level."""

    number: int
    size: tuple[int, int]
    shard: tuple[int, int]
    chunk: tuple[int, int]


def plan_levels(layout: Layout) -> list[Level]:
    """The levels of an image and how each is cut.

    Level l's shard is block / 2**l while that is whole and l <= FUSED, and the block itself above. A chunk's side is
    the shard's side up to 512 pixels, else its largest divisor in 128 to 512, else the shard's side.

    Raises InputError where that leaves a chunk of more than 64 MiB.
    """
    fused = fused_levels(layout.block)
    levels = []
    for number, size in enumerate(level_sizes(layout.size("y"), layout.size("x"))):
        factor = 2**number if number <= fused else 1
        by, bx = layout.block[0] // factor, layout.block[1] // factor
        chunk = (_chunk_side(by), _chunk_side(bx))
        if chunk[0] * chunk[1] * layout.itemsize > LARGEST_CHUNK_BYTES:
            raise InputError(
                f"block {layout.block} has no divisor from {SHORTEST} to {CHUNK} to cut level {number} into chunks by; "
                f"choose a multiple of {CHUNK}, such as 2048"
            )
        levels.append(Level(number, size, (by, bx), chunk))
    return levels


def fused_levels(block: tuple[int, int]) -> int:
    """How many levels above level 0 a block can be halved to without a remainder, at most FUSED."""
    fused = 0
    while fused < FUSED and all(side % 2 ** (fused + 1) == 0 for side in block):
        fused += 1
    return fused


def _chunk_side(shard: int) -> int:
    if shard <= CHUNK:
        return shard
    return max((d for d in range(SHORTEST, CHUNK + 1) if shard % d == 0), default=shard)


def context() -> Any:
    """tensorstore's resources for one writer: no cache, few threads, everything synced to disk."""
    threads = min(4, os.cpu_count() or 1)
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": 0},
            "data_copy_concurrency": {"limit": threads},
            "file_io_concurrency": {"limit": threads},
            "file_io_sync": True,
        }
    )


def array_spec(root: Path, layout: Layout, level: Level, ngff: str) -> dict[str, Any]:
    """tensorstore's description of one level's array at ROOT/<level number>."""
    ones = [1] * (len(layout.axes) - 2)
    shape = [*layout.shape[:-2], *level.size]
    dtype = np.dtype(layout.dtype)
    spec: dict[str, Any] = {
        "kvstore": {"driver": "file", "path": f"{root / str(level.number)}/"},
        "recheck_cached_data": False,
        "recheck_cached_metadata": "open",
    }
    if ngff == "0.4":
        metadata: dict[str, Any] = {
            "shape": shape,
            "chunks": [*ones, *level.chunk],
            "dtype": dtype.newbyteorder("<").str,
            "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1, "blocksize": 0},
            "filters": None,
            "fill_value": 0,
            "order": "C",
            "dimension_separator": "/",
        }
        return {"driver": "zarr", "metadata": metadata, **spec}
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0}
    checksum = {"name": "crc32c"}  # without it most flipped bits are read silently wrong
    sharding = {
        "chunk_shape": [*ones, *level.chunk],
        "codecs": [little, {"name": "blosc", "configuration": blosc}, checksum],
        "index_codecs": [little, checksum],
        "index_location": "end",
    }
    metadata = {
        "shape": shape,
        "data_type": layout.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*ones, *level.shard]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": 0,
        "dimension_names": list(layout.axes),
    }
    return {"driver": "zarr3", "metadata": metadata, **spec}


def open_array(root: Path, layout: Layout, level: Level, ngff: str, resources: Any, *, create: bool = False) -> Any:
    """Open or create one level's array. Raises ValueError with tensorstore's text, also where an array differs."""
    spec = array_spec(root, layout, level, ngff)
    return ts.open(spec, context=resources, create=create, open=not create).result()


def check_array(root: Path, layout: Layout, level: Level, ngff: str) -> None:
    """Raise FormatError, naming the first difference, unless the array on disk has this layout's metadata."""
    spec = array_spec(root, layout, level, ngff)
    where = root / str(level.number)
    try:
        found = ts.open({**spec, "metadata": {}}, open=True).result().spec().to_json()["metadata"]
    except ValueError as error:
        raise FormatError(f"{where} cannot be reopened: {error}") from error
    wanted = ts.Spec(spec).to_json()["metadata"]
    for what in ("shape", "data_type", "dtype", "chunk_grid", "chunks", "codecs", "compressor"):
        if found.get(what) != wanted.get(what):
            raise FormatError(
                f"{where} does not fit this run: its {what} is {found.get(what)}, the run would write "
                f"{wanted.get(what)}; use the settings of the first run, or --overwrite"
            )
