"""The field of a point, by the scalar Debye integral with mismatched layers (Gibson and Lanni 1991, eq. 5 and 6).

    u(r, z) = 2 / NA^2  integral_0^NA  J_m(k q r) exp(i k OPD(q, z)) q dq        k = 2 pi / wavelength

q = n sin(theta) is the same in every layer (Snell), so it numbers the rays. m is 0, or 1 behind a vortex plate, which
makes the doughnut of a STED microscope. Without aberrations u is 1 in the focus (m = 0) and |u|^2 is the Airy pattern.
By Parseval the energy of every plane is integral |u|^2 dA = 4 pi / (k NA)^2, whatever the aberrations.

z_um is how far the objective is moved towards the sample from where, paraxially, it sees the coverslip's surface in
focus. So without a mismatch an emitter at depth_um is in focus at z_um = depth_um.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.microscope import Microscope

DOUGHNUT_PEAK = 0.258756731649964
"""Greatest |u|^2 behind a vortex plate, in focus: (2 integral_0^1 J_1(v rho) rho d rho)^2, at v = 2.4516."""


class _BesselJ0(torch.autograd.Function):
    """J_0, which torch computes (to 4e-7) but does not differentiate: J_0' = -J_1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        value: Tensor = torch.special.bessel_j0(x)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = -gradients[0] * torch.special.bessel_j1(x)
        return slope


def bessel_j0(x: Tensor) -> Tensor:
    """Bessel function J_0, any shape, with its first derivative for autograd."""
    result: Tensor = _BesselJ0.apply(x)  # type: ignore[no-untyped-call]
    return result


def gauss_legendre(count: int, stop: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights [count] float64 for an integral from 0 to `stop`."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    half = stop / 2
    return torch.from_numpy(half * (nodes + 1)).to(device), torch.from_numpy(half * weights).to(device)


def node_count(phase_rad: float) -> int:
    """Gauss-Legendre nodes for an integrand that turns by `phase_rad`: errors below 1e-10.

    The rule needs one node per 2 radians and then converges exponentially. Beyond 4096 nodes the range asked for
    is no longer a spot; raises InputError.
    """
    count = 32 + math.ceil(0.7 * phase_rad)
    if count > 4096:
        raise InputError(
            f"the light turns by {phase_rad:.0f} radians across the pupil, more than the 5800 that are computed; "
            "ask for a smaller field, or less defocus or depth"
        )
    return count


def path_difference(microscope: Microscope, q: Tensor, z_um: Tensor, depth_um: Tensor) -> Tensor:
    """Optical path of ray q less that of the axis, design conditions subtracted: [..., Z, *q.shape] in um.

    q         rays, float64;  z_um  [..., Z];  depth_um  [...], of the emitter above the coverslip
    """
    m = microscope
    # The immersion's thickness at z = 0: thickness over index, summed, as in the design: paraxial focus is kept.
    immersion_um = m.index_immersion * (
        m.working_distance_um / m.index_immersion_design
        + m.coverslip_design_um / m.index_coverslip_design
        - m.coverslip_um / m.index_coverslip
    )
    fixed = (
        immersion_um * _slope(m.index_immersion, q)
        - m.working_distance_um * _slope(m.index_immersion_design, q)
        + m.coverslip_um * _slope(m.index_coverslip, q)
        - m.coverslip_design_um * _slope(m.index_coverslip_design, q)
    )
    ones = (1,) * q.dim()
    sample = depth_um.reshape(*depth_um.shape, 1, *ones) * _slope(m.index_sample, q)
    return fixed + sample - z_um.reshape(*z_um.shape, *ones) * _slope(m.index_immersion, q)


def _slope(index: float, q: Tensor) -> Tensor:
    """n cos(theta) - n, without cancellation at small angles."""
    return -(q**2) / (index + torch.sqrt((index**2 - q**2).clamp(min=0)))


def phase_span(microscope: Microscope, wavelength_nm: float, z_um: Tensor, depth_um: Tensor) -> float:
    """By how many radians the phase turns from the pupil's centre outwards, at most over all planes."""
    q = torch.linspace(0, microscope.aperture, 33, dtype=torch.float64, device=z_um.device)
    with torch.no_grad():
        path = path_difference(microscope, q, z_um, depth_um)
        turn = (path[..., 1:] - path[..., :-1]).abs().sum(-1).max()
    return 2e3 * math.pi / wavelength_nm * float(turn)


def point_field(
    microscope: Microscope,
    wavelength_nm: float,
    r_um: Tensor,
    z_um: Tensor,
    depth_um: Tensor,
    *,
    vortex: bool = False,
) -> Tensor:
    """u(r, z): [..., Z, R] complex128, differentiable in z_um and depth_um (and in r_um without a vortex).

    r_um  [R] float64;  z_um  [..., Z] float64;  depth_um  [...] float64
    """
    k = 2e3 * math.pi / wavelength_nm
    aperture = microscope.aperture
    reach = k * aperture * float(r_um.detach().max())
    count = node_count(reach + phase_span(microscope, wavelength_nm, z_um, depth_um))
    # In the angle within the thinnest layer every square root above is smooth, even where it reaches 0.
    index = min(microscope.index_sample, microscope.index_immersion, microscope.index_coverslip)
    theta, weights = gauss_legendre(count, math.asin(aperture / index), z_um.device)
    q = index * torch.sin(theta)
    weights = 2 / aperture**2 * weights * index * torch.cos(theta) * q
    waves = k * q[:, None] * r_um
    bessel = torch.special.bessel_j1(waves) if vortex else bessel_j0(waves)
    phase = k * path_difference(microscope, q, z_um, depth_um)
    return torch.complex((torch.cos(phase) * weights) @ bessel, (torch.sin(phase) * weights) @ bessel)
