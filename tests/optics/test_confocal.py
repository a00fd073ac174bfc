"""The confocal spot: its limits are closed forms, and in between the pinhole's disc is averaged by brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import Tensor

from fluorsr.optics.confocal import confocal_density, confocal_psf, detection_density
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.sampling import axis_um
from fluorsr.optics.widefield import light_density

f64 = torch.float64
SAME = {"excitation_nm": 520.0, "emission_nm": 520.0}


def _width(fwhm_um: Callable[..., float], in_focus: dict[str, Tensor], pinhole: float) -> float:
    microscope = Microscope(**SAME, pinhole_airy_units=pinhole)
    return fwhm_um(lambda r: confocal_density(microscope, r, **in_focus)[0])


def test_a_closed_pinhole_narrows_by_the_textbook_factor(
    fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    """The half width of Airy squared over that of Airy, 0.718 (1 / sqrt 2 for a Gaussian)."""

    def airy(v: float) -> float:
        return float((2 * special.j1(v) / v) ** 2)

    widths = [optimize.brentq(lambda v, p=power: airy(v) ** p - 0.5, 0.5, 3) for power in (1, 2)]
    widefield = 0.51450 * 0.52 / 1.4
    assert widths[1] / widths[0] == pytest.approx(0.7178, abs=1e-4)
    assert _width(fwhm_um, in_focus, 0.0) / widefield == pytest.approx(widths[1] / widths[0], rel=1e-4)


@pytest.mark.parametrize("pinhole", [20.0, math.inf])
def test_an_open_pinhole_is_wide_field_at_the_exciting_wavelength(
    pinhole: float, fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    assert _width(fwhm_um, in_focus, pinhole) == pytest.approx(0.51450 * 0.52 / 1.4, rel=1e-3)


def test_in_between_the_width_rises_with_the_pinhole(
    fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    """Up to one Airy unit; beyond, it wavers by half a per cent about the open one."""
    widths = [_width(fwhm_um, in_focus, pinhole) for pinhole in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(b > a for a, b in itertools.pairwise(widths))


def test_along_the_axis_it_narrows_too() -> None:
    """At low aperture sinc^2 becomes sinc^4: 0.720 of the width."""
    z = torch.linspace(0, 10, 121, dtype=f64)
    widths = []
    for pinhole in (math.inf, 0.0):
        microscope = Microscope(**SAME, numerical_aperture=0.3, pinhole_airy_units=pinhole)
        density = confocal_density(microscope, torch.zeros(1, dtype=f64), z, torch.tensor(0.0, dtype=f64))[:, 0]
        widths.append(float(np.interp(-float(density[0]) / 2, -density.numpy(), z.numpy())))
    assert widths[1] / widths[0] == pytest.approx(0.7200, abs=2e-3)


def test_the_pinholes_disc_is_averaged() -> None:
    """Against the emission's spot summed over points of the disc; and 84 % pass one Airy unit in focus."""
    microscope = Microscope(index_sample=1.45, pinhole_airy_units=1.3)
    z, depth = torch.tensor([1.8, 2.3], dtype=f64), torch.tensor(2.0, dtype=f64)
    radius_um = 1.3 * microscope.airy_unit_um / 2
    nodes, weights = np.polynomial.legendre.leggauss(40)
    rho, phi = radius_um * (nodes + 1) / 2, np.arange(64) * 2 * np.pi / 64
    shares = weights * rho * radius_um / 2 * (2 / radius_um**2) / 64
    for r in (0.0, 0.2, 0.6):
        distance = np.sqrt(r**2 + rho[:, None] ** 2 - 2 * r * rho[:, None] * np.cos(phi))
        spot = light_density(microscope, 520.0, torch.from_numpy(distance.ravel()), z, depth).reshape(2, 40, 64).numpy()
        expected = (spot * shares[:, None]).sum((1, 2))
        found = detection_density(microscope, torch.tensor([r], dtype=f64), z, depth)[:, 0]
        np.testing.assert_allclose(found, expected, atol=2e-6)
    focus = torch.zeros(1, dtype=f64)
    one = Microscope()
    passed = float(detection_density(one, focus, focus, focus[0])) * math.pi * one.airy_unit_um**2 / 4
    assert passed == pytest.approx(0.838, abs=1e-3)


def test_light_adds_up_in_focus_and_is_rejected_out_of_it() -> None:
    z = axis_um(5, 0.6)
    sums = confocal_psf(Microscope(), (101, 101), (0.04, 0.04), z_um=z).sum((1, 2))
    assert float(sums[2]) == pytest.approx(1, abs=1e-3)
    assert float(sums[0]) < float(sums[1]) < 0.5
    open_sums = confocal_psf(Microscope(pinhole_airy_units=math.inf), (201, 201), (0.04, 0.04), z_um=z).sum((1, 2))
    np.testing.assert_allclose(open_sums, 1, atol=0.06)


def test_gradients_reach_the_focus() -> None:
    z = torch.tensor([0.3], dtype=f64, requires_grad=True)
    r, depth = torch.tensor([0.0, 0.1], dtype=f64), torch.tensor(0.0, dtype=f64)
    light = confocal_density(Microscope(), r, z, depth).sum()
    (gradient,) = torch.autograd.grad(light, z)
    with torch.no_grad():
        ahead, behind = (confocal_density(Microscope(), r, z + step, depth).sum() for step in (1e-3, -1e-3))
    assert float(gradient) == pytest.approx(float(ahead - behind) / 2e-3, rel=1e-3)
