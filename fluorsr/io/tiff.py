"""Open TIFF and OME-TIFF lazily: tiled or in strips, multi-page, ImageJ hyperstacks, BigTIFF, any codec of tifffile.

The file's first series is the image. Axes are named by OME-XML, ImageJ or tifffile's metadata; pages that nothing
names are z, or q where z is there; two axes that nothing names are t and q.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, FormatError, InputError, NotFoundError, import_extra
from fluorsr.image import Image, LazyArray
from fluorsr.io.chunked import ChunkedArray
from fluorsr.io.tiff_complete import check_complete, truncated
from fluorsr.io.tiff_metadata import read_channels, read_pixel_size
from fluorsr.io.tiff_plain import PlainArray

BUILT_IN = (1, 8, 32773, 32946, 34925)
"""Compressions that need no further package: none, Deflate (two numbers), PackBits, LZMA."""


class TiffArray(ChunkedArray):
    """One level of a TIFF's first series, read strip by strip or tile by tile."""

    def __init__(self, path: Path, level: int) -> None:
        self.path = path
        self.level = level
        super().__init__(str(path))

    def _open(self) -> Any:
        tif = tifffile.TiffFile(self.path)
        weakref.finalize(self, tif.close)
        return zarr.open_array(tif.series[0].aszarr(level=self.level), mode="r", zarr_format=2)


def open_tiff(path: Path, *, level: int = 0) -> Image:
    """Open a TIFF's first series.

    Raises FormatError (not a TIFF, truncated), NotFoundError (no such level), InputError (colour samples, axes that
    fluorsr does not know) and MissingDependencyError (a compression that needs imagecodecs).
    """
    try:
        check_complete(path)
        with tifffile.TiffFile(path) as tif:
            return _open_series(tif, path, level)
    except FluorsrError:
        raise
    except Exception as error:
        raise FormatError(f"{path} cannot be read as a TIFF: {error}; copy it again or export it anew") from error


def _open_series(tif: tifffile.TiffFile, path: Path, level: int) -> Image:
    if not tif.series:
        raise FormatError(f"{path} is a TIFF without any image; export it anew")
    levels = tif.series[0].levels
    if not 0 <= level < len(levels):
        raise NotFoundError(f"{path} has no level {level}; it has levels 0 to {len(levels) - 1}")
    series = levels[level]
    axes = _axes(path, series.axes)
    if series.dtype is None:
        raise FormatError(f"{path}: its pixels have no type that can be read; export it as 8 or 16 bit or float")
    if series.keyframe.compression not in BUILT_IN:
        import_extra("imagecodecs", "codecs")
    sizes, positions = {}, {}
    for axis, size in read_pixel_size(tif).items():
        if axis in axes:
            i = axes.index(axis)
            factor = round(levels[0].shape[i] / series.shape[i])
            sizes[axis], positions[axis] = size * factor, size / 2 * (factor - 1)
    count = series.shape[axes.index("c")] if "c" in axes else 1
    return Image(
        _pixels(tif, series, path, level),
        axes,
        pixel_size_um=sizes,
        translation_um=positions if level else {},
        channels=read_channels(tif, count),
        name=path.name.removesuffix(path.suffix).removesuffix(".ome"),
    )


def _axes(path: Path, letters: str) -> str:
    if "S" in letters:
        raise InputError(
            f"{path} is a colour (RGB) picture: its axes are {letters}; split it into channels first "
            "(in Fiji: Image > Color > Split Channels) and restore those"
        )
    unnamed = [letter for letter in letters if letter not in "TCZYX"]
    if len(unnamed) == 1 and unnamed[0] in "IQ":
        return letters.replace(unnamed[0], "q" if "Z" in letters else "z").lower()
    if letters == "QQYX":
        return "tqyx"
    if unnamed:
        raise InputError(
            f"{path} has the axes {letters}; fluorsr knows T, C, Z, Y and X: save it as OME-TIFF or as an ImageJ "
            f"hyperstack that names {', '.join(unnamed)} as one of these"
        )
    return letters.lower()


def _pixels(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, level: int) -> LazyArray:
    offsets = _plain_offsets(tif, series)
    if offsets is None:
        _check_data(tif, series, path)
        return TiffArray(path, level)
    shape = tuple(int(n) for n in series.shape)
    dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
    end = int(offsets.max()) + shape[-2] * shape[-1] * dtype.itemsize
    if end > tif.filehandle.size:
        raise truncated(path, end, tif.filehandle.size)
    return PlainArray(path, shape, dtype, offsets)


def _plain_offsets(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> NDArray[np.int64] | None:
    """Where each plane begins, if all lie in this file uncompressed and without gaps; else None."""
    page = series.keyframe
    if not page.is_memmappable or series.axes[-2:] != "YX" or page.shape != series.shape[-2:]:
        return None
    count = int(np.prod(series.shape[:-2]))
    plane = page.nbytes
    if series.dataoffset is not None:
        return np.int64(series.dataoffset) + np.arange(count, dtype=np.int64) * np.int64(plane)
    if series.is_multifile or len(series.pages) != count:
        return None
    offsets = []
    for one in series.pages:
        if one is None or not one.dataoffsets or sum(one.databytecounts) != plane:
            return None
        starts, ends = one.dataoffsets, np.add(one.dataoffsets, one.databytecounts)
        if not np.array_equal(ends[:-1], starts[1:]):
            return None
        offsets.append(starts[0])
    return np.array(offsets, dtype=np.int64)


def _check_data(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raise FormatError where the first or last page's pixels lie past the file's end."""
    for page in (series.pages[0], series.pages[-1]):
        if page is not None and page.dataoffsets and not series.is_multifile:
            end = int(np.add(page.dataoffsets, page.databytecounts).max())
            if end > tif.filehandle.size:
                raise truncated(path, end, tif.filehandle.size)
