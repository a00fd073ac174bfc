"""What is exported: a model's network in float32, its spec, and the notes that an exported file carries about it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from fluorsr.classical.sim_stripes import MEASURE, Stripes
from fluorsr.errors import InputError
from fluorsr.export.sim_program import Orders, RawFrames
from fluorsr.models.load import load_module
from fluorsr.models.sim_network import inner_spec, known_waves
from fluorsr.models.sr3 import SR3
from fluorsr.models.torchscript import STRIPES
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


class Sampling(TypedDict, total=False):
    """How a diffusion model draws its samples, which becomes part of an export; by default as the model says.

    steps     network evaluations;  sampler  one of samplers.SAMPLERS
    """

    steps: int | None
    sampler: str | None


def open_source(model: str | Path, stripes: str | Path | Stripes | None = None, **sampling: Unpack[Sampling]) -> Source:
    """Open the shipped model or weights file `model`. Raises as `fluorsr.load`, InputError for stripes that do not fit.

    Of a SIM network that is given orders and `stripes` (a file of `fluorsr info --save-stripes`) the module is a
    RawFrames of that microscope. Without them it is the network alone, which measures no stripes: `frames` of its spec
    are the images that it takes, and TAKES in the notes says what they are.
    """
    module, spec = load_module(model, **sampling)
    notes: dict[str, Any] = {"fluorsr": importlib.metadata.version("fluorsr"), "model": str(model)}
    if isinstance(module, SR3):
        notes |= {"steps": module.config.steps, "sampler": module.config.sampler}
    of_orders = isinstance(module, UNetSIM) and module.config.periods_um is not None
    if stripes is None:
        if isinstance(module, UNetSIM) and of_orders:
            raw, spec = spec.frames, inner_spec(spec, module.config)
            notes[TAKES] = (
                f"{spec.frames} images that fluorsr.classical.sim_demodulate makes of {raw} raw frames and their "
                "measured stripes, not raw frames"
            )
        return Source(module, spec, notes)
    if not isinstance(module, UNetSIM) or not of_orders:
        raise InputError(f"{spec.name} is no network of raw SIM frames, so it takes no stripes; leave them out")
    found = stripes if isinstance(stripes, Stripes) else Stripes.read(stripes)
    waves, remarks = known_waves(found, spec, module.config, found.pixel_size_um)
    orders = Orders(spec.frames, waves, found.pixel_size_um, found.beams)
    raw_frames = RawFrames(module, module.config, orders).eval()
    notes |= {STRIPES: found.to_json()} | ({"remarks": remarks} if remarks else {})
    return Source(raw_frames, replace(spec, pixel_size_um=found.pixel_size_um), notes)


def check_raw(source: Source, *, orders: bool) -> None:
    """Raises InputError with what to do where a program would take orders, which few hosts can make, unasked."""
    if orders and STRIPES in source.notes:
        raise InputError("--stripes and --orders exclude each other: a program takes raw frames, or orders")
    if orders and TAKES not in source.notes:
        raise InputError(f"{source.spec.name} is no network of raw SIM frames, so it has no orders; leave out --orders")
    if TAKES in source.notes and not orders:
        raise InputError(
            f"a program of {source.spec.name} must be told the stripes of your microscope, to take raw frames: "
            f"--stripes FILE ({MEASURE}); --orders exports the network alone, which takes {source.notes[TAKES]}"
        )


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
