"""The texture of chromatin: periodic random fields, made once, that every nucleus takes a different piece of."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

VARIANTS = 4
GRAIN_UM = 0.1
"""Spacing of the samples along z, y and x."""
SIZE = (48, 128, 128)
"""Samples (z, y, x) after which a texture repeats: 4.8 um and 12.8 um."""
DOMAIN_UM = 0.4
"""Size of its domains."""


def texture(
    position_um: tuple[Float64, Float64, Float64], piece: tuple[int, NDArray[np.int64]], domain_um: float
) -> Float64:
    """Values of mean 0 and variance 1 at positions (z, y, x), with domains of `domain_um`.

    piece   which of the VARIANTS, and where in it (samples along z, y, x)
    """
    variant, offset = piece
    scale = DOMAIN_UM / domain_um / GRAIN_UM
    z, y, x = (
        (np.floor(along * scale).astype(np.int64) + shift) % size
        for along, shift, size in zip(position_um, offset, SIZE, strict=True)
    )
    values: Float64 = _field(variant).ravel()[(z * SIZE[1] + y) * SIZE[2] + x].astype(np.float64)
    return values


@functools.cache
def _field(variant: int) -> NDArray[np.float32]:
    """Gaussian noise with a spectrum that falls from 2.5 cycles a micrometre on, and detail down to 0.15 um."""
    rng = np.random.Generator(np.random.Philox(key=variant))
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, SIZE), indexing="ij"))) / GRAIN_UM
    frequency = frequency[..., : SIZE[2] // 2 + 1]
    amplitude = np.exp(-((frequency * 0.12) ** 2)) / (1 + (frequency * DOMAIN_UM) ** 2.5)
    # Long waves are left to the shape of the nucleus: here they would look like uneven staining.
    amplitude *= frequency / (frequency + 0.3)
    noise = np.fft.irfftn(np.fft.rfftn(rng.standard_normal(SIZE)) * amplitude, SIZE, axes=(0, 1, 2))
    field: NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return field
