"""The effective point spread function of a STED microscope.

    confocal spot  x  fluorescence that the doughnut leaves, 2^(-saturation * doughnut(r, z))

The doughnut is that of a vortex plate, computed like every other spot here; its greatest intensity is 1, and
`saturation` is that peak over the intensity at which half the fluorescence is gone. Near its dark centre a doughnut is
a parabola, which gives the law of resolution (Harke et al. 2008, eq. 1; Westphal and Hell 2005)

    d = wavelength / (2 NA sqrt(1 + saturation))

The doughnut narrows only laterally; along z the spot stays confocal. `sted_fwhm_um` with a Gaussian of that width
(fluorsr.optics.psf) is the cheap stand-in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.confocal import confocal_density
from fluorsr.optics.debye import DOUGHNUT_PEAK, point_field
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.sampling import pixel_grid
from fluorsr.optics.widefield import planes


def sted_psf(
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size_um: tuple[float, float],
    *,
    z_um: Tensor | None = None,
    depth_um: Tensor | float = 0.0,
    points: int = 1,
) -> Tensor:
    """The image of an emitter, plane by plane: [..., Z, Y, X] float64. Arguments as for `widefield_psf`.

    In units of `confocal_psf`: the centre keeps its brightness, the sum falls with what is depleted.
    """
    z_um, depth_um = planes(z_um, depth_um)
    grid = pixel_grid(shape, pixel_size_um, points, z_um.device)
    return grid.integrate(sted_density(microscope, grid.radii_um, z_um, depth_um))


def sted_density(microscope: Microscope, r_um: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """The same per um^2 at radii [R]: [..., Z, R] float64."""
    left = torch.exp2(-microscope.saturation * doughnut(microscope, r_um, z_um, depth_um))
    return confocal_density(microscope, r_um, z_um, depth_um) * left


def doughnut(microscope: Microscope, r_um: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """Depleting light over its peak in an ideal focus: [..., Z, R] float64, 0 at r = 0."""
    field = point_field(microscope, microscope.depletion_nm, r_um, z_um, depth_um, vortex=True)
    return (field.real**2 + field.imag**2) / DOUGHNUT_PEAK


def sted_fwhm_um(wavelength_nm: float, numerical_aperture: float, saturation: float) -> float:
    """Full width at half maximum by the law of Harke and Hell: wavelength / (2 NA sqrt(1 + saturation))."""
    if not (wavelength_nm > 0 and numerical_aperture > 0 and saturation >= 0):
        raise InputError(
            f"wavelength_nm {wavelength_nm} and numerical_aperture {numerical_aperture} must be above 0, "
            f"saturation {saturation} at least 0"
        )
    return wavelength_nm * 1e-3 / (2 * numerical_aperture * math.sqrt(1 + saturation))


def saturation_for(wavelength_nm: float, numerical_aperture: float, fwhm_um: float) -> float:
    """The saturation that gives a spot of `fwhm_um` by the same law; InputError where none is narrow enough."""
    widest = sted_fwhm_um(wavelength_nm, numerical_aperture, 0.0)
    if not 0 < fwhm_um <= widest:
        raise InputError(
            f"fwhm_um {fwhm_um} must be above 0 and at most {widest:.4f}, the width without depletion "
            f"at {wavelength_nm:g} nm and NA {numerical_aperture:g}"
        )
    return (widest / fwhm_um) ** 2 - 1
