"""The spots of a simulated microscope, plane by plane, as transfer functions of the radius alone.

    spot h(r, z) of fluorsr.optics  --x taper-->  ends at `margin_um`  --Hankel transform-->  H(f, z), radial

A table of radii serves every pixel size and every image size, so the costly part is done once a microscope.

    input      wide-field or confocal; out of focus by the physics
    target     what an ideal instrument shows: in focus a STED spot of the wanted width, or the wide-field transfer
               function at 1.8 times its cut-off, which stripes reach (SIM). That one is the spot of a lens of a larger
               aperture: it never rings below 0. Out of focus the target's spot widens by as much as the input's does
               (for SIM only where stripes show no detail any more), and its light fades as a confocal's: what is out of
               focus is weak and smooth, so that no network learns to make filaments of haze. Where the input is
               confocal itself, both fade alike, so the target is sharper but not brighter.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.optics.confocal import confocal_density
from fluorsr.optics.debye import bessel_j0, gauss_legendre, node_count
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import cutoff_per_um, widefield_otf
from fluorsr.optics.sted import doughnut
from fluorsr.optics.widefield import best_focus_um, light_density

Kind = Literal["sted", "sim"]

PLANES_UM = (-4.0, -2.5, -1.6, -1.0, -0.65, -0.4, -0.2, 0.0, 0.2, 0.4, 0.65, 1.0, 1.6, 2.5, 4.0)
"""Heights above the focus at which spots are computed; light in between is shared by its two planes."""

FOCUS = PLANES_UM.index(0.0)
CONFOCAL_MARGIN_UM, WIDEFIELD_MARGIN_UM = 1.5, 3.0
"""Where spots end. A wide-field spot keeps all its light within; a confocal one has next to none outside."""

FINER = 1.8
"""How far SIM reaches, over the lens's cut-off: that, and twice the vector of stripes that the lens itself projects."""

STRIPED = 1.5
"""Depths of field (n wavelength / NA^2) from the focus within which stripes show detail; light from beyond is haze."""

FAR = PLANES_UM.index(2.5)
"""The plane whose light stands for the haze of all that lies far out of focus."""


@dataclass(frozen=True)
class Spots:
    """Transfer functions of one microscope.

    margin_um    radius at which every spot has ended;  step_per_um  between the frequencies, from 0 on
    image, target   [Z, F] float32 at PLANES_UM; 1 at frequency 0 in focus
    haze         (input, target): what is left of the light of far planes
    fwhm_um      of the input's spot in focus
    """

    margin_um: float
    step_per_um: float
    image: Tensor
    target: Tensor
    haze: tuple[float, float]
    fwhm_um: float

    def spread(self, table: Tensor, frequency_per_um: Tensor) -> Tensor:
        """A table [Z, F] at the frequencies [Y, X], linearly interpolated, 0 beyond its end: [Z, Y, X] float32."""
        at = frequency_per_um / self.step_per_um
        below = at.long().clamp(max=table.shape[1] - 2)
        share = (at - below).to(torch.float32)
        inside = at < table.shape[1] - 1
        values = torch.lerp(table[:, below], table[:, below + 1], share)
        return torch.where(inside, values, 0.0)


