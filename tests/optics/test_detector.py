"""The detector's statistics against their closed forms: photon transfer curves, and how pixels differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.detector import Detector

LEVELS = torch.tensor([0.0, 10.0, 40.0, 100.0, 250.0, 600.0])
"""Photons a pixel."""


def _transfer_curve(detector: Detector, levels: Tensor = LEVELS) -> tuple[float, float]:
    """Slope and intercept of variance over mean of flat exposures, weighted as their errors ask for."""
    flat = levels[:, None, None].expand(-1, 300, 300)
    counts = detector.expose(flat, torch.Generator().manual_seed(5)).double().flatten(1)
    mean, variance = counts.mean(1) - detector.offset, counts.var(1)
    slope, intercept = np.polyfit(mean.numpy(), variance.numpy(), 1, w=(1 / variance).numpy())
    return float(slope), float(intercept)


@pytest.mark.parametrize(("gain", "read_noise", "efficiency"), [(1.0, 1.5, 1.0), (2.2, 3.0, 0.7), (0.5, 2.0, 0.4)])
def test_variance_over_mean_is_a_line_of_slope_gain(gain: float, read_noise: float, efficiency: float) -> None:
    detector = Detector(gain=gain, read_noise=read_noise, quantum_efficiency=efficiency)
    slope, intercept = _transfer_curve(detector)
    assert slope == pytest.approx(gain, rel=0.01)
    assert intercept == pytest.approx((gain * read_noise) ** 2 + 1 / 12, rel=0.02)


def test_an_em_register_doubles_the_slope_and_hides_the_read_noise() -> None:
    """Excess noise factor 2; the read noise counts 1 / em_gain as much."""
    detector = Detector(em_gain=100, read_noise=50, gain=4)
    slope, intercept = _transfer_curve(detector)
    assert slope == pytest.approx(2 * 4, rel=0.015)
    assert intercept == pytest.approx((4 * 50 / 100) ** 2 + 1 / 12, rel=0.03)


def test_the_mean_is_what_is_expected() -> None:
    for detector in (Detector(quantum_efficiency=0.6, dark_electrons=3, gain=1.7), Detector(em_gain=300, gain=5)):
        photons = torch.full((200, 200), 80.0)
        counts = detector.expose(photons, torch.Generator().manual_seed(1)).double()
        sigma = float(counts.std()) / 200
        assert float(counts.mean()) == pytest.approx(float(detector.expected(photons)[0, 0]), abs=5 * sigma)


def test_it_saturates_at_its_depth_and_at_its_full_well() -> None:
    bright = torch.full((4, 9, 9), 1e6)
    twelve = Detector(bits=12).expose(bright, torch.Generator().manual_seed(1))
    assert (twelve.dtype, set(twelve.flatten().tolist())) == (torch.uint16, {4095})
    full = Detector(full_well_electrons=5000, gain=2, offset=10, read_noise=0)
    assert set(full.expose(bright, torch.Generator().manual_seed(1)).flatten().tolist()) == {10010}
    dark = Detector(offset=0, read_noise=50).expose(torch.zeros(20, 20), torch.Generator().manual_seed(1))
    assert min(dark.flatten().tolist()) == 0


def test_pixels_of_an_scmos_differ_in_the_way_that_was_asked_for() -> None:
    detector = Detector(read_noise=2, read_noise_spread=0.4, gain_spread=0.05, offset_spread=3, gain=2)
    assert detector.varies
    maps = detector.draw_maps((60, 50), torch.Generator().manual_seed(4))
    assert float(torch.log(maps.read_noise / 2).std()) == pytest.approx(0.4, rel=0.05)
    assert float(maps.gain.std()) == pytest.approx(0.1, rel=0.05)
    assert float(maps.offset.std()) == pytest.approx(3, rel=0.05)
    counts = detector.expose(torch.zeros(2000, 60, 50), torch.Generator().manual_seed(6), maps).float()
    measured, expected = counts.std(0), torch.sqrt((maps.gain * maps.read_noise) ** 2 + 1 / 12)
    np.testing.assert_allclose(measured, expected, rtol=0.09)
    np.testing.assert_allclose(counts.mean(0), maps.offset, atol=1.0)


def test_hot_pixels_stay_where_they_are() -> None:
    detector = Detector(hot_fraction=0.01, hot_electrons=400)
    maps = detector.draw_maps((300, 300), torch.Generator().manual_seed(4))
    hot = maps.dark_electrons > 0
    assert float(hot.float().mean()) == pytest.approx(0.01, abs=0.0015)
    assert float(maps.dark_electrons[hot].mean()) == pytest.approx(400, rel=0.12)
    first, second = detector.expose(torch.zeros(2, 300, 300), torch.Generator().manual_seed(6), maps).float()
    assert float(((first > 130) != (second > 130)).float().mean()) < 5e-4
    assert float((first > 130)[hot].float().mean()) > 0.85
    assert not bool((first > 130)[~hot].any())


def test_the_same_seed_gives_the_same_exposure() -> None:
    detector, light = Detector(em_gain=50), torch.full((8, 8), 20.0)
    first, second, other = (detector.expose(light, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_misuse_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(InputError, match=r"photons must be at least 0, not -1; clip the image"):
        Detector().expose(torch.tensor([[-1.0]]), generator)
    with pytest.raises(InputError, match=r"not nan"):
        Detector().expose(torch.tensor([[float("nan")]]), generator)
    varied = Detector(gain_spread=0.1)
    with pytest.raises(InputError, match=r"draw their maps once with draw_maps"):
        varied.expose(torch.zeros(4, 4), generator)
    with pytest.raises(InputError, match=r"maps of \(3, 4\) pixels do not fit an image of \(4, 4\)"):
        varied.expose(torch.zeros(4, 4), generator, varied.draw_maps((3, 4), generator))
    with pytest.raises(ValidationError, match="must be 1 \\(no register\\) or at least 10"):
        Detector(em_gain=2)
