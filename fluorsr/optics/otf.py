"""Optical transfer functions: how much of each spatial frequency the microscope lets through.

In focus the wide-field one is the overlap of two discs (Goodman, Introduction to Fourier Optics, eq. 6-31):

    H(s) = 2/pi (arccos(s) - s sqrt(1 - s^2))       s = frequency / cut-off,  cut-off = 2 NA / wavelength

Out of focus, H is the autocorrelation of a pupil whose phase is the path difference of fluorsr.optics.debye.
In 3-D the support is a torus: at lateral frequency f it reaches the axial frequency of `axial_cutoff_per_um`,
which is 0 at f = 0: the missing cone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.debye import gauss_legendre, node_count, path_difference, phase_span
from fluorsr.optics.microscope import Microscope

CHUNK = 2**22
"""Numbers held at a time while a pupil is correlated with itself."""


def cutoff_per_um(microscope: Microscope, wavelength_nm: float | None = None) -> float:
    """The highest frequency in the image, 2 NA / wavelength, in cycles per um; of the emission by default."""
    return 2e3 * microscope.aperture / (wavelength_nm or microscope.emission_nm)


def widefield_otf(microscope: Microscope, frequency_per_um: Tensor, *, damping: float = 1.0) -> Tensor:
    """In focus, by the closed form: [...] frequencies -> [...] of the same dtype, 1 at 0, 0 from the cut-off on.

    damping    real objectives lose more: H * damping^(frequency / cut-off), in (0, 1]; 1 is the ideal lens
    """
    if not 0 < damping <= 1:
        raise InputError(f"damping {damping} must be above 0 and at most 1 (the ideal lens)")
    return lens_otf(frequency_per_um, cutoff_per_um(microscope), damping)


def lens_otf(frequency_per_um: Tensor, cutoff_per_um: float, damping: float) -> Tensor:
    """The same of a cut-off, unchecked: TorchScript."""
    s = (frequency_per_um.abs() / cutoff_per_um).clamp(max=1)
    ideal = 2 / math.pi * (torch.arccos(s) - s * torch.sqrt(1 - s**2))
    return ideal * damping**s


def defocused_otf(
    microscope: Microscope, wavelength_nm: float, frequency_per_um: Tensor, z_um: Tensor, depth_um: Tensor
) -> Tensor:
    """Out of focus and with the layers' mismatch: [..., Z, F] float64, real as the pupil is round.

    frequency_per_um  [F];  z_um  [..., Z];  depth_um  [...], all float64, as for the wide-field spot
    """
    s = (frequency_per_um / cutoff_per_um(microscope, wavelength_nm)).clamp(0, 1)
    count = node_count(phase_span(microscope, wavelength_nm, z_um, depth_um))
    unit, weights = gauss_legendre(count, 1.0, z_um.device)
    # The overlap's right half: x + s = cos(a), |y| <= sin(a), y = sin(a) sin(b). Every integrand is smooth in a and b.
    a = unit * torch.arccos(s)[:, None]
    b = unit * (math.pi / 2)
    x = (torch.cos(a) - s[:, None])[..., None]
    y = torch.sin(a)[..., None] * torch.sin(b)
    share = torch.sin(a)[..., None] ** 2 * torch.cos(b)
    share = share * (weights * torch.arccos(s)[:, None])[..., None] * (weights * (math.pi / 2))
    q1, q2 = (microscope.aperture * torch.hypot(x + sign * s[:, None, None], y) for sign in (1, -1))

    leading = np.broadcast_shapes(z_um.shape[:-1], depth_um.shape)
    z = z_um.expand(*leading, -1).reshape(-1)
    depth = depth_um[..., None].expand(*leading, z_um.shape[-1]).reshape(-1)
    step = max(1, CHUNK // q1.numel())
    k = 2e3 * math.pi / wavelength_nm
    parts = []
    for start in range(0, z.numel(), step):
        some = slice(start, start + step)
        # One plane a depth, so that any pairing of planes and depths is a plain list here.
        path = path_difference(microscope, torch.stack([q1, q2]), z[some, None], depth[some])[:, 0]
        parts.append((torch.cos(k * (path[:, 0] - path[:, 1])) * share).sum((-1, -2)))
    return 4 / math.pi * torch.cat(parts).reshape(*leading, z_um.shape[-1], -1)


def frequency_grid(
    shape: tuple[int, int], pixel_size_um: tuple[float, float], device: torch.device | str = "cpu"
) -> Tensor:
    """Lateral frequencies of `torch.fft.rfft2`, in cycles per um: [Y, X // 2 + 1] float64."""
    fy = torch.fft.fftfreq(shape[0], pixel_size_um[0], dtype=torch.float64, device=device)
    fx = torch.fft.rfftfreq(shape[1], pixel_size_um[1], dtype=torch.float64, device=device)
    return torch.hypot(fy[:, None], fx[None, :])


def otf_from_psf(psf: Tensor) -> Tensor:
    """Of a measured or computed spot, 1 at frequency 0: [Y, X] or [Z, Y, X] real -> that of `torch.fft.rfftn`, complex.

    The spot's centre is index n // 2 of every axis, so a symmetric spot has a real transfer function.
    Raises InputError where the spot holds no light.
    """
    total = psf.sum()
    if not bool(total > 0):
        raise InputError(f"a spot whose sum is {float(total):g} has no transfer function; its light must be above 0")
    spectrum: Tensor = torch.fft.rfftn(torch.fft.ifftshift(psf / total))
    return spectrum


def axial_cutoff_per_um(microscope: Microscope, frequency_per_um: Tensor, wavelength_nm: float | None = None) -> Tensor:
    """How far the 3-D support reaches along z at each lateral frequency: [...] cycles per um, 0 beyond the cut-off.

    sqrt((n/w)^2 - (f - NA/w)^2) - sqrt((n/w)^2 - (NA/w)^2), n the immersion's index (z is the objective's way).
    The 3-D OTF is 0 at axial frequencies beyond it (Gustafsson et al. 2008, fig. 1).
    """
    wavelength_um = (wavelength_nm or microscope.emission_nm) * 1e-3
    sphere, rim = microscope.index_immersion / wavelength_um, microscope.aperture / wavelength_um
    f = frequency_per_um.abs().clamp(max=2 * rim)
    return torch.sqrt(sphere**2 - (f - rim) ** 2) - math.sqrt(sphere**2 - rim**2)


def attenuation(frequency_per_um: Tensor, strength: float, fwhm_per_um: float) -> Tensor:
    """A weight that takes low frequencies back, where out-of-focus light lies (O'Holleran and Shaw 2014).

    1 - strength * exp(-4 ln 2 (f / fwhm)^2): [...] -> [...]. Around a SIM order, give the distance to the order.
    """
    if not 0 <= strength <= 1 or not fwhm_per_um > 0:
        raise InputError(f"strength {strength} must be within 0 and 1, and fwhm_per_um {fwhm_per_um} above 0")
    return 1 - strength * torch.exp(-4 * math.log(2) * (frequency_per_um / fwhm_per_um) ** 2)
