"""Simulated raw SIM frames taken apart into orders, with stripes that are known as well as an estimate would know them.

The true stripes of a field, of which every quantity is off by what fluorsr.classical.sim_parameters is off by on real
frames, and more so in the dark; so a network learns to live with stripes that do not quite fit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.classical.sim_demodulate import demodulate
from fluorsr.data.instruments import ANGLES
from fluorsr.data.simulate import Field
from fluorsr.errors import InputError
from fluorsr.optics.psf import gaussian_blur

WAVE, PHASE, SECOND, FRAME, CONTRAST, LIGHT = 1.5e-3, 0.06, 0.08, 0.04, 0.12, 0.005
"""Standard deviations in bright light: of the vectors, relative; of each direction's phase, of the second order's
against twice the first's, and of each frame's, in radians; of contrast and brightness, relative."""

FLICKER = 0.03
"""Standard deviation of a frame's brightness: lasers and shutters keep to a few per cent."""

ORDERS = 2
FEWER = 1.7
"""How much larger errors are where phases are too few to tell orders apart; contrast is then not known at all."""

LOST = 0.3
"""Share of an order's contrast that an estimate misses at most, each time that errors double."""

SHARED = 0.25
"""Largest share of its light that a pixel gives to each neighbour along an axis: frames that were resampled have soft
noise. Half of the fields give none."""

DIM, WORST = 60.0, 3.0
"""Photons at which errors have grown by half, and how many times larger they become at most."""


def taken_apart(made: Field, frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Normalised frames [A * N, Y, X] -> what `demodulate` makes of them, [channels, Y, X].

    Raises InputError where the field has no stripes.
    """
    stripes = made.stripes
    if stripes is None:
        raise InputError(f"{len(frames)} frames of even light have no orders to be taken apart")
    phases = len(frames) // ANGLES
    few = phases <= 2 * ORDERS
    worse = min(WORST, math.sqrt(1 + DIM / made.photons)) * (FEWER if few else 1.0)

    def off(size: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(size * worse * rng.standard_normal(shape))

    # Two beams draw the second order of stripes of twice the period, whose first is not there.
    part = ORDERS + 1 - stripes.modulation.shape[1]
    true = stripes.wave_per_um[::phases] * made.pixel_size_um / part
    wave = true * (1 + off(WAVE, ANGLES, 2))
    middle = torch.tensor(frames.shape[-2:], dtype=torch.float64) / 2
    # Stripes fit best in the middle of what they were measured on.
    first = stripes.phase_rad.reshape(ANGLES, phases) / part + 2 * math.pi * ((true - wave) @ middle)[:, None]
    first = first + off(PHASE, ANGLES, 1) + off(FRAME, ANGLES, phases)
    orders_rad = torch.stack([m * first + (m - 1) * off(SECOND, ANGLES, 1) for m in range(1, ORDERS + 1)], -1)
    # Contrast that drowns in noise is taken for less than it is.
    drowned = torch.from_numpy(1 - LOST * (worse - 1) * rng.random((ANGLES, ORDERS)))
    unknown = torch.full((ANGLES, ORDERS), math.nan, dtype=torch.float64)
    contrast = unknown if few else stripes.modulation[::phases] * torch.exp(off(CONTRAST, ANGLES, ORDERS)) * drowned
    light = torch.from_numpy(1 + FLICKER * rng.standard_normal((ANGLES, phases)))
    lit = torch.from_numpy(frames).reshape(1, ANGLES, phases, *frames.shape[-2:]) * light[..., None, None]
    known = light / light.mean() * (1 + off(LIGHT, ANGLES, phases))
    share = max(0.0, SHARED * rng.uniform(-1, 1))
    lit = gaussian_blur(lit.float(), 2 * math.sqrt(2 * math.log(2) * 2 * share), radius=1) if share else lit.float()
    return demodulate(lit, wave, orders_rad, contrast, known, float(lit.mean()))[0].numpy()
