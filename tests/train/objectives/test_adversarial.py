"""Adversarial training: its losses by their equations, its phases, and that it goes on as if never stopped."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from fluorsr.errors import MissingWeightsError
from fluorsr.models.srgan import SRGAN, SRGANConfig
from fluorsr.train.objectives import OBJECTIVES
from fluorsr.train.objectives.adversarial import Adversarial, AdversarialOptions, constant, deceived, versus
from fluorsr.train.objectives.base import Setup
from fluorsr.train.objectives.regression import Regression, RegressionOptions

INPUTS = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
TARGETS = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(2))


def objective(**options: object) -> Adversarial:
    torch.manual_seed(3)
    network = SRGAN(SRGANConfig(blocks=1, width=4))
    chosen = AdversarialOptions(**{"pretrain": 0, "critic": {"width": 4}, **options})
    return Adversarial(Setup(network, F.l1_loss, learning_rate=1e-3), chosen)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_the_plain_losses_are_cross_entropies() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    ones, zeros = torch.ones(5, 1), torch.zeros(5, 1)
    bce = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(versus(real, fake, relativistic=False), bce(real, ones) + bce(fake, zeros))
    torch.testing.assert_close(deceived(real, fake, relativistic=False), bce(fake, ones))


def test_the_relativistic_losses_are_esrgans() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    d_real, d_fake = torch.sigmoid(real - fake.mean()), torch.sigmoid(fake - real.mean())
    critic = -torch.log(d_real).mean() - torch.log(1 - d_fake).mean()
    generator = -torch.log(1 - d_real).mean() - torch.log(d_fake).mean()
    torch.testing.assert_close(versus(real, fake, relativistic=True), critic)
    torch.testing.assert_close(deceived(real, fake, relativistic=True), generator)


def test_pre_training_is_regression() -> None:
    one = objective(pretrain=2)
    torch.manual_seed(3)
    plain = Regression(Setup(SRGAN(SRGANConfig(blocks=1, width=4)), F.l1_loss, learning_rate=1e-3), RegressionOptions())
    critic = weights(one.critic.network)
    for _ in range(2):
        assert one.step(INPUTS, TARGETS, 1.0) == plain.step(INPUTS, TARGETS, 1.0)
    assert torch.equal(weights(one.shipped()), weights(plain.shipped()))
    assert torch.equal(weights(one.critic.network), critic)
    assert "critic" in one.step(INPUTS, TARGETS, 1.0)
    assert not torch.equal(weights(one.critic.network), critic)


@pytest.mark.parametrize("relativistic", [False, True])
def test_a_step_is_the_weighted_sum_of_three_losses(relativistic: bool) -> None:
    one = objective(relativistic=relativistic, pixel=2.0, content_weight=0.5, adversarial=0.1)
    figures = one.step(INPUTS, TARGETS, 1.0)
    by_hand = 2 * figures["pixel"] + 0.5 * figures["content"] + 0.1 * figures["adversarial"]
    assert figures["loss"] == pytest.approx(by_hand, rel=1e-5)
    assert min(figures["pixel"], figures["content"], figures["critic"], figures["adversarial"]) > 0


def test_the_generators_step_leaves_the_critics_weights_alone() -> None:
    one = objective()
    network = one.critic.network
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    with constant(network):
        network(image).sum().backward()
    assert float(image.grad.abs().max()) > 0
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_the_critic_learns_and_the_generator_follows() -> None:
    """Adversarial loss alone: what the generator makes becomes harder to tell, by the critic of that moment."""
    one = objective(pixel=0.0, content_weight=0.0, adversarial=1.0, critic_rate=5e-3)
    first = one.step(INPUTS, TARGETS, 1.0)["critic"]
    figures = [one.step(INPUTS, TARGETS, 0.0 if n < 0 else 1.0)["critic"] for n in range(20)]
    assert min(figures) < first


def test_an_interrupted_run_goes_on_to_the_same_weights() -> None:
    whole, part = objective(pretrain=1), objective(pretrain=1)
    for step in range(4):
        if step == 2:
            state = copy.deepcopy(part.state_dict())
            part = objective(pretrain=1)
            part.load_state_dict(state)
        assert whole.step(INPUTS, TARGETS, 1.0) == part.step(INPUTS, TARGETS, 1.0)
    assert torch.equal(weights(whole.shipped()), weights(part.shipped()))
    assert torch.equal(weights(whole.critic.network), weights(part.critic.network))


def test_a_faulty_batch_changes_nothing() -> None:
    one = objective()
    before, critic = weights(one.generator.network), weights(one.critic.network)
    figures = one.step(INPUTS, TARGETS * math.nan, 1.0)
    assert math.isnan(figures["loss"])
    assert torch.equal(weights(one.generator.network), before)
    assert torch.equal(weights(one.critic.network), critic)


def test_vgg19_is_asked_for_before_training(tmp_path) -> None:
    with pytest.raises(MissingWeightsError, match=r"nothing.pth does not exist.*options.content=features"):
        objective(content="vgg19", vgg19=str(tmp_path / "nothing.pth"))


def test_bf16_and_pieces_work_too() -> None:
    torch.manual_seed(3)
    setup = Setup(SRGAN(SRGANConfig(blocks=1, width=4)), F.l1_loss, bf16=True, accumulate=2)
    made, options = OBJECTIVES["adversarial"]
    one = made(setup, options(pretrain=0, critic={"width": 4, "norm": "batch"}))
    assert math.isfinite(one.step(INPUTS, TARGETS, 1.0)["loss"])
    assert one.restore(INPUTS).shape == TARGETS.shape
