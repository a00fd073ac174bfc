"""The confocal point spread function: excitation times detection through a pinhole.

    exciting beam h_ex(r, z)  x  emission that passes the pinhole, h_em averaged over the pinhole's disc

A closed pinhole gives h_ex * h_em (about 0.72 of the wide-field width), an open one h_ex alone, which is a wide-field
spot at the exciting wavelength (Wilson and Sheppard 1984; Sheppard and Wilson 1978). The average over the disc is a
product in frequency space: the emission's OTF times 2 J_1(x) / x with x = pi * frequency * diameter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fluorsr.optics.debye import bessel_j0, gauss_legendre, node_count
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import cutoff_per_um, defocused_otf
from fluorsr.optics.sampling import pixel_grid
from fluorsr.optics.widefield import light_density, planes


def confocal_psf(
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size_um: tuple[float, float],
    *,
    z_um: Tensor | None = None,
    depth_um: Tensor | float = 0.0,
    points: int = 1,
) -> Tensor:
    """The image of an emitter, plane by plane: [..., Z, Y, X] float64. Arguments as for `widefield_psf`.

    A plane in focus, unbounded and free of aberrations, adds up to 1; others to less: that is optical sectioning.
    """
    z_um, depth_um = planes(z_um, depth_um)
    grid = pixel_grid(shape, pixel_size_um, points, z_um.device)
    return grid.integrate(confocal_density(microscope, grid.radii_um, z_um, depth_um))


def confocal_density(microscope: Microscope, r_um: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """The same per um^2 at radii [R]: [..., Z, R] float64. Differentiable in z_um and depth_um."""
    excitation = light_density(microscope, microscope.excitation_nm, r_um, z_um, depth_um)
    if math.isinf(microscope.pinhole_airy_units):
        return excitation
    return excitation * detection_density(microscope, r_um, z_um, depth_um) / _energy_in_focus(microscope, z_um.device)


def detection_density(microscope: Microscope, r_um: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """Emission at the pinhole, averaged over its disc, per um^2: [..., Z, R]. The point is r_um off the axis."""
    diameter_um = microscope.pinhole_airy_units * microscope.airy_unit_um
    reach_um = float(r_um.max()) + diameter_um / 2
    frequency, weights = _frequencies(microscope, reach_um, z_um.device)
    otf = defocused_otf(microscope, microscope.emission_nm, frequency, z_um, depth_um)
    waves = bessel_j0(2 * math.pi * frequency[:, None] * r_um)
    # Where it is 0, rounding makes it -1e-8.
    return ((otf * _pinhole(frequency, diameter_um) * weights) @ waves).clamp(min=0)


def _energy_in_focus(microscope: Microscope, device: torch.device) -> float:
    """The integral of excitation times detection over an ideal plane in focus, by Parseval."""
    diameter_um = microscope.pinhole_airy_units * microscope.airy_unit_um
    frequency, weights = _frequencies(microscope, diameter_um / 2, device)
    z, depth = (torch.zeros(n, dtype=torch.float64, device=device) for n in ((1,), ()))
    ideal = microscope.model_copy(
        update={
            "index_immersion_design": microscope.index_immersion,
            "index_coverslip_design": microscope.index_coverslip,
            "coverslip_design_um": microscope.coverslip_um,
        }
    )
    wavelengths = ideal.excitation_nm, ideal.emission_nm
    excitation, emission = (defocused_otf(ideal, wavelength, frequency, z, depth)[0] for wavelength in wavelengths)
    return float((excitation * emission * _pinhole(frequency, diameter_um) * weights).sum())


def _frequencies(microscope: Microscope, reach_um: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes [F] up to the emission's cut-off, and weights of integral 2 pi f df, for radii up to `reach_um`."""
    cutoff = cutoff_per_um(microscope)
    angle, weights = gauss_legendre(node_count(2 * math.pi * cutoff * reach_um), math.pi / 2, device)
    # The OTF ends like (1 - s)^(3/2); in the angle whose sine is s it is smooth.
    frequency = cutoff * torch.sin(angle)
    return frequency, weights * 2 * math.pi * frequency * cutoff * torch.cos(angle)


def _pinhole(frequency: Tensor, diameter_um: float) -> Tensor:
    """Fourier transform of a disc of unit sum: 2 J_1(x) / x."""
    x = (math.pi * diameter_um * frequency).clamp(min=1e-9)
    value: Tensor = 2 * torch.special.bessel_j1(x) / x
    return value
