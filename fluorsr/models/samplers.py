"""Samplers of a diffusion model: from noise to an image, in as many network evaluations as there are noise levels.

All share one signature and may stand for one another:

    sampler(predict, draw, gammas) -> y_0

    predict(y, gamma)   the network's estimate of y_0 [B, 1, Y, X] from y = sqrt(gamma) y_0 + sqrt(1 - gamma) noise
    draw(n)             standard normal noise of y's shape; another for every n
    gammas              the levels at which the network is asked, rising from nearly 0 (noise) towards 1 (image)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from fluorsr.errors import InputError

Predict = Callable[[Tensor, float], Tensor]
Draw = Callable[[int], Tensor]
Sampler = Callable[[Predict, Draw, Sequence[float]], Tensor]

MAX_STEPS = 10_000
POWER = 1.7
"""How much denser levels are towards the image: 1 spaces them evenly in time, 2 is quadratic (Song et al. 2021, D.2).

Chosen on other fields than those of docs/sr3_steps.md, where 10 evaluations so came nearest to 200 ancestral ones.
"""


def ddpm(predict: Predict, draw: Draw, gammas: Sequence[float]) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2; SR3's equation 4, Saharia et al. 2021), noise at every step.

    Levels may be far apart, so the noise has the variance of the posterior q(y_next | y_0, y), not its upper bound
    1 - alpha that SR3 takes for its 2000 fine steps (equation 11): with few steps that would leave too much.
    """
    y = draw(0)
    for n, (gamma, following) in enumerate(pairwise([*gammas, 1.0]), 1):
        y0, alpha = predict(y, gamma), gamma / following
        y = (math.sqrt(following) * (1 - alpha) * y0 + math.sqrt(alpha) * (1 - following) * y) / (1 - gamma)
        if following < 1:
            y = y + math.sqrt((1 - following) * (1 - alpha) / (1 - gamma)) * draw(n)
    return y


def ddim(predict: Predict, draw: Draw, gammas: Sequence[float]) -> Tensor:
    """Deterministic after the first draw (Song et al. 2021, equation 12 with sigma 0)."""
    y = draw(0)
    for gamma, following in pairwise([*gammas, 1.0]):
        y0 = predict(y, gamma)
        noise = (y - math.sqrt(gamma) * y0) / math.sqrt(1 - gamma)
        y = math.sqrt(following) * y0 + math.sqrt(1 - following) * noise
    return y


def dpm_solver_pp_2m(predict: Predict, draw: Draw, gammas: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): second order, one evaluation a step.

    Deterministic after the first draw.
    """
    return _second_order(predict, draw, gammas, stochastic=False)


def sde_dpm_solver_pp_2m(predict: Predict, draw: Draw, gammas: Sequence[float]) -> Tensor:
    """SDE-DPM-Solver++(2M) (the same article, on diffusion SDEs): ancestral sampling to second order.

    Fresh noise at every step mends what earlier steps did wrong, which a deterministic solver carries to the end.
    """
    return _second_order(predict, draw, gammas, stochastic=True)


def _second_order(predict: Predict, draw: Draw, gammas: Sequence[float], *, stochastic: bool) -> Tensor:
    """Steps h in lambda = log(sqrt(gamma) / sqrt(1 - gamma)); with noise, y is forgotten twice as fast."""
    y, before, h_before, speed = draw(0), None, 0.0, 1 + stochastic
    for n, (gamma, following) in enumerate(pairwise([*gammas, 1.0]), 1):
        y0 = predict(y, gamma)
        if following == 1:
            return y0  # h is infinite: equation 9's first-order step ends on the estimate itself
        h = _log_snr(following) - _log_snr(gamma)
        estimate = y0
        if before is not None:
            r = h_before / h
            estimate = (1 + 1 / (2 * r)) * y0 - 1 / (2 * r) * before
        shrink = math.sqrt((1 - following) / (1 - gamma)) * math.exp((1 - speed) * h)
        y = shrink * y - math.sqrt(following) * math.expm1(-speed * h) * estimate
        if stochastic:
            y = y + math.sqrt((following - 1) * math.expm1(-2 * h)) * draw(n)
        before, h_before = y0, h
    return y


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpm_solver_pp_2m": dpm_solver_pp_2m,
    "sde_dpm_solver_pp_2m": sde_dpm_solver_pp_2m,
}
"""Name -> sampler."""


def linear_schedule(steps: int, first: float, last: float) -> tuple[float, ...]:
    """gamma_0 = 1, gamma_1, ... gamma_T: the running product of 1 - beta, beta rising linearly (SR3, section 2.4)."""
    gammas, gamma = [1.0], 1.0
    for t in range(steps):
        gamma *= 1 - (first + (last - first) * t / max(steps - 1, 1))
        gammas.append(gamma)
    return tuple(gammas)


def levels(schedule: Sequence[float], steps: int) -> list[float]:
    """`steps` of a schedule's levels, the noisiest first, denser towards the image.

    At times T (n / steps)^POWER, no two the same; so T steps are the schedule.
    Raises InputError for fewer steps than 1 or more than the schedule has.
    """
    most = min(len(schedule) - 1, MAX_STEPS)
    if not 1 <= steps <= most:
        raise InputError(f"steps is {steps}; this model samples in 1 to {most} steps, and 10 are mostly enough")
    last = len(schedule) - 1
    return [schedule[max(n, math.ceil(last * (n / steps) ** POWER))] for n in range(steps, 0, -1)]


def find_sampler(name: str) -> Sampler:
    """Raises InputError for a name that is not in SAMPLERS."""
    if name not in SAMPLERS:
        raise InputError(f"sampler {name!r} is not one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


def _log_snr(gamma: float) -> float:
    """lambda of Lu et al.: half the logarithm of the signal-to-noise ratio."""
    return 0.5 * math.log(gamma / (1 - gamma))
