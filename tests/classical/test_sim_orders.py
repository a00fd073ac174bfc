"""Orders of few phases, on frames whose orders are known: noise under stripes without blur."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fluorsr.classical.sim_orders import carrier, separate, separate_few

WAVE = torch.tensor([0.15, 0.02], dtype=torch.float64)
CONTRAST = (0.6, 0.5)


def specimen() -> Tensor:
    return torch.rand(32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def phases(*steps_deg: float) -> Tensor:
    """[N, M], the second order's off by 0.4."""
    first = torch.deg2rad(torch.tensor(steps_deg, dtype=torch.float64)) + 0.3
    return first[:, None] * torch.tensor([1.0, 2.0]) + torch.tensor([0.0, 0.4])


def frames(orders_rad: Tensor) -> Tensor:
    """[N, Y, X] of stripes over the specimen."""
    stripes = carrier(torch.stack([WAVE, 2 * WAVE]), (32, 32), 1.0)
    turned = stripes * torch.exp(1j * orders_rad)[..., None, None]
    return specimen() * (1 + (torch.tensor(CONTRAST)[:, None, None] * turned.real).sum(1))


def test_of_all_phases_it_is_what_least_squares_gives() -> None:
    given = phases(0, 72, 144, 216, 288)
    few, all_of_them = separate_few(frames(given), given), separate(frames(given), given)
    assert torch.allclose(few, all_of_them, atol=1e-9)


def test_of_one_phase_it_is_the_frame_times_its_carrier() -> None:
    given = phases(40)
    found, own = separate_few(frames(given), given), frames(given)[0]
    for m in (1, 2):
        assert torch.allclose(found[m], own * torch.exp(-1j * given[0, m - 1]))
    assert torch.allclose(found[0].real, own)


@pytest.mark.parametrize("steps", [(0, 144, 216), (0, 120, 240)])
def test_three_phases_of_three_beams_give_every_order_its_own_part_whole(steps: tuple[float, ...]) -> None:
    # Over all places of the stripes the crosstalk turns, and what stays is the order.
    total = torch.zeros(3, dtype=torch.complex128)
    for start in range(0, 360, 15):
        given = phases(*(start + step for step in steps))
        placed = separate_few(frames(given), given)
        stripes = carrier(torch.stack([0 * WAVE, WAVE, 2 * WAVE]), (32, 32), 1.0)
        total += (placed * stripes.conj()).mean((-2, -1)) / 24
    own = float(specimen().mean()) * torch.tensor([1.0, CONTRAST[0] / 2, CONTRAST[1] / 2], dtype=torch.float64)
    # The mean of specimen times stripes is not 0: it is the specimen's own texture at the stripes' frequencies.
    assert (total - own).abs().max() < 0.05


def test_light_that_changes_is_taken_out() -> None:
    light = torch.tensor([0.6, 0.8, 0.7], dtype=torch.float64)
    given = phases(0, 144, 216)
    dimmed = frames(given) * light[:, None, None]
    wide = separate_few(dimmed, given, light)[0].real
    assert abs(float(wide.mean()) / float(specimen().mean()) - 1) < 0.1
