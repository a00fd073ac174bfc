"""Open and create images of any format fluorsr knows, chosen by content (reading) or suffix (writing)."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.image import Image
from fluorsr.io.disk import TIFF_MAGIC, check_replaceable
from fluorsr.io.ome_zarr import open_ome_zarr
from fluorsr.io.remote import RemotePath, place
from fluorsr.io.tiff import open_tiff
from fluorsr.io.tiff_writer import create_tiff
from fluorsr.io.writer import ImageWriter, Layout
from fluorsr.io.zarr_writer import create_ome_zarr, reopen_ome_zarr

TIFF_SUFFIXES = (".tif", ".tiff")


def open_image(source: str | Path, *, level: int = 0) -> Image:
    """Open an image lazily: OME-Zarr 0.4 or 0.5, a bare zarr array, TIFF or OME-TIFF.

    source   a path, or the address of a zarr: s3://, gs://, http:// or https:// (fluorsr.io.remote)
    level    resolution level of a multiscale image; 0 is the finest

    Raises NotFoundError (path or level), FormatError (not an image, damaged), InputError (an image fluorsr cannot take:
    axes, dtype, empty) and StorageError (an address that does not answer). Nothing but metadata is read.
    """
    path = place(source)
    if isinstance(path, RemotePath):
        if path.name.lower().endswith(TIFF_SUFFIXES):
            raise InputError(f"{path}: only zarr is read from an address; download the TIFF first")
        return open_ome_zarr(path, level=level)
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFoundError(f"{path} does not exist; check the name") from error
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if path.is_dir():
        return open_ome_zarr(path, level=level)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if magic in TIFF_MAGIC:
        return open_tiff(path, level=level)
    if path.name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"):
        return open_ome_zarr(path.parent, level=level)
    raise FormatError(
        f"{path} is not an image that fluorsr reads (its first bytes are {magic!r}); "
        "it reads OME-Zarr, zarr arrays, TIFF and OME-TIFF: convert it to one of these"
    )


def create_image(
    path: str | Path, layout: Layout, *, ngff: str = "0.5", provenance: dict[str, Any], overwrite: bool = False
) -> ImageWriter:
    """Create an image to be written block by block: TIFF where the suffix is .tif or .tiff, else OME-Zarr.

    ngff         OME-Zarr version, "0.5" or "0.4"
    provenance   JSON values kept in the image's metadata (model, parameters, version)
    overwrite    replace what stands at `path`, if it is an image that fluorsr recognises

    Raises OutputExistsError, StorageError (the disk refuses), InputError (the layout cannot be written).
    """
    path = local(path)
    if os.path.lexists(path):
        check_replaceable(path, overwrite=overwrite)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return create_tiff(path, layout, provenance=provenance, overwrite=overwrite)
    return create_ome_zarr(path, layout, ngff=ngff, provenance=provenance, overwrite=overwrite)


def reopen_image(path: str | Path, layout: Layout) -> ImageWriter:
    """Continue writing an OME-Zarr image that `create_image` made.

    Raises NotFoundError where it does not exist, FormatError where it differs from `layout`, InputError for a TIFF.
    """
    path = local(path)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist, so there is nothing to resume; leave out --resume")
    if path.is_file():
        raise InputError(f"{path} is a file; only OME-Zarr output can be resumed: use --overwrite")
    return reopen_ome_zarr(path, layout)


def local(path: str | Path) -> Path:
    """The path of an output. Raises InputError where it is an address."""
    found = place(path)
    if isinstance(found, RemotePath):
        raise InputError(
            f"{found} is an address, and fluorsr writes only to disks, where an output can be renamed whole and two "
            "runs be kept apart; write to a local path, then copy it, as with `rclone copy` or `aws s3 sync`"
        )
    return found
