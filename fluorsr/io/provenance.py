"""What `fluorsr infer` wrote into its output: the model, the tiles, and what part of the input was restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from fluorsr.io.disk import TIFF_MAGIC

KEY = "fluorsr"


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The record in an OME-Zarr's or OME-TIFF's metadata; empty where there is none, as in images of other programs."""
    path = Path(path)
    try:
        if path.is_dir():
            return _of_zarr(path)
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_MAGIC
        return _of_tiff(path) if is_tiff else {}
    except (OSError, ValueError, tifffile.TiffFileError, ElementTree.ParseError):
        return {}  # another program's metadata may be anything


def _of_zarr(path: Path) -> dict[str, Any]:
    for name in ("zarr.json", ".zattrs"):
        if (path / name).is_file():
            found = json.loads((path / name).read_text(encoding="utf-8"))
            record = (found.get("attributes", {}) if name == "zarr.json" else found).get(KEY)
            return record if isinstance(record, dict) else {}
    return {}


def _of_tiff(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata
    if not text:
        return {}
    for entry in ElementTree.fromstring(text).iter():
        if entry.tag.rpartition("}")[2] == "M" and entry.get("K") == KEY:
            record = json.loads(entry.text or "null")
            return record if isinstance(record, dict) else {}
    return {}
