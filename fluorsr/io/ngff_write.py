"""The OME metadata of an image that is written: multiscales and omero, for OME-Zarr 0.5 and 0.4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.io.disk import write_json
from fluorsr.io.pyramid import level_transform
from fluorsr.io.writer import Layout

VERSIONS = ("0.5", "0.4")
PERCENTILES = (0.1, 99.9)
"""Of the smallest level; they become the contrast window's start and end."""


def check_version(ngff: str) -> None:
    if ngff not in VERSIONS:
        raise InputError(f"OME-Zarr {ngff} cannot be written; choose {' or '.join(VERSIONS)}")


def write_group(root: Path, layout: Layout, levels: int, ngff: str, provenance: dict[str, Any]) -> None:
    """Write the root group's metadata: OME's, and `provenance` under the key `fluorsr` beside it."""
    windows = [_initial_window(layout)] * len(layout.channels)
    ome: dict[str, Any] = {"multiscales": [_multiscale(layout, levels)], "omero": _omero(layout, windows)}
    if ngff == "0.4":
        ome["multiscales"][0]["version"] = "0.4"
        write_json(root / ".zgroup", {"zarr_format": 2})
        write_json(root / ".zattrs", {**ome, "fluorsr": provenance})
    else:
        attributes = {"ome": {"version": "0.5", **ome}, "fluorsr": provenance}
        write_json(root / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def window(pixels: Sequence[NDArray[Any]], layout: Layout) -> dict[str, float]:
    """The contrast window of one channel from sample planes of it; NaN and inf are left out."""
    shown = _initial_window(layout)
    finite = np.concatenate([p[np.isfinite(p)].ravel() for p in pixels])
    if finite.size == 0:
        return shown
    start, end = (float(v) for v in np.percentile(finite, PERCENTILES))
    if np.dtype(layout.dtype).kind == "f":
        shown["min"], shown["max"] = float(finite.min()), float(finite.max())
    if end <= start:
        end = start + 1.0
    return {**shown, "max": max(shown["max"], end), "start": start, "end": end}


def _initial_window(layout: Layout) -> dict[str, float]:
    dtype = np.dtype(layout.dtype)
    low, high = (0.0, 1.0) if dtype.kind == "f" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    return {"min": low, "max": high, "start": low, "end": high}


def _multiscale(layout: Layout, levels: int) -> dict[str, Any]:
    axes: list[dict[str, str]] = []
    for axis in layout.axes:
        kind = {"t": "time", "c": "channel"}.get(axis, "space")
        unit = {"unit": "micrometer"} if axis in layout.pixel_size_um else {}
        axes.append({"name": axis, "type": kind, **unit})
    datasets = [{"path": str(n), "coordinateTransformations": _transforms(layout, n)} for n in range(levels)]
    return {"name": layout.name, "axes": axes, "datasets": datasets, "type": "mean"}


def _transforms(layout: Layout, level: int) -> list[dict[str, Any]]:
    scales, translations = [], []
    for axis in layout.axes:
        scale, translation = layout.pixel_size_um.get(axis, 1.0), layout.translation_um.get(axis, 0.0)
        if axis in "yx":
            scale, translation = level_transform(scale, translation, level)
        scales.append(float(scale))
        translations.append(float(translation))
    return [{"type": "scale", "scale": scales}, {"type": "translation", "translation": translations}]


def _omero(layout: Layout, windows: list[dict[str, float]]) -> dict[str, Any]:
    channels = [
        {"label": c.name, "color": c.color, "active": True, "window": dict(w)}
        for c, w in zip(layout.channels, windows, strict=True)
    ]
    return {"name": layout.name, "channels": channels}
