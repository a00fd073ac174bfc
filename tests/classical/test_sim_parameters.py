"""Stripes measured against the ones that were drawn."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import tifffile
import torch
from torch import Tensor

from fluorsr.classical.sim_orders import SimOptics, nominal_phases, separate
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.classical.sim_steps import Phases, evened, finer, leaving
from fluorsr.data.sim_frames import phase_step_errors_deg
from fluorsr.errors import InputError
from fluorsr.optics.microscope import Microscope

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
REAL = SimOptics(microscope=Microscope(numerical_aperture=1.49, emission_nm=600.0), pixel_size_um=0.06, damping=0.3)


def errors(measured: SimParameters, series) -> tuple[Tensor, Tensor, Tensor]:
    """Relative error of the periods, of the angles in degrees, and of the phases at the field's centre in degrees."""
    true = series.stripes.wave_per_um[:: series.illumination.phases]
    sign = torch.sign((measured.wave_per_um * true).sum(1, keepdim=True))
    wave, phase = sign * measured.wave_per_um, sign * measured.phase_rad
    centre = series.frames.shape[-1] / 2 * series.optics.pixel_size_um
    turn = 2 * math.pi * (wave - true).sum(1, keepdim=True) * centre
    wrong = phase + turn - series.stripes.phase_rad.reshape(phase.shape)
    angle = torch.atan2(wave[:, 0], wave[:, 1]) - torch.atan2(true[:, 0], true[:, 1])
    return (
        (true.norm(dim=1) / wave.norm(dim=1) - 1).abs(),
        torch.rad2deg(torch.remainder(angle + math.pi, 2 * math.pi) - math.pi).abs(),
        torch.rad2deg(torch.angle(torch.exp(1j * wrong))).abs(),
    )


def test_three_beams_are_measured(three_beams) -> None:
    measured = estimate_parameters(three_beams.frames, three_beams.optics)
    period, angle, phase = errors(measured, three_beams)
    assert period.max() < 1e-3
    assert angle.max() < 0.05
    assert phase.max() < 2.0
    torch.testing.assert_close(measured.modulation, torch.tensor([[0.6, 0.5]] * 3).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cos(measured.offset_rad), torch.ones(3, 2).double(), atol=2e-3, rtol=0)
    assert measured.strength.min() > 3
    assert measured.clarity.min() > 0.9


def test_two_beams_are_measured(two_beams) -> None:
    measured = estimate_parameters(two_beams.frames, two_beams.optics, beams=2)
    period, angle, phase = errors(measured, two_beams)
    assert period.max() < 1e-3
    assert angle.max() < 0.05
    assert phase.max() < 2.0
    torch.testing.assert_close(measured.modulation, torch.full((3, 1), 0.8).double(), atol=0.04, rtol=0)


def test_dark_frames_with_vectors_of_bright_ones(three_beams, simulate_sim) -> None:
    bright = estimate_parameters(three_beams.frames, three_beams.optics)
    dark = simulate_sim(three_beams.illumination, 20)
    measured = estimate_parameters(dark.frames, dark.optics, wave_per_um=bright.wave_per_um)
    assert torch.equal(measured.wave_per_um, bright.wave_per_um)
    assert errors(measured, dark)[2].max() < 8
    # Noise must not lower what is measured, save for what it hides.
    assert measured.modulation.min() > 0.4


def test_noise_does_not_even_the_steps(two_beams, simulate_sim) -> None:
    """Orders 0 and 1 of uneven steps share noise: as if it were signal, the steps would come out 3 % too even."""
    uneven = two_beams.illumination.model_copy(update={"phase_error_rad": math.radians(8)})
    both = true_power = 0.0
    for seed in (1, 2, 3):
        series = simulate_sim(uneven, 100, seed)
        waves = series.stripes.wave_per_um[:: uneven.phases]
        measured = estimate_parameters(series.frames, series.optics, beams=2, wave_per_um=waves)
        found, true = (
            torch.deg2rad(phase_step_errors_deg(replace(measured, phase_rad=each.reshape(3, -1))))
            for each in (measured.phase_rad, series.stripes.phase_rad)
        )
        both, true_power = both + float((found * true).sum()), true_power + float((true**2).sum())
    assert both / true_power == pytest.approx(1, abs=0.02)


def test_steps_are_as_even_as_their_errors_allow() -> None:
    zero = torch.zeros(3, 5).double()
    off = torch.deg2rad(torch.tensor([2.0, -1.0, 0.0, 1.0, -2.0])).double()
    phases = nominal_phases(5, 1)[:, 0] + off + torch.tensor([[0.3], [2.0], [-1.0]]).double()

    def steps(error_deg: float) -> Tensor:
        error = torch.full_like(zero, math.radians(error_deg))
        found = Phases(phases, zero[:, :2], zero[:, :2], zero + 1, zero + 1, error)
        return evened(found).phase_rad - nominal_phases(5, 1)[:, 0]

    torch.testing.assert_close(steps(0.01), off + torch.tensor([[0.3], [2.0], [-1.0]]).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps(3.0), steps(3.0)[:, :1].expand(-1, 5))
    # Half of their variance, 2.5 square degrees as of a sample, is error: half is kept.
    half = torch.rad2deg(steps(math.sqrt(1.25)))
    torch.testing.assert_close(
        half - half.mean(1, keepdim=True), torch.rad2deg(off).expand(3, -1) / 2, atol=0.01, rtol=0
    )


