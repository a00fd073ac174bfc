"""Simulated raw SIM frames against the stripes that were drawn, and against real frames measured with the same code.

Real frames are kept upsampled twofold: both are compared on camera pixels, simulated ones upsampled and binned alike.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.data.registration import measure_shift
from fluorsr.data.scene import Scene
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.optics.microscope import Microscope

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
LENS = SimOptics(microscope=Microscope(numerical_aperture=1.49, emission_nm=600.0), pixel_size_um=0.06, damping=0.3)
ANGLES = (13.9, -45.5, 74.4)
LIKE_REAL = {
    "size_px": 128,
    "pixel_size_um": 0.06,
    "numerical_aperture": 1.49,
    "emission_nm": 600.0,
    "damping": 0.3,
    "period_um": 0.494,
    "directions_rad": tuple(math.radians(angle) for angle in ANGLES),
    "angle_error_rad": 0.0,
    "photons": 600.0,
    "gain": 2.17,
}
"""0.46 electrons a count, as sCMOS cameras of that time had."""


def measure(frames: NDArray[np.generic], *, phases: int = 5, beams: int = 3) -> SimParameters:
    cut = torch.from_numpy(frames.astype(np.float64)).unflatten(0, (3, phases))
    return estimate_parameters(cut, LENS, beams=beams)


def like_real(index: int = 0, **changes: object) -> Field:
    return simulate_pair(configure("sim-3x5", fixed=True, **(LIKE_REAL | changes)), 3, index, "microtubules")


def photon_transfer(frames: NDArray[np.float64], block: int = 16) -> float:
    """Slope of noise variance over mean in blocks of frames [F, N, N] of 60 nm pixels, from what no lens lets through.

    Only frequencies beyond the cut-off count, off the axes, and under a window: edges make power there, too.
    """
    n = frames.shape[-1]
    window = np.sqrt(np.outer(np.hanning(n), np.hanning(n)))
    f = np.fft.fftfreq(n, LENS.pixel_size_um)
    beyond = (np.hypot(f[:, None], f) > 1.2 * LENS.cutoff_per_um) & (np.abs(f[:, None]) > 1) & (np.abs(f) > 1)

    def blocks(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return image.reshape(n // block, block, n // block, block).mean((1, 3))

    weight = blocks(window**2)
    means, variances = [], []
    for frame in frames:
        noise = np.fft.ifft2(np.fft.fft2((frame - np.median(frame)) * window) * beyond).real
        means.append((blocks(frame * window**2) / weight)[weight > 0.2])
        variances.append((blocks(noise**2) / weight)[weight > 0.2] / beyond.mean())
    mean, variance = np.concatenate(means), np.concatenate(variances)
    sure = 1 / np.sqrt(mean - mean.min() + 0.1 * np.ptp(mean))
    return float(np.polyfit(mean, variance, 1, w=sure)[0])


def upsampled(frames: NDArray[np.uint16]) -> NDArray[np.float64]:
    """As the real frames came: twice as many pixels, and back to the camera's."""
    twice = torch.nn.functional.interpolate(
        torch.from_numpy(frames.astype(np.float64))[:, None], scale_factor=2.0, mode="bicubic"
    )
    return torch.nn.functional.avg_pool2d(twice, 2)[:, 0].numpy()


def real(name: str) -> NDArray[np.float64]:
    """Camera pixels [15, 128, 128] of real frames."""
    return tifffile.imread(DATA / f"{name}_raw.tif").astype(np.float64).reshape(15, 128, 2, 128, 2).mean((2, 4))


def test_three_beams_are_measured_as_they_were_drawn() -> None:
    still = {"thickness": 0.0, "focus_um": 0.0, "haze": 0.0, "depth_um": 0.0, "index_sample": 1.515}
    steady = {"modulation": 0.7, "second_modulation": 0.5, "modulation_loss": 0.0, "drift_um": 0.0}
    field = like_real(**still, **steady, phase_error_rad=0.0)
    found = measure(field.degraded)
    torch.testing.assert_close(found.period_nm, torch.full((3,), 494.0).double(), atol=2, rtol=0)
    torch.testing.assert_close(found.angle_deg, torch.tensor(ANGLES).double(), atol=0.3, rtol=0)
    assert float((found.modulation[:, 0] - 0.7).abs().max()) < 0.1
    assert 0.3 < float(found.modulation[:, 1].mean()) < 0.6
    steps = torch.tensor([0.0, 72, 144, 216, 288]).double()
    assert float(((found.step_deg - steps + 180) % 360 - 180).abs().max()) < 6


def test_two_beams_are_measured_as_they_were_drawn() -> None:
    changes = LIKE_REAL | {
        "period_um": 0.24,
        "emission_nm": 550.0,
        "thickness": 0.2,
        "haze": 0.0,
        "modulation_loss": 0.0,
    }
    field = simulate_pair(configure("sim-3x3", fixed=True, **changes), 3, 0, "microtubules")
    assert field.degraded.shape == (9, 128, 128)
    found = measure(field.degraded, phases=3, beams=2)
    torch.testing.assert_close(found.period_nm, torch.full((3,), 240.0).double(), atol=3, rtol=0)
    torch.testing.assert_close(found.angle_deg, torch.tensor(ANGLES).double(), atol=0.6, rtol=0)


