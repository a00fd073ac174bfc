"""The camera: photons that reach it -> counts that it writes.

photo-electrons = Poisson(photons)              shot noise
counts = round(offset + gain * (photo-electrons + read_noise * N(0, 1)))   clipped to 0 .. 2**bits - 1
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Camera(BaseModel):
    """A linear camera.

    offset        counts written in the dark
    gain          counts per photo-electron
    read_noise    standard deviation in photo-electrons
    bits          depth at which it saturates
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: float = Field(default=100.0, ge=0)
    gain: float = Field(default=1.0, gt=0)
    read_noise: float = Field(default=1.5, ge=0)
    bits: int = Field(default=16, ge=1, le=16)

    def expected(self, photons: Tensor) -> Tensor:
        """Mean counts of a noise-free, unsaturated exposure: [...] photons -> [...] float counts."""
        return self.offset + self.gain * photons

    def expose(self, photons: Tensor, generator: torch.Generator) -> Tensor:
        """Take one exposure: [...] photons a pixel (float, not negative) -> [...] uint16 counts.

        The same generator state gives the same exposure.
        """
        electrons = torch.poisson(photons, generator=generator)
        electrons += self.read_noise * torch.randn(photons.shape, generator=generator, dtype=photons.dtype)
        counts = electrons.mul_(self.gain).add_(self.offset).round_().clamp_(0, 2**self.bits - 1)
        return counts.to(torch.int32).to(torch.uint16)
