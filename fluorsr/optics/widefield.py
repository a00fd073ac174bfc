"""The wide-field point spread function, with the blur of mismatched layers (Gibson and Lanni 1991).

    specimen -> every emitter becomes this spot -> image

Without mismatch and in focus it is the Airy pattern (2 J_1(v) / v)^2 with v = 2 pi NA r / wavelength: full width at
half maximum 0.514 wavelength / NA, first zero at 0.61 wavelength / NA. Scalar and with an even pupil: polarisation,
which widens a spot by some per cent at the highest apertures, is left out.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.debye import point_field
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.sampling import pixel_grid


def widefield_psf(
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size_um: tuple[float, float],
    *,
    z_um: Tensor | None = None,
    depth_um: Tensor | float = 0.0,
    points: int = 1,
) -> Tensor:
    """The image of an emitter, plane by plane: [..., Z, Y, X] float64 on z_um's device.

    shape, pixel_size_um   of a plane, (y, x); the spot's centre is pixel (Y // 2, X // 2)
    z_um       [..., Z] how far the objective has moved in, 0 where it sees the coverslip's surface; default [0]
    depth_um   [...] of the emitter above the coverslip; a batch of depths makes a batch of spots
    points     1 samples at pixel centres; 3 integrates over the pixels

    A value is the share of the emitter's light that falls on the pixel, so an unbounded plane adds up to 1, in focus
    and out of it. Differentiable in z_um and depth_um. Raises InputError for shapes that do not fit together.
    """
    z_um, depth_um = planes(z_um, depth_um)
    grid = pixel_grid(shape, pixel_size_um, points, z_um.device)
    return grid.integrate(light_density(microscope, microscope.emission_nm, grid.radii_um, z_um, depth_um))


def light_density(microscope: Microscope, wavelength_nm: float, r_um: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """Light per um^2 of a point (or of a beam focused to one): [..., Z, R] float64; each plane's integral is 1.

    r_um  [R];  z_um  [..., Z];  depth_um  [...], all float64
    """
    field = point_field(microscope, wavelength_nm, r_um, z_um, depth_um)
    k = 2e3 * math.pi / wavelength_nm
    return (field.real**2 + field.imag**2) * (k * microscope.aperture) ** 2 / (4 * math.pi)


def best_focus_um(microscope: Microscope, depth_um: float) -> float:
    """The z_um at which the emission of an emitter at `depth_um` is brightest on the axis, to about a nanometre.

    Paraxially it is depth * index_immersion / index_sample; steeper rays of a mismatched sample move it.
    """
    depth = torch.tensor(depth_um, dtype=torch.float64)
    centre, step = depth_um * microscope.index_immersion / microscope.index_sample, 0.02
    half = 0.6 * abs(centre - depth_um) + abs(depth_um) * 0.3 + 2.0
    mismatch = abs(microscope.coverslip_um - microscope.coverslip_design_um)
    half += 0.3 * mismatch
    while step > 2e-4:
        count = 2 * math.ceil(half / step) + 1
        z = centre + step * (torch.arange(count, dtype=torch.float64) - count // 2)
        light = light_density(microscope, microscope.emission_nm, torch.zeros(1, dtype=torch.float64), z, depth)
        centre = float(z[int(light[:, 0].argmax())])
        half, step = 2 * step, step / 10
    return centre


def planes(z_um: Tensor | None, depth_um: Tensor | float) -> tuple[Tensor, Tensor]:
    """Default, float64 and checked: z_um [..., Z] and depth_um [...] that broadcast, on one device."""
    z = torch.zeros(1, dtype=torch.float64) if z_um is None else z_um.to(torch.float64)
    depth = torch.as_tensor(depth_um, dtype=torch.float64, device=z.device)
    try:
        np.broadcast_shapes(z.shape[:-1], depth.shape)
    except ValueError as error:
        raise InputError(
            f"z_um {tuple(z.shape)} must be [..., Z] and depth_um {tuple(depth.shape)} [...], "
            "with leading axes that are the same, or 1"
        ) from error
    if z.dim() == 0 or z.numel() == 0 or not bool(torch.isfinite(z).all()) or not bool(torch.isfinite(depth).all()):
        raise InputError("z_um needs at least one axis and one plane, and every z_um and depth_um must be finite")
    return z, depth
