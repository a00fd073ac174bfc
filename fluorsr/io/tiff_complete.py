"""Tell a truncated TIFF from a shorter one.

TIFF readers stop at the first page directory they cannot reach and drop tags whose values they cannot reach, so a file
whose copy broke off looks like a stack with fewer pages, or one that lost its axes and pixel size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fluorsr.errors import FormatError

NEEDED_TAGS = frozenset((270, 273, 279, 324, 325, 50838, 50839))
"""Tags that must be readable: description, where the pixels are (strips, tiles), ImageJ's metadata."""

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _Layout:
    """Sizes of the classic (32-bit) and big (64-bit) variants: count of entries, one entry, a pointer."""

    order: str
    count: str
    entry: str
    pointer: str
    first: int


def check_complete(path: Path) -> None:
    """Walk the chain of page directories. Raises FormatError where it, or a needed tag, lies past the file's end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        layout = _layout(head)
        pointer = struct.calcsize(layout.pointer)
        if len(head) < layout.first + pointer:
            raise truncated(path, layout.first + pointer, size)
        (at,) = struct.unpack_from(layout.pointer, head, layout.first)
        seen: set[int] = set()
        while at and at not in seen:
            seen.add(at)
            at = _next_directory(file, path, size, layout, at)


def truncated(path: Path, needed: int, size: int) -> FormatError:
    """The error for a file of `size` bytes whose pages reach to byte `needed`."""
    return FormatError(f"{path} is truncated: its pages reach to byte {needed}, but it has {size}; copy it again")


def _layout(head: bytes) -> _Layout:
    order = "<" if head[:2] == b"II" else ">"
    if head[2:4] in (b"+\0", b"\0+"):
        return _Layout(order, f"{order}Q", f"{order}HHQQ", f"{order}Q", 8)
    return _Layout(order, f"{order}H", f"{order}HHII", f"{order}I", 4)


def _next_directory(file: BinaryIO, path: Path, size: int, layout: _Layout, at: int) -> int:
    """Check the directory at a byte offset and return where the next one is; 0 ends the chain."""
    count_size, pointer_size = struct.calcsize(layout.count), struct.calcsize(layout.pointer)
    file.seek(at)
    counted = file.read(count_size)
    if len(counted) < count_size:
        raise truncated(path, at + count_size, size)
    length = struct.unpack(layout.count, counted)[0] * struct.calcsize(layout.entry)
    end = at + count_size + length + pointer_size
    if end > size:
        raise truncated(path, end, size)
    body = file.read(length + pointer_size)
    for tag, kind, count, value in struct.iter_unpack(layout.entry, body[:length]):
        needed = _TYPE_SIZES.get(kind, 0) * count
        if tag in NEEDED_TAGS and needed > pointer_size and value + needed > size:
            raise truncated(path, value + needed, size)
    return int(struct.unpack(layout.pointer, body[length:])[0])
