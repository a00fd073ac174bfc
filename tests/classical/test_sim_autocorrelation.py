"""Stripes from single frames, against the simulator's truth; and where there are none."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_autocorrelation import find_stripes, known_power, known_stripes, measure_stripes
from fluorsr.classical.sim_demodulate import demodulate, place_orders
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import NoStripesError, SimParameters, estimate_parameters
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.errors import InputError
from fluorsr.models.torchscript import quiet_jit


@cache
def recording(photons: float) -> tuple[Tensor, SimOptics]:
    """Raw frames [3, 5, Y, X] of simulated microtubules."""
    config = configure("sim-3x5", fixed=True, size_px=192, photons=(photons, photons))
    field = simulate_pair(config, 3, 0, "microtubules")
    frames = torch.from_numpy(field.degraded.astype("float32")).reshape(3, 5, 192, 192)
    return frames, make_optics(1.45, 570.0, field.pixel_size_um)


@cache
def truth() -> SimParameters:
    """Measured from all frames of a bright recording of the same microscope, to fractions of a degree."""
    return estimate_parameters(*recording(2000))


def errors_deg(found: SimParameters, kept: list[int]) -> Tensor:
    """Error of the stripes' phase in the middle of the field, frame by frame: [A, N]."""
    known, middle = truth(), torch.full((2,), 96 * recording(2000)[1].pixel_size_um, dtype=torch.float64)
    turned = []
    for one, each in ((found, slice(None)), (known, kept)):
        same = torch.sign((one.wave_per_um * known.wave_per_um).sum(1, keepdim=True))
        turned.append(same * (one.phase_rad[:, each] + 2 * math.pi * (one.wave_per_um @ middle)[:, None]))
    return torch.rad2deg(torch.remainder(turned[0] - turned[1] + math.pi, 2 * math.pi) - math.pi)


@pytest.mark.parametrize("kept", [[0], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_a_frame_of_each_direction_shows_its_stripes(kept: list[int]) -> None:
    frames, optics = recording(2000)
    found = find_stripes(frames[:, kept], optics)
    assert ((found.period_nm / truth().period_nm - 1).abs() < 0.01).all()
    assert float(errors_deg(found, kept).abs().max()) < 20
    assert found.modulation.isnan().all()


def test_a_recording_too_dark_for_single_frames_shows_its_stripes_in_all_together() -> None:
    frames, optics = recording(2)
    with pytest.raises(NoStripesError):
        find_stripes(frames, optics)
    found = measure_stripes(frames, optics)
    assert ((found.period_nm / truth().period_nm - 1).abs() < 0.02).all()
    assert float(errors_deg(found, [0, 1, 2, 3, 4]).abs().median()) < 20


def test_known_vectors_are_taken_as_they_are() -> None:
    frames, optics = recording(2000)
    waves = truth().wave_per_um
    found = measure_stripes(frames[:, :1], optics, wave_per_um=waves)
    assert torch.equal(found.wave_per_um, waves)
    assert float(errors_deg(found, [0]).abs().max()) < 20
    with pytest.raises(InputError, match="must be"):
        find_stripes(frames, optics, wave_per_um=waves[:2])


def test_where_no_stripes_are_none_are_found() -> None:
    frames, optics = recording(2000)
    even = frames.mean((0, 1), keepdim=True).expand(3, 5, -1, -1)
    noise = torch.poisson(torch.full((3, 5, 192, 192), 20.0), generator=torch.Generator().manual_seed(1))
    for empty in (even, even[:, :1], noise, noise[:, :1], torch.full((3, 5, 64, 64), 7.0)):
        with pytest.raises(NoStripesError, match="do not stand out"):
            find_stripes(empty, optics)


@cache
def compiled():
    """What programs without Python measure with."""
    with quiet_jit():
        return torch.jit.script(known_stripes), torch.jit.script(place_orders)


@pytest.mark.parametrize("kept", [[0], [0, 2, 3], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("photons", [2000, 20])
def test_compiled_it_measures_the_same_and_places_orders_the_same(photons: int, kept: list[int]) -> None:
    frames, optics = recording(photons)
    frames, waves = frames[:, kept, :100, :131], truth().wave_per_um
    expected = measure_stripes(frames, optics, wave_per_um=waves)
    measure, place = compiled()
    found, well = measure(frames, optics.lens, waves, 2, known_power(3, len(kept), 2))
    assert well
    for name, value in found._asdict().items():
        torch.testing.assert_close(value, getattr(expected, name), equal_nan=True, rtol=0, atol=1e-10)
    wave, level, origin = waves * optics.pixel_size_um, float(frames.mean()), torch.tensor([[3, -8]])
    given = (expected.orders_rad, expected.modulation, expected.light, level, origin)
    orders = demodulate(frames[None], wave, *given)
    torch.testing.assert_close(place(frames[None], wave, *given), orders, rtol=0, atol=1e-6 * float(orders.abs().max()))


@pytest.mark.parametrize("phases", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (2, 3), (40, 33), (64, 64)])
def test_whatever_the_frames_known_stripes_and_orders_are_finite(phases: int, size: tuple[int, int]) -> None:
    optics, waves = recording(2000)[1], truth().wave_per_um
    noise = torch.poisson(torch.full((3, phases, *size), 5.0), generator=torch.Generator().manual_seed(3))
    one_blank = noise.clone()
    one_blank[0, 0] = 0
    measure, place = compiled()
    for frames in (
        noise,
        one_blank,
        torch.zeros_like(noise),
        torch.full_like(noise, 7.0),
        noise[:, :1].expand_as(noise),
    ):
        found, well = measure(frames, optics.lens, waves, 2, known_power(3, phases, 2))
        for name, value in found._asdict().items():
            assert name in ("modulation", "clarity") or value.isfinite().all()
        assert not well or phases < 5
        orders_rad = found.phase_rad[..., None] * torch.tensor([1.0, 2.0]) + found.offset_rad[:, None]
        placed = place(
            frames[None], waves * 0.06, orders_rad, found.modulation, found.light, float(frames.mean()), None
        )
        assert placed.shape == (1, 28, *size)
        assert placed.isfinite().all()
