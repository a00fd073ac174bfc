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

LOST = 0.3
"""Share of an order's contrast that an estimate misses at most, each time that errors double."""

SHARED = 0.25
"""Largest share of its light that a pixel gives to each neighbour along an axis: frames that were resampled have soft
noise. Half of the fields give none."""

DIM, WORST = 60.0, 3.0
"""Photons at which errors have grown by half, and how many times larger they become at most."""


def taken_apart(made: Field, frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Normalised frames [A * N, Y, X] -> what `demodulate` makes of them, [channels, Y, X].

    Raises InputError where the field has no series of all phases.
    """
    stripes = made.stripes
    if stripes is None or len(frames) % ANGLES or len(frames) // ANGLES <= 2 * stripes.modulation.shape[1]:
        raise InputError(f"{len(frames)} frames are no series of all phases, so their orders cannot be taken apart")
    phases, count = len(frames) // ANGLES, stripes.modulation.shape[1]
    worse = min(WORST, math.sqrt(1 + DIM / made.photons))

    def off(size: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(size * worse * rng.standard_normal(shape))

    true = stripes.wave_per_um[::phases] * made.pixel_size_um
    wave = true * (1 + off(WAVE, ANGLES, 2))
    middle = torch.tensor(frames.shape[-2:], dtype=torch.float64) / 2
    # Stripes fit best in the middle of what they were measured on.
    first = stripes.phase_rad.reshape(ANGLES, phases) + 2 * math.pi * ((true - wave) @ middle)[:, None]
    first = first + off(PHASE, ANGLES, 1) + off(FRAME, ANGLES, phases)
    orders_rad = torch.stack([m * first + (m - 1) * off(SECOND, ANGLES, 1) for m in range(1, count + 1)], -1)
    # Contrast that drowns in noise is taken for less than it is.
    drowned = torch.from_numpy(1 - LOST * (worse - 1) * rng.random((ANGLES, count)))
    modulation = stripes.modulation[::phases] * torch.exp(off(CONTRAST, ANGLES, count)) * drowned
    light = torch.from_numpy(1 + FLICKER * rng.standard_normal((ANGLES, phases)))
    lit = torch.from_numpy(frames).reshape(1, ANGLES, phases, *frames.shape[-2:]) * light[..., None, None]
    known = light / light.mean() * (1 + off(LIGHT, ANGLES, phases))
    share = max(0.0, SHARED * rng.uniform(-1, 1))
    lit = gaussian_blur(lit.float(), 2 * math.sqrt(2 * math.log(2) * 2 * share), radius=1) if share else lit.float()
    return demodulate(lit, wave, orders_rad, modulation, known, float(lit.mean()))[0].numpy()
