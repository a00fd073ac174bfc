"""Regression: bring the restored image as near to the target as the recipe's loss can tell (EDSR, U-Net, SRResNet)."""

from __future__ import annotations

from typing import Any

import pydantic
from torch import Tensor, nn

from fluorsr.train.objectives.base import Learner, Setup


class RegressionOptions(pydantic.BaseModel):
    """It has none."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Regression:
    """Minimise the recipe's loss; what is shipped is the moving average of the weights. See Objective."""

    def __init__(self, setup: Setup, options: RegressionOptions) -> None:
        self.setup = setup
        self.learner = Learner(setup.network, setup)

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        return self.learner.update(
            lambda pixels, truth: {"loss": self.setup.loss(self.learner(pixels), truth)}, inputs, targets, rate
        )

    def restore(self, inputs: Tensor) -> Tensor:
        return self.learner.restore(inputs)

    def shipped(self) -> nn.Module:
        return self.learner.average

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)
