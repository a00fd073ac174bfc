"""Samplers on data whose best estimate is known: y_0 is normal, so every distribution on the way is, too."""

from __future__ import annotations

import math

import pytest
import torch

from fluorsr.errors import InputError
from fluorsr.models.samplers import SAMPLERS, ddim, ddpm, find_sampler, levels, linear_schedule, sde_dpm_solver_pp_2m

MEAN, SPREAD = 0.7, 0.4
SCHEDULE = linear_schedule(1000, 1e-4, 2e-2)


def predict(y: torch.Tensor, gamma: float) -> torch.Tensor:
    """E[y_0 | y] for y_0 of normal distribution: by the formula for two jointly normal numbers."""
    share = math.sqrt(gamma) * SPREAD**2 / (gamma * SPREAD**2 + 1 - gamma)
    return MEAN + share * (y - math.sqrt(gamma) * MEAN)


def draw(n: int) -> torch.Tensor:
    return torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


@pytest.mark.parametrize(
    ("sampler", "steps"), [("ddpm", 1000), ("ddim", 300), ("dpm_solver_pp_2m", 40), ("sde_dpm_solver_pp_2m", 100)]
)
def test_samples_have_the_distribution_of_the_data(sampler: str, steps: int) -> None:
    samples = SAMPLERS[sampler](predict, draw, levels(SCHEDULE, steps))
    assert float(samples.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(samples.std()) == pytest.approx(SPREAD, rel=0.02)


def test_the_second_order_solver_is_nearer_with_few_steps() -> None:
    exact = MEAN + SPREAD * draw(0)  # the flow that both follow keeps each point's rank
    error = {
        name: float((SAMPLERS[name](predict, draw, levels(SCHEDULE, 20)) - exact).abs().mean())
        for name in ("ddim", "dpm_solver_pp_2m")
    }
    assert error["dpm_solver_pp_2m"] < error["ddim"] / 2
    errors = [
        float((SAMPLERS["ddim"](predict, draw, levels(SCHEDULE, steps)) - exact).abs().mean()) for steps in (20, 40, 80)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_one_step_of_each_is_the_estimate_itself() -> None:
    for sampler in SAMPLERS.values():
        torch.testing.assert_close(sampler(predict, draw, [0.3]), predict(draw(0), 0.3))


def test_two_steps_by_hand() -> None:
    """From gamma 0.2 to 0.6, then to 1. DDIM: equation 12; ancestral: mean and variance of SR3's equation 4."""
    y = draw(0)
    y0 = predict(y, 0.2)
    noise = (y - 0.2**0.5 * y0) / 0.8**0.5
    by_hand = predict(0.6**0.5 * y0 + 0.4**0.5 * noise, 0.6)
    torch.testing.assert_close(ddim(predict, draw, [0.2, 0.6]), by_hand)
    alpha = 0.2 / 0.6
    mean = 0.6**0.5 * (1 - alpha) / 0.8 * y0 + alpha**0.5 * 0.4 / 0.8 * y
    by_hand = predict(mean + (0.4 * (1 - alpha) / 0.8) ** 0.5 * draw(1), 0.6)
    torch.testing.assert_close(ddpm(predict, draw, [0.2, 0.6]), by_hand)
    torch.testing.assert_close(sde_dpm_solver_pp_2m(predict, draw, [0.2, 0.6]), by_hand)  # its first step is of order 1


def test_stochastic_samplers_draw_again() -> None:
    def counting(seen: list[int]):
        return lambda n: (seen.append(n), draw(n))[1]

    for name, sampler in SAMPLERS.items():
        seen: list[int] = []
        sampler(predict, counting(seen), levels(SCHEDULE, 5))
        assert seen == ([0, 1, 2, 3, 4] if name in ("ddpm", "sde_dpm_solver_pp_2m") else [0])


def test_the_schedule_is_the_running_product() -> None:
    """Three steps by hand: (1 - 0.1), (1 - 0.2), (1 - 0.3)."""
    assert linear_schedule(3, 0.1, 0.3) == pytest.approx((1, 0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7))
    paper = linear_schedule(2000, 1e-6, 1e-2)
    assert paper[-1] == pytest.approx(math.exp(-10), rel=0.05)


def test_levels_rise_from_the_noisiest() -> None:
    schedule = linear_schedule(10, 0.1, 0.3)
    assert levels(schedule, 10) == list(schedule[:0:-1])
    assert levels(schedule, 2) == [schedule[10], schedule[4]]
    assert levels(schedule, 1) == [schedule[10]]
    assert levels(schedule, 3) == [schedule[10], schedule[6], schedule[2]]  # 10, 5.02 and 1.5, rounded up
    assert levels(schedule, 8) == [schedule[t] for t in (10, 8, 7, 5, 4, 3, 2, 1)]  # 2 and 1 where 0.9 and 0.3 are 1
    for steps in range(1, 201):
        found = levels(SCHEDULE[:201], steps)
        assert len(set(found)) == steps
        assert found == sorted(found)


def test_what_there_is_not_is_refused() -> None:
    for steps in (0, -1, 1001):
        with pytest.raises(InputError, match=f"steps is {steps}; this model samples in 1 to 1000 steps"):
            levels(SCHEDULE, steps)
    with pytest.raises(
        InputError, match="sampler 'euler' is not one of ddpm, ddim, dpm_solver_pp_2m, sde_dpm_solver_pp_2m"
    ):
        find_sampler("euler")
