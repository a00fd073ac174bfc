"""Wiener reconstruction: against the truth, against wide-field, and on real frames."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import tifffile
import torch
from torch import Tensor

from fluorsr.classical.bicubic import upsample
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import estimate_parameters
from fluorsr.classical.wiener_sim import WienerOptions, WienerSim, reconstruct
from fluorsr.data.registration import fourier_shift, measure_shift
from fluorsr.errors import InputError
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.frc import frc
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.ssim import ssim
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.psf import gaussian_blur

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
REAL = SimOptics(microscope=Microscope(numerical_aperture=1.49, emission_nm=600.0), pixel_size_um=0.06, damping=0.3)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
INNER = (slice(16, -16), slice(16, -16))


def restore(sim: WienerSim, frames: Tensor, y: int = 0, x: int = 0) -> Tensor:
    """One field [A, N, Y, X] -> [2 Y, 2 X]."""
    return sim.restore(frames.flatten(0, 1)[None].float(), torch.tensor([[y, x]]), 0)[0, 0]


def judge(image: Tensor, truth: Tensor) -> tuple[float, float]:
    """PSNR in dB against the truth seen with a 100 nm spot, and the resolution by FRC against the bare truth in nm."""
    seen = gaussian_blur(truth.float()[None, None], 100 / 30)[0, 0][INNER]
    fitted = fit_intensity(image.float()[INNER], seen)
    resolution = frc(image.float()[INNER], truth.float()[INNER], pixel_size_um=0.03)
    return float(psnr(fitted, seen, data_range=float(seen.max()))), float(resolution)


@pytest.mark.parametrize(("beams", "photons"), [(3, 2000), (3, 200), (3, 20), (2, 2000), (2, 200)])
def test_it_resolves_twice_as_much_as_wide_field(beams, photons, simulate_sim, three_beams, two_beams) -> None:
    bright = three_beams if beams == 3 else two_beams
    wave = 1 / 0.40 if beams == 3 else 1 / 0.20
    illumination = bright.illumination.model_copy(update={"period_um": 1 / wave})
    series = simulate_sim(illumination, photons)
    phases = illumination.phases
    image = restore(WienerSim(series.optics, phases=phases, beams=beams), series.frames)
    wide = upsample(series.frames.mean((0, 1))[None, None].float(), 2)[0, 0]
    (sharp_db, sharp_nm), (wide_db, wide_nm) = judge(image, series.truth), judge(wide, series.truth)
    assert sharp_db > wide_db
    assert wide_nm / sharp_nm > (1.7 if photons >= 200 else 1.4), (wide_nm, sharp_nm)


def test_light_is_kept_and_dim_light_changes_nothing_but_noise(three_beams) -> None:
    sim = WienerSim(three_beams.optics)
    image = restore(sim, three_beams.frames)
    assert float(image.mean()) == pytest.approx(float(three_beams.frames.mean()), rel=1e-4)
    scaled = restore(sim, (three_beams.frames - 100) / 1000)
    torch.testing.assert_close(scaled, (image - 100) / 1000, atol=2e-3, rtol=0)


def test_given_parameters_follow_the_tile(three_beams) -> None:
    found = estimate_parameters(three_beams.frames, three_beams.optics)
    sim = WienerSim(three_beams.optics, parameters=found)
    whole = restore(sim, three_beams.frames)
    tile = restore(sim, three_beams.frames[..., 24:, 10:], 24, 10)
    centre = (slice(48, -48), slice(48, -48))
    expected = whole[48:, 20:][centre]
    spread = float((fit_intensity(tile[centre], expected) - expected).std() / expected.std())
    assert spread < 0.1
    lost = restore(sim, three_beams.frames[..., 24:, 10:], 0, 0)[centre]
    assert float((fit_intensity(lost, expected) - expected).std() / expected.std()) > 3 * spread


def test_a_batch_of_time_points_is_each_of_them(three_beams) -> None:
    found = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)
    sim = WienerSim(three_beams.optics, parameters=found)
    frames = three_beams.frames.flatten(0, 1).float()
    batch = torch.stack([frames, 0.5 * frames, frames.flip(0)])
    together = sim.restore(batch, torch.zeros(3, 2, dtype=torch.int64), 0)
    assert together.shape == (3, 1, 256, 256)
    for image, each in zip(together, batch, strict=True):
        alone = sim.restore(each[None], torch.zeros(1, 2, dtype=torch.int64), 0)[0]
        torch.testing.assert_close(image, alone, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5])
def test_an_empty_field_comes_out_empty(three_beams, value) -> None:
    found = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)
    image = restore(WienerSim(three_beams.optics, parameters=found), torch.full((3, 5, 64, 64), value))
    assert torch.isfinite(image).all()
    torch.testing.assert_close(image, torch.full_like(image, value), atol=1e-4, rtol=0)


def test_options_do_what_they_say(three_beams) -> None:
    found = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)

    def spectrum(**options: float) -> Tensor:
        image = reconstruct(three_beams.frames[None], found, three_beams.optics, WienerOptions(**options))[0]
        return torch.fft.fft2(image - image.mean()).abs()

    usual = spectrum(attenuation=0.0)
    f = torch.fft.fftfreq(256, 0.03)
    k = torch.hypot(f[:, None], f)
    low, high = (k > 0) & (k < 0.4), (k > 7) & (k < 8)
    # The specimen is in focus, so attenuation changes little; w and the apodisation take the high frequencies.
    assert 0.5 < spectrum(attenuation=0.9)[low].mean() / usual[low].mean() < 1.5
    assert spectrum(attenuation=0.0, wiener=1.0)[high].mean() < 0.3 * usual[high].mean()
    assert spectrum(attenuation=0.0, apodisation=2.0)[high].mean() < 0.3 * usual[high].mean()


def test_a_notch_keeps_wrong_phases_out_of_the_coarse_structure(three_beams) -> None:
    found = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)
    wrong = replace(found, phase_rad=found.phase_rad + 1.0)
    f = torch.fft.fftfreq(256, 0.03)
    low = torch.hypot(f[:, None], f) < 0.3

    def change(notch: float) -> float:
        options = WienerOptions(attenuation=0.99, notch=notch, notch_width=0.6)
        images = [
            reconstruct(three_beams.frames[None], each, three_beams.optics, options)[0] for each in (found, wrong)
        ]
        right, other = (torch.fft.fft2(image - image.mean())[low] for image in images)
        return float((right - other).abs().mean() / right.abs().mean())

    assert change(1.0) < 0.3 * change(0.0), (change(1.0), change(0.0))


def test_what_it_cannot_do_is_refused(three_beams) -> None:
    with pytest.raises(InputError, match=r"3 beams, 3 angles and 3 phases.*phases at least 5"):
        WienerSim(three_beams.optics, phases=3)
    found = estimate_parameters(three_beams.frames, three_beams.optics, rounds=1)
    with pytest.raises(InputError, match=r"do not fit \(3, 3, 1\)"):
        WienerSim(three_beams.optics, phases=3, beams=2, parameters=found)
    noise = torch.rand(3, 5, 96, 96, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="no structure above their noise"):
        restore(WienerSim(three_beams.optics), noise)
    even = three_beams.frames.mean(1, keepdim=True).expand(3, 5, 128, 128)
    with pytest.raises(InputError, match=r"the stripes do not stand out: strength .* give period_um, or parameters"):
        restore(
            WienerSim(three_beams.optics), even + torch.rand(3, 5, 128, 128, generator=torch.Generator().manual_seed(0))
        )
    assert WienerSim(three_beams.optics).spec.to_json()["name"] == "wiener-sim15-x2"


def bright(field: int) -> tuple[Tensor, Tensor]:
    """Camera frames [3, 5, 128, 128] and the reference [256, 256] scaled to 0 and 1."""
    raw = torch.from_numpy(tifffile.imread(DATA / f"fov{field}_high_light_raw.tif").astype("float32"))
    reference = torch.from_numpy(tifffile.imread(DATA / f"fov{field}_high_light_sim.tif").astype("float32"))
    return raw.reshape(3, 5, 128, 2, 128, 2).mean((3, 5)), reference / reference.max()


def against(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM after a linear fit, borders of 8 pixels left out."""
    inner = (slice(8, -8), slice(8, -8))
    target = reference[inner]
    fitted = fit_intensity(image[inner], target)
    return float(psnr(fitted, target, data_range=1.0)), float(ssim(fitted, target, data_range=1.0))


