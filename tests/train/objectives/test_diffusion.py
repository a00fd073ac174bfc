"""Diffusion: the loss by hand, levels that cover the schedule, and that it learns what it can."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from fluorsr.errors import InputError
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.reach import measure_module
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec
from fluorsr.train.objectives.base import Setup
from fluorsr.train.objectives.diffusion import Diffusion, DiffusionOptions

INPUTS = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
TARGETS = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))


def objective(rate: float = 1e-3, **config: object) -> Diffusion:
    torch.manual_seed(3)
    network = SR3(SR3Config(**{"width": 8, "multipliers": (1, 2), "steps": 4, **config}))
    return Diffusion(Setup(network, F.l1_loss, learning_rate=rate), DiffusionOptions())


@pytest.mark.parametrize("predicts", ["noise", "v"])
def test_the_loss_is_equation_6(predicts: str) -> None:
    """At the start the network says 0, so the loss is the mean size of what is asked for."""
    one = objective(predicts=predicts)
    torch.manual_seed(5)
    found = one.step(INPUTS, TARGETS, 1.0)["loss"]
    torch.manual_seed(5)
    gamma, noise = one._gamma(4).view(-1, 1, 1, 1), torch.randn(TARGETS.shape)
    y0 = 2 * TARGETS - 1
    asked = noise if predicts == "noise" else gamma.sqrt() * noise - (1 - gamma).sqrt() * y0
    assert found == pytest.approx(asked.abs().mean().item(), rel=1e-5)


def test_levels_fill_the_steps_of_the_schedule_evenly() -> None:
    one = objective(timesteps=4, beta=(0.1, 0.4))
    schedule = torch.tensor(one.network.schedule).flip(0)  # 0.9 * 0.8 * 0.7 * 0.6, ..., 1
    gamma = one._gamma(20_000)
    counts = torch.bucketize(gamma, schedule).bincount(minlength=6)
    assert counts[0] == counts[5] == 0
    assert (counts[1:5].float() / 20_000 - 0.25).abs().max() < 0.02
    inside = gamma[(gamma > schedule[1]) & (gamma < schedule[2])]
    assert inside.mean().item() == pytest.approx((schedule[1] + schedule[2]).item() / 2, abs=2e-3)


def test_it_learns_an_image_that_the_input_tells() -> None:
    """The target is the input, doubled in size: after a while samples come near it, and one seed gives one image."""
    one = objective(5e-3, predicts="v")
    targets = F.interpolate((INPUTS > 0.5).float(), scale_factor=2.0)
    losses = []
    for step in range(120):
        torch.manual_seed(step)
        losses.append(one.step((INPUTS > 0.5).float(), targets, 1.0)["loss"])
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    restored = one.restore((INPUTS > 0.5).float())
    assert (restored - targets).abs().mean().item() < 0.5 * targets.std().item()
    assert torch.equal(restored, one.restore((INPUTS > 0.5).float()))


def test_an_interrupted_run_goes_on_to_the_same_weights() -> None:
    whole, part = objective(), objective()
    for step in range(4):
        if step == 2:
            state = copy.deepcopy(part.state_dict())
            part = objective()
            part.load_state_dict(state)
        torch.manual_seed(step)
        expected = whole.step(INPUTS, TARGETS, 1.0)
        torch.manual_seed(step)
        assert part.step(INPUTS, TARGETS, 1.0) == expected
    for a, b in zip(whole.shipped().parameters(), part.shipped().parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.restore(INPUTS), part.restore(INPUTS))


def test_what_ships_is_the_average() -> None:
    one = objective()
    one.step(INPUTS, TARGETS, 1.0)
    shipped = one.shipped()
    assert isinstance(shipped, SR3)
    assert shipped.denoiser is one.learner.average
    assert shipped.denoiser is not one.network.denoiser


def test_the_guide_is_the_one_named_and_stays_as_it_is(tmp_path) -> None:
    torch.manual_seed(9)
    config = {"blocks": 1, "width": 8, "scale": 2}
    known = EDSR(EDSRConfig(**config))
    path = tmp_path / "known.safetensors"
    spec = RestorerSpec("known", **vars(measure_module(known)))
    save_weights(path, known, architecture="edsr", config=config, spec=spec, notes={})

    def guided(**guide: object) -> Diffusion:
        network = SR3(SR3Config(width=8, multipliers=(1, 2), steps=4, guide=guide or None))
        return Diffusion(Setup(network, F.l1_loss), DiffusionOptions(guide=str(path)))

    one = guided(**config)
    one.step(INPUTS, TARGETS, 1.0)
    for name, weight in one.shipped().guide.state_dict().items():
        assert torch.equal(weight, known.state_dict()[name])
    with pytest.raises(InputError, match=r"but model has no guide; set model\.guide"):
        guided()
    with pytest.raises(InputError, match=r"is another network than model\.guide"):
        guided(**config | {"width": 4})


def test_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match="objective diffusion trains the architecture sr3; choose regression"):
        Diffusion(Setup(EDSR(EDSRConfig(blocks=1, width=4)), F.l1_loss), DiffusionOptions())
