"""The camera's statistics against their closed forms."""

from __future__ import annotations

import pytest
import torch

from fluorsr.optics.camera import Camera


@pytest.mark.parametrize("photons", [3.0, 50.0, 800.0])
def test_mean_and_variance_are_those_of_shot_and_read_noise(photons: float) -> None:
    """Mean offset + gain * photons; variance gain^2 (photons + read_noise^2) plus 1/12 for rounding."""
    camera = Camera(offset=100, gain=2.5, read_noise=1.7)
    n = 400_000
    counts = camera.expose(torch.full((n,), photons), torch.Generator().manual_seed(1)).to(torch.float64)
    variance = 2.5**2 * (photons + 1.7**2) + 1 / 12
    assert counts.mean().item() == pytest.approx(100 + 2.5 * photons, abs=5 * (variance / n) ** 0.5)
    assert counts.var().item() == pytest.approx(variance, rel=0.015)
    assert camera.expected(torch.tensor(photons)).item() == 100 + 2.5 * photons


def test_it_saturates_at_its_depth_and_never_goes_below_zero() -> None:
    bright = Camera(offset=0, gain=10, bits=12).expose(torch.full((100,), 1e4), torch.Generator().manual_seed(1))
    assert bright.dtype == torch.uint16
    assert set(bright.tolist()) == {4095}
    dark = Camera(offset=0, read_noise=50).expose(torch.zeros(1000), torch.Generator().manual_seed(1))
    assert min(dark.tolist()) == 0


def test_the_same_seed_gives_the_same_exposure() -> None:
    light = torch.rand(20, 20) * 50
    first, second, other = (Camera().expose(light, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