@needs_data
@pytest.mark.parametrize(("field", "least"), [(1, (26.9, 27.8)), (2, (21.7, 23.0)), (3, (26.3, 26.8))])
def test_real_frames(field: int, least: tuple[float, float]) -> None:
    """As the reference lies, and with its shift taken off; what is left in field 2 is a distortion of 1 %."""
    frames, reference = bright(field)
    image = restore(WienerSim(REAL), frames)
    assert against(image, reference)[0] > least[0]
    shift = measure_shift(reference, image)
    registered = against(fourier_shift(image, (-shift.y, -shift.x)), reference)
    assert registered[0] > least[1]
    assert registered[1] > (0.8 if field != 2 else 0.7)
    wide = upsample(frames.mean((0, 1))[None, None], 2)[0, 0]
    assert registered[0] > against(wide, reference)[0] + 5


@needs_data
def test_real_dark_frames_beat_dark_wide_field() -> None:
    frames, reference = bright(1)
    vectors = estimate_parameters(frames, REAL).wave_per_um
    raw = torch.from_numpy(tifffile.imread(DATA / "fov1_low_light_raw.tif").astype("float32"))
    dark = raw.reshape(3, 5, 128, 2, 128, 2).mean((3, 5))
    found = estimate_parameters(dark, REAL, wave_per_um=vectors)
    image = restore(WienerSim(REAL, parameters=found), dark)
    wide = upsample(dark.mean((0, 1))[None, None], 2)[0, 0]
    restored, plain = against(image, reference), against(wide, reference)
    assert restored[0] > plain[0] + 2
    assert restored[1] > plain[1] + 0.07
