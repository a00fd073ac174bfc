"""Stores written by zarr-python and by hand, as independent inputs for fluorsr's readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr
from numpy.typing import NDArray

MakeOme = Callable[..., Path]


@pytest.fixture
def make_ome(tmp_path: Path) -> MakeOme:
    """make_ome(levels, axes, version=..., **zarr.create_array's options) -> path of an OME-Zarr image."""

    def make(
        levels: list[NDArray[Any]],
        axes: str | list[dict[str, str]],
        *,
        version: str = "0.5",
        name: str = "in.ome.zarr",
        transforms: list[list[dict[str, Any]]] | None = None,
        top: list[dict[str, Any]] | None = None,
        omero: dict[str, Any] | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        zarr_format = 2 if version == "0.4" else 3
        group = zarr.create_group(path, zarr_format=zarr_format)
        for i, pixels in enumerate(levels):
            array = group.create_array(f"s{i}", shape=pixels.shape, dtype=pixels.dtype, **options)
            array[...] = pixels
        described = [{"name": a} for a in axes] if isinstance(axes, str) else axes
        rank = len(described)
        plain = [[{"type": "scale", "scale": [1.0] * rank}]] * len(levels)
        datasets = [{"path": f"s{i}", "coordinateTransformations": t} for i, t in enumerate(transforms or plain)]
        multiscale: dict[str, Any] = {"axes": described, "datasets": datasets, "name": "an image"}
        if top is not None:
            multiscale["coordinateTransformations"] = top
        ome: dict[str, Any] = {"multiscales": [multiscale]}
        if omero is not None:
            ome["omero"] = omero
        if version == "0.4":
            multiscale["version"] = "0.4"
            group.attrs.update(ome)
        else:
            group.attrs.update({"ome": {"version": version, **ome}})
        return path

    return make
