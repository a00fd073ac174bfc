"""What is exported: a model's network in float32, its spec, and the notes that an exported file carries about it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.errors import InputError
from fluorsr.models.load import load_module
from fluorsr.models.unet_sim import UNetSIM
from fluorsr.restorer import RestorerSpec


@dataclass(frozen=True)
class Source:
    """A model as `fluorsr.models.load.load_module` opens it. `notes` are plain JSON values."""

    module: nn.Module
    spec: RestorerSpec
    notes: dict[str, Any]


def open_source(model: str | Path) -> Source:
    """Open the shipped model or weights file `model`. Raises as `fluorsr.load`, and InputError."""
    module, spec = load_module(model)
    if isinstance(module, UNetSIM) and module.config.periods_um:
        raise InputError(
            f"{spec.name} measures the stripes of each plane before it restores, which an exported network cannot do; "
            "run it with fluorsr infer, or export a network of raw frames, such as unet-sim3-x2"
        )
    return Source(module, spec, {"fluorsr": importlib.metadata.version("fluorsr"), "model": str(model)})


class NoiseFixed(nn.Module):
    """A network that draws samples, as one that takes tiles alone: seed 0, each tile as if it began at (0, 0)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """[B, frames, Y, X] -> [B, 1, sY, sX]."""
        restored: Tensor = self.network(x, torch.zeros(x.shape[0], 2, dtype=torch.int64), torch.tensor(0))
        return restored


def noise_fixed(source: Source) -> Source:
    """The same model for hosts that know nothing of seeds and places; a model without noise as it is."""
    if not source.spec.stochastic:
        return source
    spec = replace(source.spec, stochastic=False)
    return Source(NoiseFixed(source.module).eval(), spec, source.notes | {"noise": "fixed"})
