"""Orders put back in their places: with true stripes they show the specimen, with wrong ones they do not."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical.sim_autocorrelation import find_stripes
from fluorsr.classical.sim_constants import LEAST_MODULATION, SCALE
from fluorsr.classical.sim_demodulate import channels, demodulate
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.errors import InputError
from fluorsr.optics.psf import gaussian_blur


def images(series, *, turn: float = 0.0, frames: Tensor | None = None, origin: Tensor | None = None) -> Tensor:
    """[1 + A * M, 2 Y, 2 X] of a series; the stripes believed `turn` radians away from where they are."""
    angles, phases = series.frames.shape[:2]
    stripes, count = series.stripes, series.stripes.modulation.shape[1]
    phase = stripes.phase_rad.reshape(angles, phases) + turn
    orders_rad = torch.stack([m * phase for m in range(1, count + 1)], -1)
    made = demodulate(
        (series.frames if frames is None else frames)[None].float(),
        stripes.wave_per_um[::phases] * series.optics.pixel_size_um,
        orders_rad,
        stripes.modulation[::phases],
        torch.ones(angles, phases, dtype=torch.float64),
        float(series.frames.mean()),
        origin,
    )
    assert made.shape[1] == channels(angles, count)
    return functional.pixel_shuffle(made, SCALE)[0]


def alike(image: Tensor, truth: Tensor) -> float:
    pairs = torch.stack((image[24:-24, 24:-24].flatten(), truth[24:-24, 24:-24].flatten()))
    return float(torch.corrcoef(pairs.double())[0, 1])


@pytest.mark.parametrize("series", ["three_beams", "two_beams"])
def test_every_order_shows_the_specimen_sharper_than_wide_field_where_it_lies(series: str, request) -> None:
    series = request.getfixturevalue(series)
    made = images(series)
    truth = gaussian_blur(series.truth.double()[None, None], 110 / 30)[0, 0]
    wide, joined = alike(made[0], truth), alike(made.sum(0) + made[0] * 2, truth)
    assert joined > wide + 0.05
    wrong = images(series, turn=math.pi)
    first = 1 if series.illumination.beams == 2 else 2
    for image, other in zip(made[1::first], wrong[1::first], strict=True):
        assert alike(image, truth) > 0.3
        assert alike(other, truth) < -0.3  # half a period away, bright is dark


def test_a_tile_is_demodulated_as_the_whole_is(three_beams) -> None:
    whole = images(three_beams)
    y, x = 24, 40
    part = images(three_beams, frames=three_beams.frames[..., y : y + 64, x : x + 64], origin=torch.tensor([[y, x]]))
    inside = slice(16, -16)
    here = whole[:, 2 * y : 2 * (y + 64), 2 * x : 2 * (x + 64)][:, inside, inside]
    torch.testing.assert_close(part[:, inside, inside], here, atol=1e-2, rtol=1e-4)


def test_flat_light_gives_no_side_orders_and_keeps_its_level(three_beams) -> None:
    flat = images(three_beams, frames=torch.full((3, 5, 32, 32), float(three_beams.frames.mean())))
    torch.testing.assert_close(flat[0], torch.full_like(flat[0], float(three_beams.frames.mean())))
    assert float(flat[1:].abs().max()) < 1e-3


def test_contrast_that_is_next_to_nothing_does_not_blow_up_noise(three_beams) -> None:
    ones = torch.ones(3, 5, dtype=torch.float64)
    frames = 100 + torch.randn(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    phases = torch.arange(5, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0]) * 2 * math.pi / 5
    args = torch.rand(3, 2), phases.expand(3, -1, -1), torch.zeros(3, 2), ones, 100.0
    assert float(demodulate(frames, args[0].double(), *args[1:])[:, 4:].std()) < 1 / LEAST_MODULATION
    with pytest.raises(InputError, match="do not tell 5 orders apart"):
        demodulate(frames, args[0].double(), torch.zeros(3, 5, 2), *args[2:])


def test_parameters_of_which_some_were_not_measured_survive_json(three_beams) -> None:
    split = three_beams.frames
    few = find_stripes(split[:, :1], three_beams.optics)
    back = SimParameters.from_json(json.loads(json.dumps(few.to_json(), allow_nan=False)))
    assert bool(back.modulation.isnan().all())
    assert torch.equal(back.phase_rad, few.phase_rad)
    known = estimate_parameters(split, three_beams.optics, wave_per_um=few.wave_per_um, rounds=1)
    back = SimParameters.from_json(json.loads(json.dumps(known.to_json(), allow_nan=False)))
    assert bool(back.strength.isnan().all())
    assert torch.equal(back.modulation, known.modulation)