@functools.lru_cache(maxsize=512)
def make_spots(
    microscope: Microscope, confocal: bool, kind: Kind, target_fwhm_um: float, depth_um: float, damping: float = 1.0
) -> Spots:
    """The spots of a microscope focused `depth_um` deep into the specimen; some 50 ms, and remembered.

    target_fwhm_um    of a STED target;  kind  of the target;  damping  of a wide-field lens, as for `widefield_otf`
    Raises InputError where the target's spot would be wider than the confocal one.
    """
    margin = CONFOCAL_MARGIN_UM if confocal else WIDEFIELD_MARGIN_UM
    bandwidth = 4e3 * microscope.aperture / microscope.excitation_nm
    highest = max(bandwidth, 2.2 / target_fwhm_um) if kind == "sted" else bandwidth
    radius, area = _rings(highest + bandwidth, margin)

    z = torch.tensor(PLANES_UM, dtype=torch.float64)
    focus = best_focus_um(microscope, depth_um) if depth_um else 0.0
    heights = torch.full((len(z), 1), focus, dtype=torch.float64)
    if confocal:
        light = confocal_density(microscope, radius, heights, z + depth_um)[:, 0]
        kept = light @ area
    else:
        light = light_density(microscope, microscope.emission_nm, radius, heights, z + depth_um)[:, 0]
        light = light / (light @ area)[:, None]
        near, near_area = _rings(2 * bandwidth, CONFOCAL_MARGIN_UM)
        closed = microscope.model_copy(update={"pinhole_airy_units": 1.0})
        kept = confocal_density(closed, near, heights, z + depth_um)[:, 0] @ near_area
    light = light / (light[FOCUS] @ area)
    kept = kept / kept[FOCUS]

    # Planes of the table so close that between two of them even a spot's rim turns by a fifth of a radian only.
    step = 1 / (32 * margin)
    frequency = torch.arange(math.ceil(highest / step) + 2, dtype=torch.float64) * step
    image = (light * area) @ _waves(radius, frequency)
    if not confocal:
        image = image * damping ** (frequency / cutoff_per_um(microscope))
    sharp = (
        _sted(microscope, frequency, target_fwhm_um) if kind == "sted" else widefield_otf(microscope, frequency / FINER)
    )
    widening = _widening_um(light * area, radius)
    if kind == "sim":
        depth_of_field = microscope.index_immersion * microscope.emission_nm * 1e-3 / microscope.aperture**2
        widening = widening * (1 - torch.exp(-((z / (STRIPED * depth_of_field)) ** 4)))
    target = sharp * torch.exp(-((math.pi * widening[:, None] * frequency) ** 2) / (4 * math.log(2)))
    return Spots(
        margin,
        step,
        image.float(),
        (kept[:, None] * target).float(),
        (float(image[FAR, 0]), float(kept[FAR])),
        2 * _half_radius(light[FOCUS], radius),
    )


def _taper(share: Tensor) -> Tensor:
    """1 up to seven tenths of the margin, and down to 0 at the margin."""
    return torch.cos(math.pi / 2 * ((share - 0.7) / 0.3).clamp(0, 1)) ** 2


def _rings(highest_per_um: float, reach_um: float) -> tuple[Tensor, Tensor]:
    """Radii [R] up to `reach_um` for integrands of such frequencies, and the tapered areas of their rings."""
    radius, weights = gauss_legendre(node_count(2 * math.pi * highest_per_um * reach_um), reach_um, torch.device("cpu"))
    return radius, weights * 2 * math.pi * radius * _taper(radius / reach_um)


def _waves(radius: Tensor, frequency: Tensor) -> Tensor:
    """J_0(2 pi f r), the kernel of the Hankel transform: [R, F]."""
    return bessel_j0(2 * math.pi * radius[:, None] * frequency)


def _sted(microscope: Microscope, frequency: Tensor, fwhm_um: float) -> Tensor:
    """Transfer function of an ideal STED spot in focus: [F] float64, 1 at frequency 0.

    The saturation is the one at which half the peak is left at half the width.
    """
    ideal = microscope.model_copy(update={"index_sample": microscope.index_immersion})
    reach = 4 * fwhm_um
    radius, area = _rings(float(frequency[-1]), reach)
    zero = torch.zeros(1, dtype=torch.float64)
    radii = torch.cat((zero, torch.tensor([fwhm_um / 2], dtype=torch.float64), radius))
    spot, dark = (f(ideal, radii, zero, zero[0])[0] for f in (confocal_density, doughnut))
    saturation = float(torch.log2(2 * spot[1] / spot[0]) / dark[1])
    if saturation < 0:
        raise InputError(
            f"target_fwhm_um {fwhm_um:g} must be narrower than the confocal spot at NA {ideal.numerical_aperture:g} "
            f"and {ideal.emission_nm:g} nm; lower it, or lower the aperture"
        )
    sted = (spot * torch.exp2(-saturation * dark))[2:] * area
    return (sted / sted.sum()) @ _waves(radius, frequency)


def _widening_um(energy: Tensor, radius: Tensor) -> Tensor:
    """By how much each plane's spot is wider than the one in focus: [Z], full widths of Gaussians that add in squares.

    Widths are judged by the radius that holds half the light, which for a Gaussian is half its full width.
    """
    reached = energy.cumsum(1) / energy.sum(1, keepdim=True)
    half = torch.stack([radius[int((each < 0.5).sum())] for each in reached])
    return 2 * torch.sqrt((half**2 - half[FOCUS] ** 2).clamp(min=0))


def _half_radius(density: Tensor, radius: Tensor) -> float:
    """Where a spot has fallen to half its peak, between two nodes."""
    after = int((density >= density[0] / 2).sum())
    high, low = float(density[after - 1]), float(density[after])
    share = (high - float(density[0]) / 2) / (high - low)
    return float(torch.lerp(radius[after - 1], radius[after], share))
