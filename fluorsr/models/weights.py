"""Weights files: one safetensors file that carries the network's name, configuration, spec and notes.

    8 bytes   length of the header, little-endian
    header    JSON: dtype, shape and byte range of every tensor; fluorsr's entries are strings under `__metadata__`
    payload   the tensors, end to end

A safetensors file cannot run code, and its header says how large it must be: a truncated or foreign file is told apart
before memory is taken for it. Weights may be stored as float16 to halve the file; they are always used as float32.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from fluorsr.errors import ModelError, NotFoundError, StorageError
from fluorsr.restorer import RestorerSpec

FORMAT = "fluorsr-weights-1"
MAX_HEADER_BYTES = 16 * 2**20
DTYPES = ("F16", "BF16", "F32", "I64")
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself. `notes` holds the recipe, the held-out figures and the like."""

    architecture: str
    config: dict[str, Any]
    spec: RestorerSpec
    notes: dict[str, Any]


@dataclass(frozen=True)
class Weights(Card):
    """A weights file, read: `state` is float32 (integer buffers as they are), `sha256` is of the whole file."""

    state: dict[str, Tensor]
    sha256: str


def save_weights(
    path: str | Path,
    module: nn.Module,
    *,
    architecture: str,
    config: dict[str, Any],
    spec: RestorerSpec,
    notes: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write `module`'s weights with everything needed to rebuild and run it. The file appears whole or not at all.

    dtype   float32, or float16 for half the size
    Raises ModelError where a weight is not finite (or leaves float16's range), StorageError where the disk refuses.
    """
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        # a tensor in channels_last order would be refused by safetensors, a shared one stored once under one name only
        stored = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous().clone()
        if stored.is_floating_point() and not bool(torch.isfinite(stored).all()):
            raise ModelError(f"weight {name} holds NaN or inf as {dtype}; train again, or store it as float32")
        state[name] = stored
    metadata = {
        "format": FORMAT,
        "architecture": architecture,
        "config": json.dumps(config),
        "spec": json.dumps(spec.to_json()),
        "notes": json.dumps(notes),
    }
    write_atomically(Path(path), safetensors.torch.save(state, metadata))


def read_weights(path: str | Path) -> Weights:
    """Read a weights file.

    Raises NotFoundError where it is missing; ModelError where it is truncated, a pickle, not safetensors, or
    not written by fluorsr.
    """
    path = Path(path)
    with _open(path) as file:
        header = _read_header(path, file)
        card = _card(path, header)
        file.seek(0)
        payload = file.read()
    try:
        state = safetensors.torch.load(payload)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a valid safetensors file: {error}; copy or download it again") from error
    return Weights(
        architecture=card.architecture,
        config=card.config,
        spec=card.spec,
        notes=card.notes,
        state={name: value.float() if value.is_floating_point() else value for name, value in state.items()},
        sha256=hashlib.sha256(payload).hexdigest(),
    )


def read_card(path: str | Path) -> Card:
    """Read only what a weights file says of itself, not its weights. Raises as `read_weights`."""
    path = Path(path)
    with _open(path) as file:
        return _card(path, _read_header(path, file))


def write_atomically(path: Path, payload: bytes | memoryview) -> None:
    """Write a file that appears whole or not at all: beside its place, synced, then renamed.

    Raises StorageError where the disk refuses; nothing is left behind then.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide the model from other users
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}; a weights file is one file") from error


def is_pickle(start: bytes) -> bool:
    """Whether a file that starts with these bytes (9 or more of a safetensors file) may be a pickle.

    Both may start with 0x80: one safetensors header in 32 has such a length. But behind it stands a JSON object.
    """
    return start.startswith(b"\x80") and start[8:9] != b"{"


def _read_header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """The header, checked against the file's size before anything of that size is read."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(9)
    file.seek(8)
    prefix = start[:8]
    if start.startswith(ZIP_MAGIC) or is_pickle(start):
        raise ModelError(
            f"{path} is a PyTorch archive or pickle, which could run code; a weights file is safetensors: "
            "convert it with fluorsr.models.weights.save_weights, or export TorchScript"
        )
    if len(prefix) < 8:
        raise ModelError(f"{path} is truncated: {size} bytes, a safetensors file has at least 8; copy it again")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER_BYTES:
        raise ModelError(
            f"{path} is not a safetensors file: its header would take {length} bytes, the limit is {MAX_HEADER_BYTES}"
        )
    if 8 + length > size:
        raise ModelError(f"{path} is truncated: its header is {8 + length} bytes, the file {size}; copy it again")
    try:
        header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("the header is not a JSON object")
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        dtypes = {str(entry["dtype"]) for entry in tensors.values()}
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
    if end > size:
        raise ModelError(f"{path} is truncated: its tensors end at byte {end}, the file at {size}; copy it again")
    unknown = sorted(dtypes - set(DTYPES))
    if unknown:
        raise ModelError(f"{path} holds weights of type {', '.join(unknown)}; fluorsr reads {', '.join(DTYPES)}")
    return header


def _card(path: Path, header: dict[str, Any]) -> Card:
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise ModelError(
            f"{path} is safetensors, but not a fluorsr model (format {found!r}, expected {FORMAT!r}): it carries no "
            "architecture and spec; write it with fluorsr.models.weights.save_weights"
        )
    try:
        config, spec, notes = (json.loads(metadata[key]) for key in ("config", "spec", "notes"))
        if not all(isinstance(values, dict) for values in (config, spec, notes)):
            raise ValueError("config, spec and notes must be JSON objects")
        return Card(str(metadata["architecture"]), config, RestorerSpec.from_json(spec), notes)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: the description in its header is damaged: {error}") from error
