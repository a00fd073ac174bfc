"""The simulator: spots of the right width at the right place, light conserved, noise of the camera only."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
import torch

from fluorsr.data.simulate import BLOCK_PX, SimulationConfig, render, simulate_field, simulate_pair
from fluorsr.data.specimens import Emitters
from fluorsr.errors import InputError
from fluorsr.optics.psf import FWHM_PER_SIGMA


def point(y: float, x: float, defocus: float = 0.0) -> Emitters:
    return Emitters(*(np.array([v], dtype=np.float32) for v in (y, x, 1.0, defocus)))


@pytest.mark.parametrize("defocus", [0.0, 0.2, 0.5])
def test_a_point_becomes_a_spot_of_the_right_place_width_and_light(defocus: float) -> None:
    """Second moments add: spot^2 + defocus^2 + what sharing light among four pixels adds (p (1 - p) pixels^2)."""
    pixel, fwhm = 0.03, 0.2
    spot = render([point(2.0, 2.507, defocus)], (134, 160), pixel, (fwhm,))[0].double()
    assert spot.sum().item() == pytest.approx(1, abs=1e-3)
    x = (torch.arange(160, dtype=torch.float64) + 0.5) * pixel
    mean = (spot.sum(0) * x).sum().item()
    assert mean == pytest.approx(2.507, abs=1e-3)
    variance = (spot.sum(0) * (x - mean) ** 2).sum().item()
    p = (2.507 / pixel - 0.5) % 1
    assert variance == pytest.approx((fwhm**2 + defocus**2) / FWHM_PER_SIGMA**2 + p * (1 - p) * pixel**2, rel=0.02)


def test_blocks_leave_no_trace() -> None:
    """A spot on the corner of four blocks is the spot that a single block renders."""
    pixel = 0.03
    edge = BLOCK_PX * pixel
    across = render([point(edge, edge, 0.4)], (BLOCK_PX + 40, BLOCK_PX + 40), pixel, (0.2,))[0]
    alone = render([point(edge - 984 * pixel, edge - 984 * pixel, 0.4)], (80, 80), pixel, (0.2,))[0]
    torch.testing.assert_close(across[984:, 984:], alone, atol=1e-6, rtol=0)


def test_sample_k_of_a_seed_is_always_the_same_and_no_other_is() -> None:
    config = SimulationConfig(size_px=32)
    first, second = simulate_pair(config, 7, 3), simulate_pair(config, 7, 3)
    np.testing.assert_array_equal(first.degraded, second.degraded)
    np.testing.assert_array_equal(first.target, second.target)
    assert not np.array_equal(first.degraded, simulate_pair(config, 7, 4).degraded)
    assert not np.array_equal(first.degraded, simulate_pair(config, 8, 3).degraded)


@pytest.mark.parametrize("structure", ["microtubules", "vesicles", "nuclei"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_target_and_input_have_the_same_mean_and_the_target_is_sharper(structure: str, scale: int) -> None:
    config = SimulationConfig(size_px=96, scale=scale, photons=(300, 300), density=(2, 2), haze=(0, 0), dark=(1, 1))
    field = simulate_pair(config, 11, 2, structure)
    assert field.degraded.shape == (96, 96)
    assert field.degraded.dtype == np.uint16
    assert field.target.shape == (96 * scale, 96 * scale)
    assert field.target.dtype == np.float32
    assert field.target_pixel_size_um == field.pixel_size_um / scale
    assert field.target.mean() == pytest.approx(field.degraded.mean(), rel=0.03)
    binned = field.target.reshape(96, scale, 96, scale).mean((1, 3))
    assert np.quantile(binned, 0.999) > np.quantile(field.degraded, 0.999)


def test_depth_zero_puts_everything_in_focus() -> None:
    """Then the truth has the finest spots everywhere, so it differs more from neighbour to neighbour."""
    config = SimulationConfig(size_px=64, photons=(300, 300), density=(2, 2), haze=(0, 0))
    sharp, deep = (
        simulate_pair(config.model_copy(update={"depth": depth}), 3, 1, "microtubules").target for depth in (0.0, 5.0)
    )
    assert np.abs(np.diff(sharp)).sum() > 1.2 * np.abs(np.diff(deep)).sum()


def test_photons_set_the_noise_free_peak() -> None:
    field = simulate_field(64, "microtubules", 3, photons=400, haze=0.0, density=2.0)
    camera = field.camera
    peak = (np.quantile(field.degraded, 0.999) - camera.offset) / camera.gain
    assert peak == pytest.approx(400 + 2, abs=5 * math.sqrt(400))


def test_a_bad_request_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match="there is no structure 'actin'; use one of microtubules, vesicles, nuclei"):
        simulate_field(64, "actin", 1)
    with pytest.raises(InputError, match=r"cannot simulate this field: photons: .*start above 0"):
        simulate_field(64, "vesicles", 1, photons=-5)
    with pytest.raises(InputError, match="seed -1 and index 0 must be at least 0"):
        simulate_field(64, "vesicles", -1)
    with pytest.raises(pydantic.ValidationError, match="weights of at least 0"):
        SimulationConfig(structures={"actin": 1.0})
