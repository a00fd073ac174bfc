"""Diffusion: a denoiser learns what noise is in an image that is shown beside its blurred self (SR3).

    y = sqrt(gamma) y_0 + sqrt(1 - gamma) noise          loss: the recipe's (l1 in the paper), of (network's, asked for)

Saharia et al. 2021, algorithm 1 and equation 6; the network is asked for the noise, or for v (see SR3Config).
"""

from __future__ import annotations

import copy
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from fluorsr.errors import InputError
from fluorsr.models.load import load_module
from fluorsr.models.network import channels_last
from fluorsr.models.sr3 import CENTRE, SPREAD, SR3, Denoiser
from fluorsr.train.objectives.base import Learner, Setup


class DiffusionOptions(pydantic.BaseModel):
    """The schedule is the network's.

    guide   a shipped model or a weights file: the weights of the network's guide, which stay as they are
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    guide: str | None = None


class Diffusion:
    """What is shipped is an SR3 with the moving average of the denoiser's weights; it restores by sampling.

    Raises InputError where the network is no SR3, or its guide is another network than the one named.
    """

    def __init__(self, setup: Setup, options: DiffusionOptions) -> None:
        if not isinstance(setup.network, SR3):
            raise InputError("objective diffusion trains the architecture sr3; choose regression or adversarial")
        self.setup, self.network = setup, setup.network
        _load_guide(self.network, options.guide)
        self.learner = Learner(self.network.denoiser, setup)
        self.network.to(self.learner.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.whole = copy.deepcopy(self.network).eval()
        assert isinstance(self.learner.average, Denoiser)
        self.whole.denoiser = self.learner.average
        self.schedule = torch.tensor(self.network.schedule, dtype=torch.float64)

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        return self.learner.update(self._losses, inputs, targets, rate)

    def _losses(self, pixels: Tensor, truth: Tensor) -> dict[str, Tensor]:
        y0 = (truth - CENTRE) / SPREAD
        gamma, noise = self._gamma(len(y0)).to(y0.device), torch.randn(y0.shape).to(y0.device)
        image, rest = gamma.sqrt().view(-1, 1, 1, 1), (1 - gamma).sqrt().view(-1, 1, 1, 1)
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.setup.bf16):
            shown = self.network.condition(channels_last(pixels)).float()
        joined = torch.cat([shown, image * y0 + rest * noise], dim=1)
        asked = noise if self.network.config.predicts == "noise" else image * noise - rest * y0
        return {"loss": self.setup.loss(self.learner(joined, gamma.sqrt()), asked)}

    def _gamma(self, count: int) -> Tensor:
        """Noise levels [count]: a step of the schedule, then anywhere within it, as in section 2.4.

        Drawn on the CPU, as the noise is: the same on every device.
        """
        step = torch.randint(1, len(self.schedule), (count,))
        lower, upper = self.schedule[step], self.schedule[step - 1]
        return (lower + (upper - lower) * torch.rand(count, dtype=torch.float64)).float()

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Tensor:
        restored: Tensor = self.whole(inputs.to(self.learner.device))
        return restored.to(inputs.device)

    def shipped(self) -> nn.Module:
        return self.whole

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)


def _load_guide(network: SR3, name: str | None) -> None:
    if name is None:
        return
    if network.guide is None:
        raise InputError(f"options.guide is {name}, but model has no guide; set model.guide to its configuration")
    try:
        network.guide.load_state_dict(load_module(name)[0].state_dict())
    except RuntimeError as error:
        raise InputError(
            f"options.guide {name} is another network than model.guide {network.config.guide}; set it to its own: "
            f"{str(error).splitlines()[1].strip()}"
        ) from error