def test_the_first_order_fades_with_height_and_the_second_does_not() -> None:
    """cos(2 pi w z) of the first order (Gustafsson et al. 2008) is 0 at z = 1 / (4 w)."""
    wave, axial = 1000 / 494.0, 1000 * 1.515 / (600 - 37.5)
    height = 1 / (4 * (axial - math.sqrt(axial**2 - wave**2)))
    flat = {
        "thickness": 0.0,
        "haze": 0.0,
        "depth_um": 0.0,
        "index_sample": 1.515,
        "modulation_loss": 0.0,
        "photons": 5e3,
    }
    ratios = []
    for z in (0.0, height):
        frames = like_real(focus_um=z, **flat).degraded[:5].astype(np.float64)
        orders = np.abs(np.fft.fft(frames, axis=0))[1:3].mean((1, 2))
        ratios.append(orders[0] / orders[1])
    assert ratios[1] < 0.4 * ratios[0]


def test_three_frames_are_the_first_of_each_direction() -> None:
    every = like_real()
    three = simulate_pair(configure("sim-3", fixed=True, **LIKE_REAL), 3, 0, "microtubules")
    assert three.degraded.shape == (3, 128, 128)
    np.testing.assert_allclose(three.target, every.target, rtol=1e-5)
    for frame, number in enumerate((0, 5, 10)):
        alike = [np.corrcoef(three.degraded[frame].ravel(), other.ravel())[0, 1] for other in every.degraded]
        assert int(np.argmax(alike)) == number


def test_the_mean_of_the_frames_is_the_wide_field_image_and_the_target_its_sharp_one() -> None:
    field = like_real(haze=0.0, thickness=0.1)
    wide = field.degraded.mean(0) - field.drawn["offset"]
    target = (field.target - field.drawn["offset"]).reshape(128, 2, 128, 2).mean((1, 3))
    assert np.corrcoef(wide.ravel(), target.ravel())[0, 1] > 0.85
    assert target.mean() == pytest.approx(wide.mean(), rel=0.1)
    assert np.quantile(target, 0.999) > np.quantile(wide, 0.999)


def test_later_frames_are_dimmer_by_what_bleached() -> None:
    bleached = like_real(bleaching=0.05).degraded.astype(np.float64)
    steady = like_real(bleaching=0.0).degraded.astype(np.float64)
    dark = configure("sim-3x5", fixed=True).offset[0]
    ratio = (bleached - dark).sum((1, 2)) / (steady - dark).sum((1, 2))
    np.testing.assert_allclose(ratio, 0.95 ** np.arange(15), atol=0.03)


def test_a_specimen_that_drifts_moves_under_the_stripes() -> None:
    """The mean over the phases of the last angle, against the same without drift: moved by what was drawn."""
    changes = {"bleaching": 0.0, "photons": 1e4, "phase_error_rad": 0.0}
    still, drifted = (like_real(drift_um=d, **changes) for d in (0.0, 0.03))
    scene = Scene(configure("sim-3x5", fixed=True, **(LIKE_REAL | changes), drift_um=0.03), 3, 0, "microtubules")
    means = [torch.from_numpy(each.degraded[10:].mean(0)) for each in (still, drifted)]
    found = measure_shift(means[0], means[1])
    y, x = (scene.stripes.drift_um[10:].mean(0) / 0.06).tolist()
    assert math.hypot(y, x) > 0.4
    assert (found.y, found.x) == (pytest.approx(y, abs=0.2), pytest.approx(x, abs=0.2))


@real_data
def test_orders_lie_where_the_real_ones_do() -> None:
    found = [measure(real(f"fov{n}_high_light")) for n in (1, 2, 3)]
    simulated = measure(like_real().degraded)
    periods = torch.stack([each.period_nm for each in found])
    assert float((simulated.period_nm - periods.mean(0)).abs().max()) < 8
    angles = torch.stack([each.angle_deg for each in found])
    assert float((simulated.angle_deg - angles.mean(0)).abs().max()) < 1.0


@real_data
def test_the_familys_modulation_spans_the_real_ones() -> None:
    """Medians of both orders over three real fields lie among those of simulated series, measured alike.

    The second order is measured to a few per cent, so its series are drawn at either end of the family.
    """
    found = torch.cat([measure(real(f"fov{n}_high_light")).modulation for n in (1, 2, 3)])
    usual = {**LIKE_REAL, "photons": (300.0, 1000.0)}

    def simulated(count: int, **changes: tuple[float, float]) -> torch.Tensor:
        config = configure("sim-3x5", **{**usual, **changes})
        series = [simulate_pair(config, 1, i, "microtubules").degraded for i in range(count)]
        return torch.cat([measure(each).modulation for each in series])

    first, second = found.median(0).values.tolist()
    typical = simulated(4)
    assert float(typical[:, 0].min()) < first < float(typical[:, 0].max())
    assert typical.median(0).values.tolist() == pytest.approx([first, second], abs=0.2)
    family = configure("sim-3x5", **usual)
    (least, most), (none, loss) = family.second_modulation, family.modulation_loss
    low = simulated(2, second_modulation=(least, least), modulation_loss=(loss, loss))
    high = simulated(2, second_modulation=(most, most), modulation_loss=(none, none))
    assert float(low[:, 1].max()) < second < float(high[:, 1].min())


@real_data
def test_noise_rises_with_light_as_in_the_real_frames() -> None:
    """Bright and 100 times darker frames of one camera have one slope, and simulated ones of its gain have it, too."""
    slopes = [photon_transfer(real(f"fov1_{light}_light")) for light in ("high", "low")]
    simulated = [photon_transfer(upsampled(like_real(photons=p).degraded)) for p in (600.0, 10.0)]
    assert slopes[0] == pytest.approx(slopes[1], rel=0.25)
    for slope in simulated:
        assert slope == pytest.approx(np.mean(slopes), rel=0.25)


def test_the_slope_is_the_gain_where_nothing_was_upsampled() -> None:
    assert photon_transfer(like_real().degraded.astype(np.float64)) == pytest.approx(LIKE_REAL["gain"], rel=0.1)