def test_frames_that_disagree_with_what_is_left_count_less() -> None:
    """Alone they are 10 degrees off and said to be sure to half a degree; what is left is right, and sure to 2."""
    nominal, wrong = (
        nominal_phases(3, 1)[:, 0].expand(2, -1),
        torch.tensor([[1.0, -2.0, 1.0], [-1.0, 2.0, -1.0]]).double(),
    )
    one = torch.ones(2, 3).double()

    def phases(off_deg: Tensor) -> Phases:
        error = torch.full_like(one, math.radians(0.5))
        return Phases(nominal + torch.deg2rad(off_deg), one[:, :1] * 0, one[:, :1], one, one, error)

    true = torch.deg2rad(wrong)
    left = torch.stack([leaving(nominal[:1].T, one[0]) @ each for each in true])
    size = left.std() / true.std()
    covariance = (size * math.radians(2)) ** 2 * torch.eye(2).double().expand(2, -1, -1)
    given = (phases(torch.zeros(2, 3)), left, covariance, torch.zeros(2, 1).double(), one[:, :1])
    for alone, most in ((wrong + torch.tensor([[10.0, -10.0, 0.0], [0.0, 10.0, -10.0]]), 2.5), (wrong, 0.01)):
        found = finer(phases(alone.double()), *given)
        assert float(torch.rad2deg(found.phase_rad - nominal - true).abs().max()) < most


def test_a_frame_that_is_brighter_is_told(three_beams) -> None:
    frames = three_beams.frames.clone()
    frames[1, 2] = 100 + 1.2 * (frames[1, 2] - 100)
    light = estimate_parameters(frames, three_beams.optics).light
    assert float(light[1, 2] / light[1].median()) == pytest.approx(1.2, abs=0.02)


def test_orders_come_apart_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    orders = torch.randn(3, 8, 8, generator=generator, dtype=torch.complex128)
    orders[0] = orders[0].real.to(torch.complex128)
    phases = nominal_phases(5, 2) + torch.tensor([0.3, 0.7])
    waves = torch.exp(1j * phases)[:, :, None, None] * orders[1:]
    frames = orders[0].real + 2 * waves.real.sum(1)
    torch.testing.assert_close(separate(frames, phases), orders)


def test_moving_the_grid_turns_the_phases(three_beams) -> None:
    measured = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)
    y, x = 16 * three_beams.optics.pixel_size_um, 8 * three_beams.optics.pixel_size_um
    cut = estimate_parameters(
        three_beams.frames[..., 16:, 8:], three_beams.optics, wave_per_um=measured.wave_per_um, rounds=1
    )
    turned = torch.angle(torch.exp(1j * (cut.phase_rad - measured.moved(y, x).phase_rad)))
    assert torch.rad2deg(turned).abs().max() < 6


def test_what_cannot_be_measured_is_refused(three_beams) -> None:
    frames, optics = three_beams.frames, three_beams.optics
    with pytest.raises(InputError, match=r"at least 2 angles and 32 pixels a side, not \(1, 5, 128, 128\)"):
        estimate_parameters(frames[:1], optics)
    with pytest.raises(InputError, match="5 orders need at least as many phases, not 3"):
        estimate_parameters(frames[:, :3], optics)
    with pytest.raises(InputError, match="finite"):
        estimate_parameters(frames / 0, optics)
    with pytest.raises(InputError, match=r"wave_per_um \(2, 2\) must be \(3, 2\)"):
        estimate_parameters(frames, optics, wave_per_um=torch.zeros(2, 2))
    with pytest.raises(InputError, match="do not tell 5 orders apart"):
        separate(frames[0], nominal_phases(5, 2) * 0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
@pytest.mark.parametrize("field", [1, 2, 3])
def test_real_stripes_are_those_of_the_grating(field: int) -> None:
    frames = torch.from_numpy(tifffile.imread(DATA / f"fov{field}_high_light_raw.tif").astype("float64"))
    camera = frames.reshape(3, 5, 128, 2, 128, 2).mean((3, 5))
    measured = estimate_parameters(camera, REAL)
    torch.testing.assert_close(measured.period_nm, torch.full((3,), 494.0).double(), atol=9, rtol=0)
    torch.testing.assert_close(measured.angle_deg, torch.tensor([13.9, -45.5, 74.4]).double(), atol=0.6, rtol=0)
    assert measured.modulation.min() > 0.25
