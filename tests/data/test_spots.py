"""Spots as transfer functions, against what they were made of and what they must be."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fluorsr.data.spots import FAR, FOCUS, PLANES_UM, Spots, make_spots
from fluorsr.errors import InputError
from fluorsr.optics.confocal import confocal_psf
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import frequency_grid, widefield_otf
from fluorsr.optics.widefield import widefield_psf

LENS = Microscope(numerical_aperture=1.2, emission_nm=620.0, excitation_nm=590.0, depletion_nm=775.0)
STEP = 0.03


def spot(spots: Spots, table: torch.Tensor, size: int = 200) -> torch.Tensor:
    """Each plane's spot on pixels of STEP, its centre at [size // 2, size // 2]: [Z, Y, X]."""
    transfer = spots.spread(table, frequency_grid((size, size), (STEP, STEP)))
    return torch.fft.fftshift(torch.fft.irfft2(transfer, s=(size, size)), dim=(-2, -1))


def fwhm_um(image: torch.Tensor) -> float:
    """Along x through the centre, by linear interpolation."""
    line = image[image.shape[0] // 2, image.shape[1] // 2 :]
    n = int((line >= line[0] / 2).sum())
    return 2 * STEP * (n - 1 + float((line[n - 1] - line[0] / 2) / (line[n - 1] - line[n])))


@pytest.mark.parametrize(("confocal", "psf"), [(True, confocal_psf), (False, widefield_psf)])
def test_input_spots_are_those_of_the_optics(confocal: bool, psf) -> None:
    spots = make_spots(LENS, confocal, "sted", 0.11, 0.0)
    found = spot(spots, spots.image)
    for plane in (FOCUS, FOCUS + 2, FOCUS + 3):
        z = torch.zeros(1, dtype=torch.float64)
        expected = psf(LENS, (200, 200), (STEP, STEP), z_um=z, depth_um=PLANES_UM[plane])[0]
        # Only the tail beyond the margin is missing, or put inside.
        torch.testing.assert_close(found[plane].double(), expected, atol=0.03 * float(expected.max()), rtol=0)


@pytest.mark.parametrize("target", [0.05, 0.08, 0.11])
@pytest.mark.parametrize("confocal", [True, False])
def test_a_sted_target_has_the_width_that_was_asked_for(confocal: bool, target: float) -> None:
    spots = make_spots(LENS, confocal, "sted", target, 0.0)
    focus = spot(spots, spots.target)[FOCUS]
    assert fwhm_um(focus) == pytest.approx(target, rel=0.08 if target < 0.1 else 0.03)
    assert focus.sum().item() == pytest.approx(1, abs=1e-4)


def test_a_sim_target_is_the_closed_form_at_1_8_times_the_cut_off_and_does_not_ring_below_zero() -> None:
    spots = make_spots(LENS, False, "sim", 0.11, 0.0)
    frequency = torch.linspace(0, 10, 400, dtype=torch.float64)
    found = spots.spread(spots.target, frequency[None])[FOCUS, 0]
    torch.testing.assert_close(found.double(), widefield_otf(LENS, frequency / 1.8), atol=2e-3, rtol=0)
    focus = spot(spots, spots.target)[FOCUS]
    assert focus.min() > -2e-3 * focus.max()


def test_a_confocals_target_fades_with_depth_as_its_input_does() -> None:
    spots = make_spots(LENS, True, "sted", 0.11, 0.0)
    torch.testing.assert_close(spots.image[:, 0], spots.target[:, 0], atol=1e-5, rtol=1e-4)
    assert spots.image[FAR, 0] < 0.05
    assert spots.haze[0] == pytest.approx(spots.haze[1])


def test_wide_field_keeps_light_out_of_focus_and_its_target_does_not() -> None:
    spots = make_spots(LENS, False, "sim", 0.11, 0.0)
    torch.testing.assert_close(spots.image[:, 0], torch.ones(len(PLANES_UM)), atol=1e-5, rtol=0)
    assert spots.target[FAR, 0] < 0.03
    widths = [fwhm_um(plane) for plane in spot(spots, spots.target)[FOCUS : FOCUS + 4]]
    assert all(narrow < wide for narrow, wide in itertools.pairwise(widths))
    # Out of focus, no frequency that the input has lost comes back sharp.
    assert spots.target[FOCUS + 4, int(3 / spots.step_per_um)] < 0.05 * spots.target[FOCUS + 4, 0]


def test_a_sim_target_stays_sharp_within_the_depth_of_field_and_is_haze_beyond() -> None:
    target = make_spots(LENS, False, "sim", 0.11, 0.0).target
    step = make_spots(LENS, False, "sim", 0.11, 0.0).step_per_um
    shares = [float(target[plane, int(4 / step)] / target[plane, 0]) for plane in range(FOCUS, FOCUS + 5)]
    assert shares[1] > 0.95 * shares[0]
    assert shares[4] < 0.05 * shares[0]
    assert target[FOCUS + 1, 0] < 0.9 * target[FOCUS, 0]


def test_a_mismatched_sample_blurs_one_side_more() -> None:
    deep = make_spots(LENS.model_copy(update={"index_sample": 1.38}), False, "sim", 0.11, 4.0)
    flat = make_spots(LENS, False, "sim", 0.11, 4.0)
    at = int(2.5 / flat.step_per_um)
    torch.testing.assert_close(flat.image[FOCUS - 2, at], flat.image[FOCUS + 2, at], atol=1e-3, rtol=0)
    assert (deep.image[FOCUS - 2, at] - deep.image[FOCUS + 2, at]).abs() > 0.02


def test_the_usual_family_spans_220_to_300_nm() -> None:
    """The ends of the preset confocal-280: steep in short light, flat in long light."""
    ends = (
        Microscope(numerical_aperture=1.3, emission_nm=590.0, excitation_nm=545.0, pinhole_airy_units=0.8),
        Microscope(numerical_aperture=1.1, emission_nm=670.0, excitation_nm=645.0, pinhole_airy_units=2.0),
    )
    low, high = (make_spots(each, True, "sted", 0.11, 0.0).fwhm_um for each in ends)
    assert 0.19 < low < 0.23
    assert 0.29 < high < 0.32


def test_a_target_wider_than_the_confocal_spot_is_refused() -> None:
    with pytest.raises(InputError, match=r"target_fwhm_um 0\.5 must be narrower than the confocal spot at NA 1\.2"):
        make_spots(LENS, True, "sted", 0.5, 0.0)


def test_nothing_is_left_of_a_spot_beyond_its_margin() -> None:
    for confocal in (True, False):
        spots = make_spots(LENS, confocal, "sted", 0.11, 0.0)
        image = spot(spots, spots.image, 360)
        at = (torch.arange(360) - 180) * STEP
        outside = torch.hypot(at[:, None], at) > spots.margin_um + 0.1
        assert image[:, outside].abs().max() < 2e-4 * image[FOCUS].max()
    assert math.isclose(PLANES_UM[FOCUS], 0)
