"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from fluorsr.errors import FormatError, NotFoundError, StorageError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) to a temporary file, sync it, then put it in the place of `path`.

    Raises StorageError where the disk refuses; an older checkpoint is then still whole.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write the checkpoint {path}: {error}; free some space or choose another --out"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Raises NotFoundError or FormatError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no checkpoint {path} to resume from; train without --resume") from error
    except Exception as error:  # torch raises almost anything for a damaged file
        raise FormatError(f"{path} is not a readable checkpoint ({error}); start again in a new folder") from error
    return state
