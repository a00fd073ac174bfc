"""Durable changes on disk, and the disk's refusals in words.

Whatever appears under its final name is complete: files and folders are made under a hidden name beside it, synced,
and renamed. A crash leaves at most a hidden `.NAME.*.partial` (half-made) or `.NAME.*.replaced` (the old one).
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from fluorsr.errors import FormatError, OutputExistsError, StorageError
from fluorsr.io.nodes import read_node

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files, little and big endian."""

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free space or choose another disk, then run again with --resume",
    errno.EDQUOT: "your disk quota is used up; free space or choose another disk, then run again with --resume",
    errno.EFBIG: "the file would exceed a size limit (ulimit -f or the file system's); raise it or use another disk",
    errno.EACCES: "permission denied; make the folder writable for you or choose another output",
    errno.EPERM: "operation not permitted; make the folder writable for you or choose another output",
    errno.EROFS: "the file system is read-only; choose another output",
    errno.ENOENT: "a folder on this path does not exist (removed meanwhile?); create it or choose another output",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another output",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.EMFILE: "too many open files; raise ulimit -n",
}


def storage_error(path: Path, action: str, error: BaseException) -> StorageError:
    """A StorageError that names the path, the rule and the remedy, from an OSError or one of tensorstore's texts."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (found := re.search(r"os_error_code='(\d+)'", str(error))):
        code = int(found[1])
    if code is None:
        return StorageError(f"{path}: {action} failed: {error}")
    why = _REMEDIES.get(code, f"{os.strerror(code)}; check the disk, then run again with --resume")
    refusal = StorageError(f"{path}: {action} failed: {why}")
    refusal.errno = code
    return refusal


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hidden(path: Path, why: str) -> Path:
    """A fresh hidden name beside `path`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{why}")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically and durably. Raises StorageError where the disk refuses."""
    text = json.dumps(content, indent=1, allow_nan=False)
    temporary = hidden(path, "partial")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(path, "writing metadata", error) from error


def put_in_place(finished: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a finished file or folder to `path`.

    A file replaces a file in one step; else what stood there is moved aside first and deleted last, and put back if the
    rename fails. Raises
    OutputExistsError where something stands there and `overwrite` is not set, or where it is not an image that
    fluorsr recognises; StorageError where the disk refuses.
    """
    aside = hidden(path, "replaced")
    exists = os.path.lexists(path)
    if exists:
        check_replaceable(path, overwrite=overwrite)
    try:
        if exists and path.is_file() and finished.is_file():
            finished.replace(path)
            sync_folder(path.parent)
            return
        if exists:
            path.rename(aside)
        try:
            finished.rename(path)
        except OSError:
            if exists:
                aside.rename(path)
            raise
        sync_folder(path.parent)
        if exists:
            remove(aside)
    except OSError as error:
        raise storage_error(path, "renaming the finished output", error) from error


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError unless `path`, which exists, may be replaced: one image that fluorsr recognises."""
    if not overwrite:
        raise exists_error(path)
    if not _is_image(path):
        raise OutputExistsError(
            f"{path} exists and is not a single OME-Zarr image, zarr array or TIFF, so --overwrite does not delete it; "
            "remove it yourself or name another output"
        )


def exists_error(path: Path) -> OutputExistsError:
    """The error for an output that exists and was neither to be resumed nor overwritten."""
    return OutputExistsError(
        f"{path} exists: use --resume to continue an interrupted run, --overwrite to replace it, or name another output"
    )


def _is_image(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.is_file():
        with path.open("rb") as file:
            return file.read(4) in TIFF_MAGIC
    try:
        node = read_node(path)
    except FormatError:
        return False
    return node.kind == "array" or (node.kind == "group" and "multiscales" in node.ome)


def remove(path: Path) -> None:
    """Delete a file or a folder and all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
