"""The detector: photons that reach a pixel -> counts that it writes.

    photons --QE--> Poisson --EM register--> clipped at the full well --read noise, gain, offset--> round, clip to bits

A photon transfer curve is variance against mean of flat exposures. This one is a straight line:

    variance = gain * F^2 * (mean - offset) + (gain * read_noise / em_gain)^2 + 1/12     (Janesick 2007)

with mean = offset + gain * (photons * QE + dark) and F^2 = 1, or 2 behind an EM register (Hirsch et al. 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor

from fluorsr.errors import InputError


class Detector(pydantic.BaseModel):
    """A CCD, EMCCD or sCMOS camera, or the photon counter of a point scanner (no read noise).

    quantum_efficiency    photo-electrons per photon
    dark_electrons        of a pixel and exposure: thermal and clock-induced
    em_gain               mean electrons out of the EM register per electron in; 1 is no register, others from 10 on
    full_well_electrons   at which a pixel is full, after the register; inf where only the bits limit it
    read_noise            standard deviation in electrons (after the register)
    gain, offset          counts per electron (before the register), counts in the dark
    bits                  depth at which it saturates
    read_noise_spread     relative spread (log-normal) of the read noise from pixel to pixel, as in sCMOS
    gain_spread           relative standard deviation of the gain;  offset_spread  of the offset, in counts
    hot_fraction          of pixels that are hot, and their mean dark_electrons, hot_electrons, exponentially spread
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    quantum_efficiency: float = pydantic.Field(default=1.0, gt=0, le=1)
    dark_electrons: float = pydantic.Field(default=0.0, ge=0)
    em_gain: float = pydantic.Field(default=1.0, ge=1, le=10000)
    full_well_electrons: float = pydantic.Field(default=math.inf, gt=0)
    read_noise: float = pydantic.Field(default=1.5, ge=0)
    gain: float = pydantic.Field(default=1.0, gt=0)
    offset: float = pydantic.Field(default=100.0, ge=0)
    bits: int = pydantic.Field(default=16, ge=1, le=16)
    read_noise_spread: float = pydantic.Field(default=0.0, ge=0, le=2)
    gain_spread: float = pydantic.Field(default=0.0, ge=0, le=0.3)
    offset_spread: float = pydantic.Field(default=0.0, ge=0)
    hot_fraction: float = pydantic.Field(default=0.0, ge=0, le=1)
    hot_electrons: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.field_validator("em_gain")
    @classmethod
    def _many_stages(cls, value: float) -> float:
        if 1 < value < 10:
            raise ValueError(
                f"must be 1 (no register) or at least 10, where the model of many stages holds; got {value}"
            )
        return value

    @property
    def varies(self) -> bool:
        """Whether pixels differ, so that an exposure needs their maps."""
        return max(self.read_noise_spread, self.gain_spread, self.offset_spread, self.hot_fraction) > 0

    def draw_maps(self, shape: tuple[int, int], generator: torch.Generator) -> PixelMaps:
        """The pixels of one camera, to be used for all its exposures: [Y, X] float32 on the generator's device."""
        device = generator.device
        normal = [torch.randn(shape, generator=generator, device=device) for _ in range(3)]
        hot = torch.rand(shape, generator=generator, device=device) < self.hot_fraction
        heat = -torch.log1p(-torch.rand(shape, generator=generator, device=device))
        return PixelMaps(
            read_noise=self.read_noise * torch.exp(self.read_noise_spread * normal[0]),
            gain=self.gain * (1 + self.gain_spread * normal[1]).clamp(min=0.01),
            offset=(self.offset + self.offset_spread * normal[2]).clamp(min=0),
            dark_electrons=self.dark_electrons + self.hot_electrons * heat * hot,
        )

    def expected(self, photons: Tensor) -> Tensor:
        """Mean counts of a noise-free, unsaturated exposure of even pixels: [...] photons -> [...] float counts."""
        return self.offset + self.gain * (self.quantum_efficiency * photons + self.dark_electrons)

    def expose(self, photons: Tensor, generator: torch.Generator, maps: PixelMaps | None = None) -> Tensor:
        """Take an exposure: [..., Y, X] photons a pixel (float, not negative) -> [..., Y, X] uint16 counts.

        maps    of this camera, from `draw_maps`, where its pixels differ
        The same generator state gives the same exposure. Raises InputError for light that is negative or not a
        number, and for maps that are missing or of another size.
        """
        if not bool((photons >= 0).all()):
            raise InputError(
                f"photons must be at least 0, not {float(photons.min()):g}; clip the image before exposing"
            )
        if maps is None and self.varies:
            raise InputError("the pixels of this detector differ; draw their maps once with draw_maps and give them")
        if maps is not None and maps.gain.shape != photons.shape[-2:]:
            raise InputError(f"maps of {tuple(maps.gain.shape)} pixels do not fit an image of {tuple(photons.shape)}")
        pixels = maps or PixelMaps(*map(torch.tensor, (self.read_noise, self.gain, self.offset, self.dark_electrons)))
        read_noise, gain, offset, dark = (
            each.to(photons) for each in (pixels.read_noise, pixels.gain, pixels.offset, pixels.dark_electrons)
        )
        electrons = torch.poisson(self.quantum_efficiency * photons + dark, generator=generator)
        if self.em_gain > 1:
            electrons = _multiply(electrons, self.em_gain, generator)
        electrons = electrons.clamp(max=self.full_well_electrons)
        noise = torch.randn(photons.shape, generator=generator, dtype=photons.dtype, device=photons.device)
        electrons = electrons + read_noise * noise
        counts = offset + gain / self.em_gain * electrons
        return counts.round_().clamp_(0, 2**self.bits - 1).to(torch.int32).to(torch.uint16)


@dataclass(frozen=True)
class PixelMaps:
    """How the pixels of one camera differ: [Y, X] float32 each, units as in `Detector`."""

    read_noise: Tensor
    gain: Tensor
    offset: Tensor
    dark_electrons: Tensor


def _multiply(electrons: Tensor, em_gain: float, generator: torch.Generator) -> Tensor:
    """An EM register: n electrons become a gamma variate of shape n and scale em_gain (Basden et al. 2003)."""
    # torch.distributions.Gamma calls the same function, but takes no generator.
    multiplied = em_gain * torch._standard_gamma(electrons.clamp(min=1), generator=generator)
    return torch.where(electrons > 0, multiplied, 0)
