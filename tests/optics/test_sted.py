"""The STED spot against the law of resolution and the limits it must keep."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.confocal import confocal_psf
from fluorsr.optics.debye import DOUGHNUT_PEAK
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.sted import doughnut, saturation_for, sted_density, sted_fwhm_um, sted_psf

f64 = torch.float64


@pytest.mark.parametrize("saturation", [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0])
def test_its_width_follows_the_law_of_harke_and_hell(
    saturation: float, fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    """All light at one wavelength, as the law has it; the whole model keeps to it within 6 %."""
    microscope = Microscope(emission_nm=592, excitation_nm=592, depletion_nm=592, saturation=saturation)
    width = fwhm_um(lambda r: sted_density(microscope, r, **in_focus)[0])
    assert width == pytest.approx(sted_fwhm_um(592, 1.4, saturation), rel=0.06)


def test_at_high_saturation_the_doughnuts_curvature_sets_the_width(
    fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    """Near the centre u = 2 v / 6, so the doughnut is v^2 / (9 peak), and half is left at saturation * that = 1."""
    microscope = Microscope(saturation=10000, depletion_nm=775)
    width = fwhm_um(lambda r: sted_density(microscope, r, **in_focus)[0])
    assert width == pytest.approx(2 * 3 * math.sqrt(DOUGHNUT_PEAK / 10000) * 0.775 / (2 * math.pi * 1.4), rel=2e-3)


def test_the_doughnut_is_that_of_a_vortex_plate(in_focus: dict[str, Tensor]) -> None:
    """The order-1 integral by the Struve functions: pi / (2 v) (J_1 H_0 - J_0 H_1)."""
    r = torch.linspace(0.001, 1, 400, dtype=f64)
    v = 2 * np.pi * 1.4 / 0.592 * r.numpy()
    u = np.pi / v * (special.j1(v) * special.struve(0, v) - special.j0(v) * special.struve(1, v))
    found = doughnut(Microscope(), r, **in_focus)[0]
    np.testing.assert_allclose(found, u**2 / DOUGHNUT_PEAK, atol=1e-5)
    assert float(found.max()) == pytest.approx(1, abs=3e-4)
    assert float(doughnut(Microscope(), torch.zeros(1, dtype=f64), **in_focus)) == 0


def test_without_depletion_it_is_confocal_and_with_it_the_centre_keeps_its_light() -> None:
    z = torch.tensor([-0.5, 0.0], dtype=f64)
    confocal = confocal_psf(Microscope(), (21, 21), (0.03, 0.03), z_um=z)
    assert torch.equal(sted_psf(Microscope(), (21, 21), (0.03, 0.03), z_um=z), confocal)
    sted = sted_psf(Microscope(saturation=20), (21, 21), (0.03, 0.03), z_um=z)
    np.testing.assert_allclose(sted[:, 10, 10], confocal[:, 10, 10], rtol=1e-6)
    assert float(sted.sum()) < 0.3 * float(confocal.sum())


def test_the_law_and_its_inverse() -> None:
    assert sted_fwhm_um(600, 1.2, 0) == pytest.approx(0.25)
    assert sted_fwhm_um(592, 1.4, saturation_for(592, 1.4, 0.05)) == pytest.approx(0.05)
    with pytest.raises(InputError, match=r"fwhm_um 0.3 must be above 0 and at most 0.2114"):
        saturation_for(592, 1.4, 0.3)
    with pytest.raises(InputError, match=r"saturation -1 at least 0"):
        sted_fwhm_um(592, 1.4, -1)
