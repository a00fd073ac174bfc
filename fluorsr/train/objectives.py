"""Objectives: each owns its network, its optimiser and what one step does. The loop sees only this interface."""

from __future__ import annotations

import copy
import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fluorsr.losses import LOSSES
from fluorsr.models.architectures import build
from fluorsr.models.network import channels_last
from fluorsr.train.recipe import Recipe


class Objective(Protocol):
    """What the loop needs."""

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        """Learn from one batch at `rate` times the learning rate; the figures include "loss".

        A batch whose loss is not finite changes nothing.
        """
        ...

    def restore(self, inputs: Tensor) -> Tensor:
        """[B, 1, Y, X] -> [B, 1, sY, sX] with the weights that would be shipped."""
        ...

    def shipped(self) -> nn.Module:
        """The network with the weights that would be shipped."""
        ...

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Regression:
    """Minimise a pixel loss with Adam; what is shipped is an exponential moving average of the weights."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = build(recipe.architecture, recipe.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
        self.loss = LOSSES[recipe.loss]
        self.done = 0

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        """See Objective."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * self.recipe.learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            restored = self.network(channels_last(inputs))
        loss = self.loss(restored.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip))
        if math.isfinite(norm) and math.isfinite(loss.item()):
            self.optimiser.step()
            self.done += 1
            # Young averages forget faster, so that the random start is soon gone.
            keep = min(self.recipe.ema, self.done / (self.done + 10))
            pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
            with torch.no_grad():
                for average, weight in pairs:
                    average.lerp_(weight, 1 - keep)
        return {"loss": loss.item() if math.isfinite(norm) else math.nan, "gradient": norm}

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Tensor:
        """See Objective; always in float32."""
        restored: Tensor = self.average(channels_last(inputs))
        return restored

    def shipped(self) -> nn.Module:
        """See Objective."""
        return self.average

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on as if it had never stopped."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "done": self.done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s result."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done = state["done"]


OBJECTIVES: dict[str, type[Regression]] = {"edsr": Regression}
"""Architecture -> what trains it."""
