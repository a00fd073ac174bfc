"""How weights are moved: all by Adam, or the kernels between feature maps by Muon and the rest by Adam.

gradient --mean over the last 20 or so--> momentum [O, C k k] --nearest orthogonal matrix--> step of the kernel

Adam scales every weight by its own gradients; Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) gives all
directions of a kernel's momentum the same length, so that rare ones are learnt as fast as common ones. Its steps are
made as long as Adam's usually are (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4): one learning rate
serves both. torch.optim.Muon does the same to single matrices; here all kernels of a shape are moved at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["adam", "muon"]

FEATURES = 16
"""A kernel with fewer channels in or out than this meets an image, not features: it is Adam's."""

MOMENTUM = 0.95
LENGTH = 0.2
"""Root mean square of a step of Adam, in learning rates (Liu et al.)."""

QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
"""Of a x + b x^3 + c x^5, that bring every singular value between 0.7 and 1.2 (Jordan et al.)."""


class Optimiser:
    """Moves `weights` in place; `betas` are Adam's."""

    def __init__(self, weights: Iterable[nn.Parameter], kind: Kind, betas: tuple[float, float]) -> None:
        weights = list(weights)
        kernels = [one for one in weights if kind == "muon" and one.ndim == 4 and min(one.shape[:2]) >= FEATURES]
        taken = set(map(id, kernels))
        self.adam = torch.optim.Adam([one for one in weights if id(one) not in taken], betas=betas, fused=True)
        self.groups: list[list[Tensor]] = [list(group) for _, group in groupby(sorted(kernels, key=_shape), _shape)]
        self.momenta = [torch.zeros_like(torch.stack(group)) for group in self.groups]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every weight along its gradient; kernels without one go on along their momentum."""
        self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()
        for kernels, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([torch.zeros_like(one) if one.grad is None else one.grad for one in kernels])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            moves = orthogonal(gradient.lerp(momentum, MOMENTUM).flatten(2))
            length = learning_rate * LENGTH * math.sqrt(max(moves.shape[1:]))
            torch._foreach_add_(kernels, list(moves.view_as(momentum)), alpha=-length)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {"optimiser": self.adam.state_dict(), "momenta": self.momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s result."""
        self.adam.load_state_dict(state["optimiser"])
        for momentum, kept in zip(self.momenta, state.get("momenta", []), strict=True):
            momentum.copy_(kept)


def orthogonal(matrices: Tensor) -> Tensor:
    """U V^T, roughly, of every U S V^T: [N, R, C] -> [N, R, C], by Newton and Schulz's iteration.

    Singular values end between 0.7 and 1.2, those of less than a thousandth of the whole smaller; zeros stay zero.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    found = nn.functional.normalize(matrices.flatten(1)).view_as(matrices)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = found @ found.mT
        found = a * found + (b * square + c * square @ square) @ found
    return found


def _shape(weight: Tensor) -> tuple[int, ...]:
    return tuple(weight.shape)
