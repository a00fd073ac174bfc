"""The input that a network is recorded with, and which of its sizes stay free."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from fluorsr.models.precision import filaments
from fluorsr.restorer import RestorerSpec


def example_input(spec: RestorerSpec) -> tuple[Tensor, ...]:
    """Two normalised tiles; for a stochastic model also their origins and a seed, which must not be baked in."""
    m = spec.multiple
    tiles = filaments(spec.frames, 40 * m)[..., : 32 * m, :].repeat(2, 1, 1, 1)
    return (tiles, torch.tensor([[40, 60], [8, 0]]), torch.tensor(3)) if spec.stochastic else (tiles,)


def free_sizes(spec: RestorerSpec) -> tuple[dict[int, Any] | None, ...]:
    """For torch.export: batch, y and x may change, y and x in steps of `multiple`.

    Two steps at least: torch.export takes a size of one for a case of its own.
    """
    m, batch = spec.multiple, Dim("batch")
    y, x = (Dim(f"{axis}_steps", min=2, max=2**20) for axis in "yx")
    tiles = {0: batch, 2: m * y if m > 1 else y, 3: m * x if m > 1 else x}
    return (tiles, {0: batch}, None) if spec.stochastic else (tiles,)
