"""What is exported: a model's network in float32, its spec, and the notes that an exported file carries about it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.models.load import load_module
from fluorsr.models.sim_network import inner_spec
from fluorsr.models.unet_sim import UNetSIM
from fluorsr.restorer import RestorerSpec

TAKES = "takes"
"""The note on a network that takes other images than raw frames."""


@dataclass(frozen=True)
class Source:
    """A model as `fluorsr.models.load.load_module` opens it. `notes` are plain JSON values."""

    module: nn.Module
    spec: RestorerSpec
    notes: dict[str, Any]


def open_source(model: str | Path) -> Source:
    """Open the shipped model or weights file `model`. Raises as `fluorsr.load`.

    Of a SIM network that is given orders it is the network alone, which measures no stripes: `frames` of its spec are
    the images that it takes, and TAKES in the notes says what they are.
    """
    module, spec = load_module(model)
    notes = {"fluorsr": importlib.metadata.version("fluorsr"), "model": str(model)}
    if isinstance(module, UNetSIM) and module.config.periods_um:
        raw, spec = spec.frames, inner_spec(spec, module.config)
        notes[TAKES] = (
            f"{spec.frames} images that fluorsr.classical.sim_demodulate makes of {raw} raw frames and their measured "
            "stripes, not raw frames"
        )
    return Source(module, spec, notes)


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
