"""What two orders share, against closed forms and stripes that were drawn."""

from __future__ import annotations

import math

import pytest
import torch

from fluorsr.classical.sim_parameters import estimate_parameters
from fluorsr.classical.sim_scene import periodic


def test_of_a_slope_one_pixel_is_left() -> None:
    """Its jump is all but one of its steps, and that share of it is smooth."""
    y, x = torch.arange(24).double()[:, None], torch.arange(40).double()
    image = 3 + 0.5 * y - 0.2 * x
    share = torch.ones(24, 40).double()
    share[0], share[:, 0] = 1 / 40, 1 / 24
    share[0, 0] = 1
    torch.testing.assert_close(periodic(image), torch.fft.fft2(image) * share)


def test_opposite_edges_meet() -> None:
    image = torch.randn(64, 48, generator=torch.Generator().manual_seed(0)).double().cumsum(0).cumsum(1)
    made = torch.fft.ifft2(periodic(image)).real
    assert float((image[0] - image[-1]).abs().mean()) > 3 * float(image.diff(dim=0).abs().mean())
    assert float((made[0] - made[-1]).abs().mean()) < 1.5 * float(made.diff(dim=0).abs().mean())


@pytest.fixture(scope="module")
def bright(two_beams, simulate_sim):
    return simulate_sim(two_beams.illumination, 1e5)


@pytest.mark.parametrize("damping", [0.2, 1.0])
def test_a_lens_that_is_not_as_told_changes_nothing(damping: float, bright) -> None:
    """The frames' lens has a damping of 0.9: modulation 0.8 is found to 2 %, and the window lengthens no vector."""
    series, optics = bright, bright.optics.model_copy(update={"damping": damping})
    measured = estimate_parameters(series.frames, optics, beams=2)
    torch.testing.assert_close(measured.modulation, torch.full((3, 1), 0.8).double(), atol=0.016, rtol=0)
    true = series.stripes.wave_per_um[:: series.illumination.phases].norm(dim=1)
    assert float((measured.wave_per_um.norm(dim=1) / true - 1).abs().max()) < 3e-4


def test_haze_takes_nothing_off_the_modulation(three_beams) -> None:
    """Light without stripes, as bright as the specimen and smooth over 2 um."""
    y = torch.arange(three_beams.frames.shape[-2]).double()[:, None] * three_beams.optics.pixel_size_um
    haze = 300 * (1 + 0.8 * torch.sin(2 * math.pi * y / 2.0))
    measured = estimate_parameters(three_beams.frames + haze, three_beams.optics)
    torch.testing.assert_close(measured.modulation, torch.tensor([[0.6, 0.5]] * 3).double(), atol=0.03, rtol=0)
