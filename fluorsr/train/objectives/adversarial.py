"""Adversarial training: a generator against a critic (SRGAN, Ledig et al. 2017).

    steps 0 .. pretrain         generator: the recipe's loss alone
    then, every step            critic:    real above restored
                                generator: pixel * recipe's loss + content_weight * content + adversarial * -log real

With the critic's features as content, the loss is Wang et al. 2018's (pix2pixHD, equation 4): every layer of the critic
should see the same in the restored image and in the target. With VGG19 it is the paper's, and needs its weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from fluorsr.models.srgan import Critic, CriticConfig
from fluorsr.models.vgg19 import load_vgg19
from fluorsr.train.objectives.base import Learner, Setup


class AdversarialOptions(pydantic.BaseModel):
    """How the generator and its critic learn.

    pretrain          steps on the recipe's loss alone, before there is a critic
    pixel, content_weight, adversarial   weights of the generator's three losses; the paper's are 0, 1 and 0.001
    content           "features" of the critic, or "vgg19";  vgg19  file of its weights, torch's cache where null
    relativistic      whether the critic says which of two is more real (Jolicoeur-Martineau 2018), not how real each is
    critic            its size, see fluorsr.models.srgan;  critic_rate  its learning rate, the generator's where null
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    pretrain: int = pydantic.Field(default=2000, ge=0)
    pixel: float = pydantic.Field(default=1.0, ge=0)
    content_weight: float = pydantic.Field(default=1.0, ge=0)
    adversarial: float = pydantic.Field(default=1e-3, ge=0)
    content: Literal["features", "vgg19"] = "features"
    vgg19: str | None = None
    relativistic: bool = False
    critic: CriticConfig = CriticConfig()
    critic_rate: float | None = pydantic.Field(default=None, gt=0)


class Adversarial:
    """What is shipped is the moving average of the generator's weights. See Objective.

    Raises MissingWeightsError or FormatError for VGG19's weights, before anything is trained.
    """

    def __init__(self, setup: Setup, options: AdversarialOptions) -> None:
        self.setup, self.options = setup, options
        self.generator = Learner(setup.network, setup)
        self.critic = Learner(Critic(options.critic), setup, learning_rate=options.critic_rate)
        self.vgg19 = load_vgg19(options.vgg19).to(self.generator.device) if options.content == "vgg19" else None

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        if self.generator.done < self.options.pretrain:
            return self.generator.update(self._pixel_losses, inputs, targets, rate)
        judged = self.critic.update(self._critic_losses, inputs, targets, rate)
        figures = self.generator.update(self._generator_losses, inputs, targets, rate)
        if math.isnan(judged["loss"]):
            figures["loss"] = math.nan
        return {**figures, "critic": judged["loss"]}

    def _pixel_losses(self, pixels: Tensor, truth: Tensor) -> dict[str, Tensor]:
        return {"loss": self.setup.loss(self.generator(pixels), truth)}

    def _critic_losses(self, pixels: Tensor, truth: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            restored = self.generator(pixels)
        real, fake = self.critic(torch.cat([truth, restored])).chunk(2)
        return {"loss": versus(real, fake, relativistic=self.options.relativistic)}

    def _generator_losses(self, pixels: Tensor, truth: Tensor) -> dict[str, Tensor]:
        restored = self.generator(pixels)
        with constant(self.critic.network):
            (wanted, real), (seen, fake) = self._judge(truth), self._judge(restored)
        if self.vgg19 is not None:
            content = self.vgg19(restored, truth)
        else:
            content = torch.stack([functional.l1_loss(a.float(), b.float()) for a, b in zip(seen, wanted, strict=True)])
            content = content.mean()
        parts = {
            "pixel": self.setup.loss(restored, truth),
            "content": content,
            "adversarial": deceived(real, fake, relativistic=self.options.relativistic),
        }
        options = self.options
        weights = (options.pixel, options.content_weight, options.adversarial)
        total = torch.stack([weight * part for weight, part in zip(weights, parts.values(), strict=True)]).sum()
        return {"loss": total, **parts}

    def _judge(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The critic's features at every stage, and its logits [B, 1] in float32."""
        critic = self.critic.network
        assert isinstance(critic, Critic)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.setup.bf16):
            features = critic.features(images)
            return features, critic.judge(features[-1]).float()

    def restore(self, inputs: Tensor) -> Tensor:
        return self.generator.restore(inputs)

    def shipped(self) -> nn.Module:
        return self.generator.average

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.state_dict(), "critic": self.critic.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])


def versus(real: Tensor, fake: Tensor, *, relativistic: bool) -> Tensor:
    """What the critic minimises, from logits [B, 1] of real and restored images.

    Plain: -log D(real) - log(1 - D(fake)) (Goodfellow et al. 2014, equation 1). Relativistic: each logit is taken from
    the mean of the other kind's (Wang et al. 2018, ESRGAN, equation 1).
    """
    if relativistic:
        real, fake = real - fake.mean(), fake - real.mean()
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def deceived(real: Tensor, fake: Tensor, *, relativistic: bool) -> Tensor:
    """What the generator minimises: -log D(fake) (Ledig et al. 2017, equation 8), or the mirror of the critic's loss.

    (ESRGAN's equation 2.)
    """
    if relativistic:
        return versus(fake, real, relativistic=True)
    return functional.softplus(-fake).mean()


@contextmanager
def constant(network: nn.Module) -> Iterator[None]:
    """Within it, gradients go through the network to its input and not to its weights."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
