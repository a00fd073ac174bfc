"""What is exported: a model's network in float32, its spec, and the notes that an exported file carries about it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fluorsr.models.load import load_module
from fluorsr.restorer import RestorerSpec


@dataclass(frozen=True)
class Source:
    """A model as `fluorsr.models.load.load_module` opens it. `notes` are plain JSON values."""

    module: nn.Module
    spec: RestorerSpec
    notes: dict[str, Any]


def open_source(model: str | Path) -> Source:
    """Open the shipped model or weights file `model`. Raises as `fluorsr.load`."""
    module, spec = load_module(model)
    return Source(module, spec, {"fluorsr": importlib.metadata.version("fluorsr"), "model": str(model)})
