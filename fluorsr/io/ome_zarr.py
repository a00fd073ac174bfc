"""Open OME-Zarr images (0.4 and 0.5) and bare zarr arrays, lazily, through zarr-python: any codec it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from fluorsr.errors import FormatError, InputError, NotFoundError, StorageError
from fluorsr.image import READABLE_AXES, Image
from fluorsr.io.bounded import BoundedStore
from fluorsr.io.chunked import ChunkedArray
from fluorsr.io.ngff_read import level_paths, read_channels, read_level
from fluorsr.io.nodes import Node, read_node
from fluorsr.io.remote import RemotePath, RemoteStore

AXES_BY_RANK = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
"""Axes of an array that does not name them."""

PARENTS = 4
"""How far above an array its image's metadata are looked for."""


class ZarrArray(ChunkedArray):
    """A zarr array on disk or at an address, read chunk by chunk."""

    def __init__(self, path: Path | RemotePath) -> None:
        self.path = path
        super().__init__(str(path))

    def _open(self) -> Any:
        path = self.path
        store = RemoteStore(str(path)) if isinstance(path, RemotePath) else LocalStore(path, read_only=True)
        try:
            return zarr.open_array(BoundedStore(store), mode="r")
        except StorageError:
            raise
        except Exception as error:
            raise FormatError(
                f"{self.path} cannot be opened as a zarr array: {error}; "
                "its pixels must be numbers, in a codec that zarr-python knows"
            ) from error


def open_ome_zarr(path: Path | RemotePath, *, level: int = 0) -> Image:
    """Open the image at `path`: an OME-Zarr group, a group of series (the first is taken), or an array.

    An array inside an OME-Zarr image keeps its level's axes, sizes and channels. Raises NotFoundError, FormatError and
    InputError with what is wrong and what to do.
    """
    node = read_node(path)
    if node.kind == "array":
        if level != 0:
            raise NotFoundError(f"{path} is one array, so it has only level 0, not {level}")
        return _open_array(node)
    if "multiscales" in node.ome:
        return _open_level(node, level)
    if "bioformats2raw.layout" in node.ome:
        return _open_level(_first_series(node), level)
    raise _not_an_image(node)


def _open_level(node: Node, level: int) -> Image:
    info = read_level(node, level)
    where = node.path / info.path
    if read_node(where).kind != "array":
        raise FormatError(f"{where} is listed as level {level} but holds no zarr array; the store is incomplete")
    data = ZarrArray(where)
    if len(data.shape) != len(info.axes):
        raise FormatError(f"{where}: the axes {info.axes!r} do not fit its shape {data.shape}")
    count = data.shape[info.axes.index("c")] if "c" in info.axes else 1
    return Image(
        data,
        info.axes,
        pixel_size_um=info.pixel_size_um,
        translation_um=info.translation_um,
        channels=read_channels(node, count),
        name=info.name or _stem(node.path),
    )


def _open_array(node: Node) -> Image:
    path = node.path.resolve()
    parents: Sequence[Path | RemotePath] = path.parents
    for parent in parents[:PARENTS]:
        above = read_node(parent)
        if "multiscales" in above.ome:
            paths = [(above.path / p).resolve() for p in level_paths(above)]
            if path in paths:
                return _open_level(above, paths.index(path))
    data = ZarrArray(node.path)
    return Image(data, _bare_axes(node, data.shape), name=_stem(node.path))


def _bare_axes(node: Node, shape: tuple[int, ...]) -> str:
    names = node.document.get("dimension_names") if node.zarr_format == 3 else None
    if isinstance(names, list) and len(names) == len(shape):
        known = [n for n in names if isinstance(n, str) and len(n) == 1 and n in READABLE_AXES]
        if len(known) == len(names) == len(set(names)):
            return "".join(known)
    if len(shape) not in AXES_BY_RANK:
        raise InputError(
            f"{node.path} has shape {shape} and does not name its axes; an image has y and x and at most t, c and z: "
            "select a part with 2 to 5 axes first"
        )
    return AXES_BY_RANK[len(shape)]


def _first_series(node: Node) -> Node:
    listed = read_node(node.path / "OME").ome.get("series")
    name = str(listed[0]) if isinstance(listed, list) and listed else "0"
    series = read_node(node.path / name)
    if "multiscales" not in series.ome:
        raise FormatError(f"{node.path}: its first series, {name!r}, is not an OME-Zarr image; the store is incomplete")
    return series


def _not_an_image(node: Node) -> FormatError:
    path, ome = node.path, node.ome
    if "plate" in ome:
        return FormatError(f"{path} is a plate of many images; name one field of one well, for example {_field(node)}")
    if "well" in ome:
        return FormatError(f"{path} is a well of several fields; name one, for example {_field(node)}")
    if isinstance(path, RemotePath):
        what = (
            "a zarr group without an OME-Zarr image's metadata"
            if node.kind
            else "no zarr group or array, or is not there"
        )
        return FormatError(f"{path} is {what}; give the address of an image, the folder that holds its zarr.json")
    if node.kind == "":
        return FormatError(f"{path} is a folder, but neither a zarr group nor a zarr array; name an image")
    inside = sorted(p.name for p in path.iterdir() if p.is_dir() and read_node(p).kind)
    listed = f"; it holds {', '.join(inside[:8])}: name one of them, as in {path / inside[0]}" if inside else ""
    return FormatError(f"{path} is a zarr group without an OME-Zarr image's metadata{listed}")


def _field(node: Node) -> Path | RemotePath:
    """The first field of a plate or well, as far as the metadata tell."""
    path = node.path
    plate, well = node.ome.get("plate"), node.ome.get("well")
    if plate is not None:
        wells = plate.get("wells") if isinstance(plate, dict) else None
        first = wells[0] if isinstance(wells, list) and wells and isinstance(wells[0], dict) else {}
        path = path / str(first.get("path", "A/1"))
        well = read_node(path).ome.get("well")
    images = well.get("images") if isinstance(well, dict) else None
    first = images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}
    return path / str(first.get("path", "0"))


def _stem(path: Path | RemotePath) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")
