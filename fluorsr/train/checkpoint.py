"""Checkpoints: written whole or not at all, read without running code.

A run's folder has `last.pt`, from which --resume goes on, and `best.pt`, the state that validated best.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from fluorsr.errors import FormatError, NotFoundError, StorageError
from fluorsr.models.weights import write_atomically

LAST, BEST = "last.pt", "best.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Put `state` (tensors and plain values) in the place of `path`, by way of a synced temporary file.

    Raises StorageError where the disk refuses; an older checkpoint is then still whole.
    """
    payload = io.BytesIO()
    torch.save(state, payload)
    try:
        write_atomically(path, payload.getbuffer())
    except StorageError as error:
        kept = f"the one before is whole, so free some space and go on with --resume: {error}"
        raise StorageError(f"{kept if path.exists() else error}; or choose another --out") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Raises NotFoundError or FormatError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no checkpoint {path} to resume from; train without --resume") from error
    except Exception as error:  # torch raises almost anything for a damaged file
        raise FormatError(f"{path} is not a readable checkpoint ({error}); start again in a new folder") from error
    return state
