"""The measured facts of our own networks' specs, sampling included.

    one evaluation            y_n depends on  x +- r
    S evaluations in a row    y_0 depends on  x +- S r          the halo of a sample, exact for any sampler
    what they are shown       x +- g                            of the guide, which is asked once: S r + g in all

Each evaluation of a diffusion model sees the result of the one before it, so a sample reaches S times as far as the
network. Where that is more than MAX_SAMPLING_HALO, tiles get that halo and are faded: no longer exact, but what lies
further away hardly matters.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from fluorsr.classical.sim_demodulate import REACH_PX
from fluorsr.models.measure import Measured, measure
from fluorsr.models.sr3 import SR3
from fluorsr.models.unet_sim import UNetSIM

MAX_SAMPLING_HALO = 160
"""Input pixels."""


def measure_module(module: nn.Module, steps: int | None = None) -> Measured:
    """Measure a network of ours as it restores: [B, frames, Y, X] -> [B, 1, sY, sX]. Raises ModelError.

    steps   of a diffusion model's sampling; None: its own
    """
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    if isinstance(module, UNetSIM) and module.config.periods_um:
        found = measure(module, module.config.inputs, device=device)
        halo = -(-(found.halo + REACH_PX) // found.multiple) * found.multiple
        return replace(found, frames=module.config.frames, halo=halo)
    if not isinstance(module, SR3):
        return measure(module, device=device)
    one = replace(measure(module.one_evaluation, module.config.frames, device=device), stochastic=True)
    if not one.exact:
        return one
    limit = MAX_SAMPLING_HALO // one.multiple * one.multiple
    guide = 0 if module.guide is None else measure(module.guide, module.config.frames, device=device).halo
    reach = one.halo * (steps or module.config.steps) + -(-guide // one.multiple) * one.multiple
    return replace(one, halo=min(reach, limit), exact=reach <= limit)
