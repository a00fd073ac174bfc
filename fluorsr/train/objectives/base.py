"""What an objective is, and the Learner it is made of: one network with its optimiser and its averaged weights.

batch --chunks--> losses(input, target) --backward, clip--> optimiser --> moving average
         accumulate      of the objective     all processes' mean          what is shipped
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fluorsr.models.network import channels_last
from fluorsr.train.optimiser import Kind, Optimiser

Losses = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""(input, target) -> named scalars; "loss" is minimised, the others are told."""


@dataclass(frozen=True)
class Setup:
    """What every objective is given: its network with fresh (or given) weights, and how to train.

    network        [B, F, Y, X] -> [B, 1, sY, sX], not yet on the accelerator's device
    loss           (restored, target), both [B, 1, sY, sX] float32 -> a scalar: the recipe's combination
    optimiser      see fluorsr.train.optimiser;  learning_rate  at its peak;  betas  the two decays of Adam
    clip           largest norm of the gradient, None for any
    ema            decay of the averaged weights;  accumulate  pieces that a batch is cut into;  bf16  for convolutions
    """

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimiser: Kind = "adam"
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = 1.0
    ema: float = 0.998
    accumulate: int = 1
    bf16: bool = False
    accelerator: Accelerator = field(default_factory=Accelerator)


class Objective(Protocol):
    """What the loop needs. Made from a Setup and the objective's own options."""

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        """Learn from one batch, [B, F, P, P] and [B, 1, sP, sP], at `rate` times the learning rate.

        The figures include "loss"; a batch whose loss or gradient is not finite changes nothing and has loss NaN.
        torch's global generator was seeded with the run's seed and the step: noise drawn from it is repeatable.
        """
        ...

    def restore(self, inputs: Tensor) -> Tensor:
        """[B, F, Y, X] -> [B, 1, sY, sX] float32, on the inputs' device, with the weights that would be shipped."""
        ...

    def shipped(self) -> nn.Module:
        """The network with the weights that would be shipped."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on as if it had never stopped: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s result."""
        ...


class Learner:
    """A network that learns, alone or as one of several processes, and the moving average of its weights.

    Calling it is the forward pass that learns; `fixed` lets gradients through to its input only.
    """

    def __init__(self, network: nn.Module, setup: Setup, *, learning_rate: float | None = None) -> None:
        self.setup = setup
        self.device = setup.accelerator.device
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        self.learning_rate = learning_rate or setup.learning_rate
        self.optimiser = Optimiser(self.network.parameters(), setup.optimiser, setup.betas)
        self.done = 0
        self._parallel = setup.accelerator.prepare_model(self.network)

    def __call__(self, inputs: Tensor, *more: Tensor) -> Tensor:
        """The network's output in float32, computed in bf16 where the recipe says so; `more` goes to it as it is."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setup.bf16):
            output: Tensor = self._parallel(channels_last(inputs), *more)
        return output.float()

    def fixed(self, inputs: Tensor, *more: Tensor) -> Tensor:
        """The same, its weights taken as constants: for the update of another network that it judges."""
        weights = {name: weight.detach() for name, weight in self.network.named_parameters()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setup.bf16):
            output: Tensor = torch.func.functional_call(self.network, weights, (channels_last(inputs), *more))
        return output.float()

    def update(self, losses: Losses, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        """One step of the optimiser at `rate` times the learning rate: the means of `losses` over the batch.

        `losses` is called for each of the batch's `accumulate` pieces. The figures also have the gradient's norm. Where
        it or the loss is not finite, in any process, nothing changes and "loss" is NaN.
        """
        setup, inputs, targets = self.setup, inputs.to(self.device), targets.to(self.device)
        self.network.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.network.buffers()]
        total: dict[str, Tensor] = {}
        pieces = list(zip(inputs.chunk(setup.accumulate), targets.chunk(setup.accumulate), strict=True))
        for number, (pixels, truth) in enumerate(pieces, 1):
            # Gradients of several processes are averaged once, with the last piece.
            with nullcontext() if number == len(pieces) else setup.accelerator.no_sync(self._parallel):
                found = {name: value * (len(pixels) / len(inputs)) for name, value in losses(pixels, truth).items()}
                setup.accelerator.backward(found["loss"])
            for name, value in found.items():
                total[name] = total.get(name, 0) + value.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), setup.clip or math.inf)
        means = setup.accelerator.reduce(torch.stack([*total.values(), norm.to(self.device)]), "mean")
        figures = dict(zip([*total, "gradient"], means.tolist(), strict=True))
        if not math.isfinite(figures["loss"]) or not math.isfinite(figures["gradient"]):
            for buffer, old in zip(self.network.buffers(), before, strict=True):
                buffer.copy_(old)
            return {**figures, "loss": math.nan}
        self.optimiser.step(rate * self.learning_rate)
        self.done += 1
        self._follow()
        return figures

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average. Young ones forget faster, so that the random start is soon gone."""
        keep = min(self.setup.ema, self.done / (self.done + 10))
        weights = list(self.network.parameters())
        torch._foreach_lerp_(list(self.average.parameters()), weights, 1 - keep)
        for average, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            average.copy_(buffer)

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Tensor:
        """The averaged network's output in float32: [B, F, Y, X] -> [B, 1, sY, sX], on the inputs' device."""
        restored: Tensor = self.average(channels_last(inputs.to(self.device)))
        return restored.to(inputs.device)

    def state_dict(self) -> dict[str, Any]:
        """See Objective."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "done": self.done,
            **self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Objective."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state)
        self.done = state["done"]
