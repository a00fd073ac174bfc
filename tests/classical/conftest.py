"""SIM frames of a known specimen, drawn without any of the code that takes them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.classical.sim_orders import SimOptics
from fluorsr.data.structures.emitters import Area
from fluorsr.data.structures.field import emitters_in
from fluorsr.optics.illumination import SimFrames, SimIllumination, even_directions, sim_frames, sim_patterns
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import widefield_otf

PIXEL_UM, SIDE, FINER = 0.06, 128, 4
"""Camera pixels, and specimen pixels in each of them."""


@dataclass(frozen=True)
class Series:
    """frames [A, N, Y, X] counts;  truth [2 Y, 2 X] the emitters on the output's pixels;  stripes as they were."""

    frames: Tensor
    truth: Tensor
    stripes: SimFrames
    illumination: SimIllumination
    optics: SimOptics


def take(illumination: SimIllumination, photons: float, seed: int = 0, side: int = SIDE) -> Series:
    """Filaments, lit, blurred by the ideal lens, integrated over pixels, with shot noise and read noise."""
    microscope = Microscope(numerical_aperture=1.4, emission_nm=525.0)
    generator = torch.Generator().manual_seed(seed)
    field_um, fine = side * PIXEL_UM, side * FINER
    emitters = emitters_in("microtubules", seed, Area((0.0, 0.0), (field_um, field_um)))
    rows, columns = (np.minimum(at / PIXEL_UM * FINER, fine - 1).astype(int) for at in (emitters.y, emitters.x))
    specimen = torch.zeros(fine * fine, dtype=torch.float64)
    specimen.index_add_(0, torch.from_numpy(rows * fine + columns), torch.from_numpy(emitters.light).double())
    specimen = specimen.reshape(fine, fine)
    stripes = sim_frames(illumination, generator)
    pattern = sim_patterns(illumination, stripes, (fine, fine), (PIXEL_UM / FINER, PIXEL_UM / FINER))
    f = torch.fft.fftfreq(fine, PIXEL_UM / FINER, dtype=torch.float64)
    otf = widefield_otf(microscope, torch.hypot(f[:, None], f))
    light = torch.fft.ifft2(torch.fft.fft2(specimen * pattern) * otf).real.clamp(min=0)
    light = light.reshape(-1, side, FINER, side, FINER).sum((2, 4))
    light = light / torch.quantile(light.mean(0).flatten(), 0.99) * photons
    noise = 1.5 * torch.randn(light.shape, generator=generator, dtype=torch.float64)
    counts = 100 + torch.poisson(light, generator=generator) + noise
    return Series(
        counts.reshape(len(illumination.directions_rad), illumination.phases, side, side),
        specimen.reshape(2 * side, FINER // 2, 2 * side, FINER // 2).sum((1, 3)),
        stripes,
        illumination,
        SimOptics(microscope=microscope, pixel_size_um=PIXEL_UM, damping=0.9),
    )


THREE_BEAMS = SimIllumination(
    directions_rad=even_directions(3, 0.25), first_phases_rad=(0.3, 2.0, 4.0), phase_error_rad=math.radians(4)
)
TWO_BEAMS = SimIllumination(
    directions_rad=even_directions(3, 0.25),
    phases=3,
    period_um=0.22,
    modulation=(0.8,),
    first_phases_rad=(0.3, 2.0, 4.0),
)


@pytest.fixture(scope="session")
def three_beams() -> Series:
    return take(THREE_BEAMS, 2000)


@pytest.fixture(scope="session")
def two_beams() -> Series:
    return take(TWO_BEAMS, 2000, side=192)


@pytest.fixture(scope="session")
def simulate_sim():
    """The function itself, for other illuminations and photons."""
    return take
