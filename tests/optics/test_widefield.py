"""The wide-field spot against its closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.debye import point_field
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.sampling import axis_um, pixel_grid
from fluorsr.optics.widefield import best_focus_um, light_density, widefield_psf

f64 = torch.float64


@pytest.mark.parametrize(("aperture", "wavelength_nm"), [(0.3, 650.0), (0.95, 488.0), (1.4, 520.0), (1.49, 600.0)])
def test_in_focus_it_is_the_airy_pattern(
    aperture: float, wavelength_nm: float, fwhm_um: Callable[..., float], in_focus: dict[str, Tensor]
) -> None:
    microscope = Microscope(numerical_aperture=aperture)
    unit_um = wavelength_nm * 1e-3 / aperture
    r = torch.linspace(0.001, 5, 500, dtype=f64) * unit_um
    density = light_density(microscope, wavelength_nm, r, **in_focus)[0].numpy()
    v = 2 * np.pi * r.numpy() / unit_um
    airy = (2 * special.j1(v) / v) ** 2 * math.pi / unit_um**2
    np.testing.assert_allclose(density, airy, atol=2e-6 * airy.max())
    width = fwhm_um(lambda r: light_density(microscope, wavelength_nm, r, **in_focus)[0], unit_um)
    assert width == pytest.approx(0.51450 * unit_um, rel=1e-4)
    zero = light_density(microscope, wavelength_nm, torch.tensor([0.60984 * unit_um], dtype=f64), **in_focus)
    assert float(zero) < 1e-6 * airy.max()


def test_on_the_axis_it_is_the_integral_that_can_be_solved() -> None:
    """|u|^2 on the axis with c = cos(theta): the integral of c exp(-i k n z c) over c, by hand."""
    n, aperture, wavelength_um = 1.515, 1.4, 0.52
    z = torch.linspace(-4, 4, 80, dtype=f64)
    density = light_density(Microscope(), 520.0, torch.zeros(1, dtype=f64), z, torch.tensor(0.0, dtype=f64))[:, 0]
    a = -2j * np.pi * n / wavelength_um * z.numpy()
    low = math.sqrt(1 - (aperture / n) ** 2)
    integral = np.exp(a) * (1 / a - 1 / a**2) - np.exp(a * low) * (low / a - 1 / a**2)
    expected = np.abs(integral) ** 2 / (0.5 * (1 - low**2)) ** 2
    np.testing.assert_allclose(density / (math.pi * (aperture / wavelength_um) ** 2), expected, atol=1e-6)


@pytest.mark.parametrize("aperture", [0.2, 0.5, 0.8, 1.0])
def test_its_axial_extent_is_2_n_wavelength_over_na_squared(aperture: float) -> None:
    """The first dark point on the axis; the paraxial formula is 2 / (1 + cos alpha) too long, to 2 %."""
    n = 1.515
    paraxial_um = 2 * n * 0.52 / aperture**2
    z = torch.linspace(0.7, 1.2, 2001, dtype=f64) * paraxial_um
    microscope = Microscope(numerical_aperture=aperture)
    density = light_density(microscope, 520.0, torch.zeros(1, dtype=f64), z, torch.tensor(0.0, dtype=f64))[:, 0]
    ratio = float(z[density.argmin()]) / paraxial_um
    assert ratio == pytest.approx((1 + math.sqrt(1 - (aperture / n) ** 2)) / 2, rel=0.02)
    assert float(density.min()) < 0.01 * math.pi * (aperture / 0.52) ** 2


@pytest.mark.parametrize("depth_um", [0.0, 5.0])
def test_energy_is_kept_in_every_plane(depth_um: float) -> None:
    """Integrated to a radius R; what is beyond falls like 1 / R in focus, 0.5 % at 10 um."""
    microscope = Microscope(numerical_aperture=1.2, index_sample=1.33)
    nodes, weights = np.polynomial.legendre.leggauss(600)
    r = torch.from_numpy(6 * (nodes + 1))
    z = torch.tensor([-2.0, -1.0, 0.0, 0.5, 2.0], dtype=f64) + depth_um
    density = light_density(microscope, 520.0, r, z, torch.tensor(depth_um, dtype=f64))
    energy = (density * torch.from_numpy(6 * weights) * 2 * math.pi * r).sum(-1)
    assert bool((energy < 1 + 1e-6).all())
    np.testing.assert_allclose(energy, 1.0, atol=0.02)


def test_pixels_are_samples_or_integrals() -> None:
    fine = widefield_psf(Microscope(), (11 * 15, 9 * 15), (0.1 / 15, 0.08 / 15))[0]
    boxes = fine.reshape(11, 15, 9, 15).sum((1, 3))
    integrated = widefield_psf(Microscope(), (11, 9), (0.1, 0.08), points=4)[0]
    sampled = widefield_psf(Microscope(), (11, 9), (0.1, 0.08))[0]
    np.testing.assert_allclose(integrated, boxes, atol=1e-3 * float(boxes.max()))
    assert float(sampled[5, 4]) > 1.1 * float(integrated[5, 4])
    assert torch.equal(sampled, sampled.flip(0))
    assert int(sampled.argmax()) == 5 * 9 + 4


def test_even_sizes_are_centred_at_half_their_length() -> None:
    spot = widefield_psf(Microscope(), (8, 6), (0.05, 0.05))[0]
    assert int(spot.argmax()) == 4 * 6 + 3
    assert axis_um(4, 0.5).tolist() == [-1.0, -0.5, 0.0, 0.5]


def test_a_batch_of_depths_is_the_same_as_each_alone() -> None:
    microscope = Microscope(index_sample=1.45)
    depths, z = torch.tensor([0.0, 3.0, 6.0], dtype=f64), axis_um(3, 0.4)
    batch = widefield_psf(microscope, (9, 9), (0.06, 0.06), z_um=z + depths[:, None], depth_um=depths)
    assert batch.shape == (3, 3, 9, 9)
    for spots, depth in zip(batch, depths, strict=True):
        alone = widefield_psf(microscope, (9, 9), (0.06, 0.06), z_um=z + depth, depth_um=depth)
        np.testing.assert_allclose(spots, alone, atol=1e-9)


def test_best_focus_is_at_the_emitter_and_moves_with_a_mismatch() -> None:
    """In water a focal shift beyond the paraxial n_immersion / n_sample; the brightest plane of a fine scan."""
    assert best_focus_um(Microscope(), 4.0) == pytest.approx(4.0, abs=1e-3)
    water = Microscope(index_sample=1.33)
    focus = best_focus_um(water, 5.0)
    z = torch.linspace(4, 8, 2001, dtype=f64)
    light = light_density(water, 520.0, torch.zeros(1, dtype=f64), z, torch.tensor(5.0, dtype=f64))[:, 0]
    assert focus == pytest.approx(float(z[light.argmax()]), abs=3e-3)
    assert focus > 5.0 * 1.515 / 1.33
    thick = Microscope(coverslip_um=190, index_coverslip=1.53, numerical_aperture=1.3)
    z = torch.linspace(-5, 5, 4001, dtype=f64)
    light = light_density(thick, 520.0, torch.zeros(1, dtype=f64), z, torch.tensor(0.0, dtype=f64))[:, 0]
    assert best_focus_um(thick, 0.0) == pytest.approx(float(z[light.argmax()]), abs=3e-3)


def test_gradients_reach_focus_and_depth() -> None:
    """Autograd against differences."""
    microscope = Microscope(index_sample=1.45)
    r = torch.tensor([0.0, 0.1, 0.3], dtype=f64, requires_grad=True)
    z = torch.tensor([1.9, 2.3], dtype=f64, requires_grad=True)
    depth = torch.tensor(2.0, dtype=f64, requires_grad=True)

    def density(r: Tensor, z: Tensor, depth: Tensor) -> Tensor:
        return light_density(microscope, 520.0, r, z, depth)

    # torch's Bessel functions are good to 4e-7, which the differences magnify.
    assert torch.autograd.gradcheck(density, (r, z, depth), eps=1e-3, atol=5e-2, rtol=1e-2)


def test_requests_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"shape \(0, 3\), pixel_size_um \(0.1, 0.1\) and points 1 must all be above 0"
    ):
        pixel_grid((0, 3), (0.1, 0.1), 1)
    with pytest.raises(InputError, match=r"z_um \(2, 3\) must be \[..., Z\] and depth_um \(3,\) \[...\]"):
        widefield_psf(Microscope(), (3, 3), (0.1, 0.1), z_um=torch.zeros(2, 3), depth_um=torch.zeros(3))
    with pytest.raises(InputError, match="every z_um and depth_um must be finite"):
        widefield_psf(Microscope(), (3, 3), (0.1, 0.1), depth_um=math.nan)
    with pytest.raises(InputError, match="more than the 5800 that are computed; ask for a smaller field"):
        point_field(Microscope(), 520.0, *(torch.full(s, 1000.0, dtype=f64) for s in ((1,), (1,), ())))
