"""Stripes against explicit interference of plane waves, and their orders against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fluorsr.errors import InputError
from fluorsr.optics.illumination import SimIllumination, even_directions, sim_frames, sim_patterns

f64 = torch.float64


def test_three_beams_interfere_as_plane_waves_do() -> None:
    """|sum of three waves|^2 over y, x and z, divided by its mean; equal polarisations."""
    n, wavelength_um, period_um, angle, phase, centre = 1.4, 0.488, 0.45, 0.7, 1.1, 1.3
    k, sphere = 1 / period_um, n / wavelength_um
    total = centre**2 + 2
    s = SimIllumination(
        directions_rad=(angle,),
        phases=1,
        period_um=period_um,
        modulation=(4 * centre / total, 2 / total),
        first_phases_rad=(phase,),
        wavelength_nm=488,
        index_sample=n,
    )
    z = torch.linspace(-1.5, 1.5, 31, dtype=f64)
    pattern = sim_patterns(s, sim_frames(s), (20, 24), (0.07, 0.05), z)
    assert pattern.shape == (1, 31, 20, 24)
    y, x = (np.arange(20) + 0.5) * 0.07, (np.arange(24) + 0.5) * 0.05
    along = math.sin(angle) * y[:, None] + math.cos(angle) * x
    field = centre * np.exp(2j * np.pi * sphere * z.numpy())[:, None, None] * np.ones_like(along)
    for sign in (1, -1):
        side = sign * (2 * np.pi * k * along + phase)
        field = field + np.exp(1j * (side + 2 * np.pi * math.sqrt(sphere**2 - k**2) * z.numpy()[:, None, None]))
    np.testing.assert_allclose(pattern[0], np.abs(field) ** 2 / total, atol=1e-9)
    assert float(pattern.min()) > -1e-12


def test_two_beams_draw_one_order_at_all_depths() -> None:
    s = SimIllumination(phases=3, period_um=0.2, modulation=(0.8,))
    frames = sim_frames(s)
    z = torch.tensor([0.0, 0.31], dtype=f64)
    volume = sim_patterns(s, frames, (16, 16), (0.04, 0.04), z)
    assert (s.beams, s.axial_per_um) == (2, 0.0)
    assert torch.equal(volume[:, 0], volume[:, 1])
    assert torch.equal(volume[:, 0], sim_patterns(s, frames, (16, 16), (0.04, 0.04)))
    x = (np.arange(16) + 0.5) * 0.04
    np.testing.assert_allclose(volume[0, 0, 3], 1 + 0.8 * np.cos(2 * np.pi * x / 0.2), atol=1e-12)


def test_orders_lie_where_theory_puts_them() -> None:
    """Their peaks in the Fourier transform, found by a correlation with the wave at exactly that frequency."""
    s = SimIllumination(
        period_um=0.494, modulation=(0.6, 0.4), directions_rad=even_directions(3, 0.2), first_phases_rad=(0.1, 0.5, 0.3)
    )
    frames = sim_frames(s)
    side, pixel_um = 512, 0.03
    patterns = sim_patterns(s, frames, (side, side), (pixel_um, pixel_um))
    assert patterns.shape == (15, side, side)
    orders = frames.orders_per_um()
    assert orders.shape == (15, 2, 2)
    np.testing.assert_allclose(torch.linalg.vector_norm(orders, dim=-1), np.tile([1 / 0.494, 2 / 0.494], (15, 1)))
    place = (np.arange(side) + 0.5) * pixel_um
    window = np.outer(np.hanning(side), np.hanning(side))
    spectrum = np.abs(np.fft.fft2(patterns[7].numpy() * window))
    step = 1 / (side * pixel_um)
    for order, modulation in ((0, 0.6), (1, 0.4)):
        ky, kx = orders[7, order].tolist()
        wave = np.exp(-2j * np.pi * (ky * place[:, None] + kx * place))
        peak = (patterns[7].numpy() * window * wave).sum() / window.sum()
        assert abs(peak) == pytest.approx(modulation / 2, rel=1e-3)
        phase = (order + 1) * (0.5 + 2 * math.pi * 2 / 5)
        assert math.remainder(np.angle(peak) - phase, 2 * math.pi) == pytest.approx(0, abs=1e-3)
        # The transform's highest point within four frequencies of it is the nearest there is.
        fy, fx = round(ky / step), round(kx / step)
        near = [(abs(spectrum[(fy + i) % side, (fx + j) % side]), i, j) for i in range(-4, 5) for j in range(-4, 5)]
        assert max(abs(max(near)[1]), abs(max(near)[2])) <= 1


def test_frames_come_angle_by_angle_and_add_up_to_even_light() -> None:
    """Frame = phases * angle + phase; over the phases of an angle both orders cancel."""
    s = SimIllumination(directions_rad=even_directions(3, 0.1), phases=5, modulation=(0.6, 0.5))
    frames = sim_frames(s)
    angle = torch.atan2(frames.wave_per_um[:, 0], frames.wave_per_um[:, 1])
    np.testing.assert_allclose(angle, np.repeat(0.1 + np.arange(3) * np.pi / 3, 5), atol=1e-12)
    np.testing.assert_allclose(frames.phase_rad, np.tile(np.arange(5) * 2 * np.pi / 5, 3), atol=1e-12)
    assert not frames.drift_um.any()
    patterns = sim_patterns(s, frames, (32, 32), (0.05, 0.05)).reshape(3, 5, 32, 32)
    np.testing.assert_allclose(patterns.mean(1), 1, atol=1e-12)


def test_errors_have_the_spread_that_was_asked_for() -> None:
    s = SimIllumination(
        directions_rad=even_directions(32),
        phases=32,
        angle_error_rad=0.01,
        phase_error_rad=0.2,
        drift_um=0.005,
        modulation_loss=0.4,
    )
    frames = sim_frames(s, torch.Generator().manual_seed(3))
    ideal = sim_frames(SimIllumination(directions_rad=even_directions(32), phases=32))
    assert float((frames.phase_rad - ideal.phase_rad).std()) == pytest.approx(0.2, rel=0.1)
    angles = [torch.atan2(f.wave_per_um[::32, 0], f.wave_per_um[::32, 1]) for f in (frames, ideal)]
    off = torch.remainder(angles[0] - angles[1] + math.pi / 2, math.pi) - math.pi / 2
    assert float(off.std()) == pytest.approx(0.01, rel=0.4)
    np.testing.assert_allclose(frames.wave_per_um.norm(dim=1), 1 / 0.494)
    assert frames.drift_um[0].tolist() == [0.0, 0.0]
    assert float(frames.drift_um.diff(dim=0).std()) == pytest.approx(0.005, rel=0.1)
    kept = frames.modulation / torch.tensor(s.modulation)
    assert 0.6 <= float(kept.min()) < 0.65
    assert 0.95 < float(kept.max()) <= 1
    np.testing.assert_allclose(kept.reshape(32, 64), kept.reshape(32, 64)[:, :1].expand(-1, 64), rtol=1e-6)
    again = sim_frames(s, torch.Generator().manual_seed(3))
    assert torch.equal(frames.phase_rad, again.phase_rad)


def test_the_first_order_fades_and_returns_along_z() -> None:
    """At a quarter of its axial period it is gone, at half it is turned over."""
    s = SimIllumination(modulation=(0.8, 0.4))
    quarter = 0.25 / s.axial_per_um
    patterns = sim_patterns(s, sim_frames(s), (1, 64), (0.03, 0.03), torch.tensor([0, quarter, 2 * quarter], dtype=f64))
    x = 2 * np.pi * (np.arange(64) + 0.5) * 0.03 / 0.494
    for plane, sign in zip(patterns[0], (1, 0, -1), strict=True):
        np.testing.assert_allclose(plane[0], 1 + sign * 0.8 * np.cos(x) + 0.4 * np.cos(2 * x), atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modulation": (1.2,)}, r"leave no negative light \(lowest -0.200\)"),
        ({"modulation": (0.5, 1.1)}, "leave no negative light"),
        ({"modulation": (-0.1,)}, "must be at least 0"),
        ({"modulation": (0.5, 0.2, 0.1)}, "at most 2 items"),
        (
            {"period_um": 0.3},
            "period_um 0.3 must be at least 0.3221: 3 beams of 488 nm in index 1.515 cannot draw finer",
        ),
        ({"first_phases_rad": (0.1, 0.2)}, "has 2 phases for 3 directions; give one for each, or none"),
        ({"period_um": 0.15, "modulation": (0.5,)}, "must be at least 0.1611: 2 beams"),
    ],
)
def test_light_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimIllumination.model_validate(settings)


def test_random_errors_need_a_generator() -> None:
    with pytest.raises(InputError, match=r"drawn at random; give a torch.Generator, or set them to 0"):
        sim_frames(SimIllumination(phase_error_rad=0.1))
