"""Zarr groups and arrays on disk, told apart by their metadata documents; no array is opened here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluorsr.errors import FormatError


@dataclass(frozen=True)
class Node:
    """One zarr group or array.

    kind         "group", "array" or "" (neither)
    zarr_format  2 or 3; 0 where `kind` is ""
    attributes   the user's attributes
    document     the JSON that holds the attributes: zarr.json, or .zattrs of zarr 2
    """

    path: Path
    kind: str
    zarr_format: int
    attributes: dict[str, Any]
    document: dict[str, Any]

    @property
    def ome(self) -> dict[str, Any]:
        """OME's metadata: under the key `ome` since 0.5, at the top before."""
        ome = self.attributes.get("ome") if self.zarr_format == 3 else self.attributes
        return ome if isinstance(ome, dict) else {}


def read_node(path: Path) -> Node:
    """Read the metadata of the node at a folder. Raises FormatError where it is not valid JSON."""
    if (path / "zarr.json").is_file():
        document = _read_json(path / "zarr.json")
        kind = document.get("node_type")
        if kind not in ("group", "array"):
            raise FormatError(f"{path / 'zarr.json'} is neither a group nor an array: node_type is {kind!r}")
        attributes = document.get("attributes")
        return Node(path, kind, 3, attributes if isinstance(attributes, dict) else {}, document)
    for kind, name in (("array", ".zarray"), ("group", ".zgroup")):
        if (path / name).is_file():
            _read_json(path / name)
            attributes = _read_json(path / ".zattrs") if (path / ".zattrs").is_file() else {}
            return Node(path, kind, 2, attributes, attributes)
    return Node(path, "", 0, {}, {})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not valid JSON ({error}); the store is damaged, copy it again") from error
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path} must hold a JSON object, not {type(document).__name__}; the store is damaged")
    return document
