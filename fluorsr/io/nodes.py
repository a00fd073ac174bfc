"""Zarr groups and arrays, on disk or at an address, told apart by their metadata documents; no array is opened here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluorsr.errors import FormatError, StorageError
from fluorsr.io.remote import RemotePath


@dataclass(frozen=True)
class Node:
    """One zarr group or array.

    kind         "group", "array" or "" (neither)
    zarr_format  2 or 3; 0 where `kind` is ""
    attributes   the user's attributes
    document     the JSON that holds the attributes: zarr.json, or .zattrs of zarr 2
    """

    path: Path | RemotePath
    kind: str
    zarr_format: int
    attributes: dict[str, Any]
    document: dict[str, Any]

    @property
    def ome(self) -> dict[str, Any]:
        """OME's metadata: under the key `ome` since 0.5, at the top before."""
        ome = self.attributes.get("ome") if self.zarr_format == 3 else self.attributes
        return ome if isinstance(ome, dict) else {}


def read_node(path: Path | RemotePath) -> Node:
    """Read the metadata of the node at a folder. Raises FormatError where it is not valid JSON."""
    document = _read_json(path / "zarr.json")
    if document is not None:
        kind = document.get("node_type")
        if kind not in ("group", "array"):
            raise FormatError(f"{path / 'zarr.json'} is neither a group nor an array: node_type is {kind!r}")
        attributes = document.get("attributes")
        return Node(path, kind, 3, attributes if isinstance(attributes, dict) else {}, document)
    for kind, name in (("array", ".zarray"), ("group", ".zgroup")):
        if _read_json(path / name) is not None:
            attributes = _read_json(path / ".zattrs") or {}
            return Node(path, kind, 2, attributes, attributes)
    return Node(path, "", 0, {}, {})


def _read_json(path: Path | RemotePath) -> dict[str, Any] | None:
    """A document; None where there is none."""
    try:
        content = _read(path)
        if content is None:
            return None
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not valid JSON ({error}); the store is damaged, copy it again") from error
    except StorageError:
        raise
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path} must hold a JSON object, not {type(document).__name__}; the store is damaged")
    return document


def _read(path: Path | RemotePath) -> bytes | None:
    if isinstance(path, RemotePath):
        return path.read()
    return path.read_bytes() if path.is_file() else None
