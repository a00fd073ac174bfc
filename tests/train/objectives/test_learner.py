"""The Learner: pieces add up to the batch, averages follow, a faulty batch leaves no trace."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fluorsr.train.objectives.base import Learner, Setup

INPUTS, TARGETS = torch.rand(2, 6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def network(*, batch_norm: bool = False, width: int = 4) -> nn.Module:
    torch.manual_seed(3)
    middle = nn.BatchNorm2d(width) if batch_norm else nn.Conv2d(width, width, 1) if width > 4 else nn.ReLU()
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), middle, nn.Conv2d(width, 1, 3, padding=1))


def learner(**changes: object) -> Learner:
    module = network(batch_norm=bool(changes.pop("batch_norm", False)), width=int(str(changes.pop("width", 4))))
    return Learner(module, Setup(module, F.l1_loss, **{"learning_rate": 1e-2, **changes}))  # type: ignore[arg-type]


def update(one: Learner, inputs: Tensor = INPUTS, rate: float = 1.0) -> dict[str, float]:
    return one.update(lambda x, y: {"loss": F.l1_loss(one(x), y), "twice": 2 * y.mean()}, inputs, TARGETS, rate)


def test_one_update_is_one_step_of_adam_and_its_average() -> None:
    one, other = learner(clip=None), network()
    start = copy.deepcopy(other)
    optimiser = torch.optim.Adam(other.parameters(), lr=0.5 * 1e-2, betas=(0.9, 0.99))
    loss = F.l1_loss(other(INPUTS), TARGETS)
    loss.backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in other.parameters() if p.grad is not None))
    optimiser.step()
    figures = update(one, rate=0.5)
    assert figures == pytest.approx({"loss": loss.item(), "twice": 2 * TARGETS.mean().item(), "gradient": norm})
    keep = 1 / 11
    for got, average, new, old in zip(
        one.network.parameters(), one.average.parameters(), other.parameters(), start.parameters(), strict=True
    ):
        torch.testing.assert_close(got, new)
        torch.testing.assert_close(average, keep * old + (1 - keep) * new)
    assert not torch.equal(one.restore(INPUTS), one(INPUTS))


@pytest.mark.parametrize("pieces", [2, 4])  # 4 makes pieces of 2, 2 and 2; 6 / 4 rounds up
def test_pieces_of_a_batch_add_up_to_it(pieces: int) -> None:
    whole, parts = learner(), learner(accumulate=pieces)
    for _ in range(3):
        assert update(parts) == pytest.approx(update(whole), rel=1e-5)
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_clipping_limits_the_gradient_that_is_used() -> None:
    clipped = learner(clip=1e-3)
    norm = update(clipped)["gradient"]
    used = math.sqrt(sum(float(p.grad.square().sum()) for p in clipped.network.parameters() if p.grad is not None))
    assert norm > 1e-3
    assert used == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_changes_nothing(value: float) -> None:
    one = learner(batch_norm=True)
    update(one)
    before = copy.deepcopy(one.state_dict())
    assert math.isnan(update(one, INPUTS * value)["loss"])
    assert one.done == 1
    for kind in ("network", "average"):
        for name, kept in before[kind].items():
            assert torch.equal(kept, one.state_dict()[kind][name]), name


def test_a_fixed_network_passes_gradients_to_its_input_alone() -> None:
    one = learner()
    pixels = INPUTS.clone().requires_grad_()
    torch.testing.assert_close(one.fixed(pixels), one(pixels))
    one.fixed(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in one.network.parameters())


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32() -> None:
    exact, short = learner(), learner(bf16=True)
    a, b = exact(INPUTS).detach(), short(INPUTS).detach()
    assert b.dtype == torch.float32
    assert 0 < float((a - b).abs().max()) < 0.05
    update(short)
    assert {weight.dtype for weight in short.network.parameters()} == {torch.float32}
    torch.testing.assert_close(short.restore(INPUTS), short.average(INPUTS))


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_it_goes_on_from_its_state(optimiser: str) -> None:
    one = learner(width=16, optimiser=optimiser)
    update(one)
    other = learner(width=16, optimiser=optimiser)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert update(one) == update(other)
    for a, b in zip(one.average.parameters(), other.average.parameters(), strict=True):
        assert torch.equal(a, b)
