"""Transfer functions against closed forms, against each other, and against the spot they belong to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import (
    attenuation,
    axial_cutoff_per_um,
    cutoff_per_um,
    defocused_otf,
    frequency_grid,
    otf_from_psf,
    widefield_otf,
)
from fluorsr.optics.sampling import axis_um
from fluorsr.optics.widefield import widefield_psf

f64 = torch.float64


def test_the_cutoff_is_2_na_over_the_wavelength() -> None:
    microscope = Microscope(numerical_aperture=1.3, emission_nm=650)
    assert cutoff_per_um(microscope) == pytest.approx(4.0)
    otf = widefield_otf(microscope, torch.tensor([0.0, 2.0, 3.99, 4.0, 7.0], dtype=f64))
    # Half way: 2/pi (arccos(1/2) - sqrt(3)/4).
    assert otf.tolist() == pytest.approx([1.0, 2 / math.pi * (math.pi / 3 - math.sqrt(3) / 4), 0, 0, 0], abs=5e-4)
    assert otf[2] > 0
    assert otf[3] == 0


def test_the_spot_transforms_into_the_closed_form() -> None:
    """A spot cut at 10 um lacks 1 % of its light; it is integrated over pixels, whose sinc is divided out."""
    microscope, side, pixel_um = Microscope(), 320, 0.06
    otf = otf_from_psf(widefield_psf(microscope, (side, side), (pixel_um, pixel_um), points=3)[0])
    f = frequency_grid((side, side), (pixel_um, pixel_um))
    fy, fx = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    measured = otf / torch.from_numpy(np.sinc(fy)[:, None] * np.sinc(fx)[None, :])
    np.testing.assert_allclose(measured.real, widefield_otf(microscope, f), atol=0.012)
    assert float(measured.imag.abs().max()) < 1e-9
    assert float(measured.abs()[f > cutoff_per_um(microscope)].max()) < 2e-3


def test_in_focus_the_pupils_correlation_is_the_closed_form(in_focus: dict[str, Tensor]) -> None:
    f = torch.linspace(0, 6, 61, dtype=f64)
    np.testing.assert_allclose(
        defocused_otf(Microscope(), 520.0, f, **in_focus)[0], widefield_otf(Microscope(), f), atol=1e-12
    )


def test_out_of_focus_it_is_the_transform_of_the_spot() -> None:
    microscope, side, pixel_um, depth = Microscope(index_sample=1.45), 384, 0.06, torch.tensor(3.0, dtype=f64)
    z = torch.tensor([2.4, 3.1, 3.9], dtype=f64)
    spots = widefield_psf(microscope, (side, side), (pixel_um, pixel_um), z_um=z, depth_um=depth)
    f = torch.fft.rfftfreq(side, pixel_um, dtype=f64)
    otf = defocused_otf(microscope, 520.0, f, z, depth)
    for spot, expected in zip(spots, otf, strict=True):
        spectrum = torch.fft.rfft2(torch.fft.ifftshift(spot))[0].real
        np.testing.assert_allclose(spectrum, expected, atol=0.015)


def test_planes_and_depths_pair_up_and_large_requests_are_cut() -> None:
    microscope, f = Microscope(index_sample=1.45), torch.linspace(0, 5, 7, dtype=f64)
    depth, z = torch.tensor([0.0, 2.0], dtype=f64), torch.linspace(-1, 3, 400, dtype=f64)
    both = defocused_otf(microscope, 520.0, f, z, depth)
    assert both.shape == (2, 400, 7)
    alone = defocused_otf(microscope, 520.0, f, z[[0, 399]], depth[1])
    np.testing.assert_allclose(both[1, [0, 399]], alone, atol=1e-10)


def test_the_support_is_a_torus_with_a_missing_cone() -> None:
    """Along z each lateral frequency's course holds no axial frequency beyond the closed form."""
    microscope = Microscope()
    f = torch.tensor([0.5, 1.5, 2.7, 4.5], dtype=f64)
    z = axis_um(128, 0.2)
    course = defocused_otf(microscope, 520.0, f, z, torch.tensor(0.0, dtype=f64))
    window = torch.hann_window(128, dtype=f64)[:, None]
    spectrum = torch.fft.fft(course * window, dim=0).abs() / (course * window).abs().sum(0)
    axial = torch.fft.fftfreq(128, 0.2, dtype=f64).abs()[:, None]
    limit = axial_cutoff_per_um(microscope, f)
    resolution = 2 / 25.6  # of the window
    for k in range(4):
        beyond = axial[:, 0] > limit[k] + resolution
        inside = (axial[:, 0] < limit[k] - resolution) & (axial[:, 0] > 0.5 * limit[k])
        assert float(spectrum[beyond, k].max()) < 1e-3
        assert float(spectrum[inside, k].min()) > 5e-3
    edges = axial_cutoff_per_um(microscope, torch.tensor([0.0, cutoff_per_um(microscope), 99.0], dtype=f64))
    np.testing.assert_allclose(edges, 0, atol=1e-12)
    # The tallest point, above half the cut-off: (n / wavelength) (1 - cos alpha).
    tallest = 1.515 / 0.52 * (1 - math.sqrt(1 - (1.4 / 1.515) ** 2))
    assert float(axial_cutoff_per_um(microscope, torch.tensor(1.4 / 0.52))) == pytest.approx(tallest, rel=1e-6)


def test_damping_and_attenuation() -> None:
    microscope = Microscope()
    half = torch.tensor(cutoff_per_um(microscope) / 2, dtype=f64)
    damped = widefield_otf(microscope, half, damping=0.3) / widefield_otf(microscope, half)
    assert float(damped) == pytest.approx(math.sqrt(0.3))
    weights = attenuation(torch.tensor([0.0, 0.6, 50.0], dtype=f64), 0.9, 1.2)
    assert weights.tolist() == pytest.approx([0.1, 0.55, 1.0])
    with pytest.raises(InputError, match=r"damping 0 must be above 0 and at most 1"):
        widefield_otf(microscope, half, damping=0)
    with pytest.raises(InputError, match=r"strength 2 must be within 0 and 1"):
        attenuation(half, 2, 1.0)
    with pytest.raises(InputError, match="a spot whose sum is 0 has no transfer function"):
        otf_from_psf(torch.zeros(4, 4))
