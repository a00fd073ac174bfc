"""Structured illumination: the stripes that two or three beams draw in the specimen.

    two beams     I = 1 + m1 cos(2 pi k.x + phase)
    three beams   I = 1 + m1 cos(2 pi k.x + phase) cos(2 pi w z) + m2 cos(2 (2 pi k.x + phase))

                 ky                        |k| = 1 / period_um; the second order lies at 2 k
            .     |     .                  w = n/wl - sqrt((n/wl)^2 - k^2): how fast the first order
              o   |   o                    fades in and out along z (Gustafsson et al. 2008, eq. 8 to 10)
      - . - o - - + - - o - . - kx         o first orders, . second orders, three angles
              o   |   o
            .     |     .

Frames come angle by angle, as microscopes write them: frame = phases * angle + phase. The stripes are fixed to the
camera, whose pixel (0, 0) has its corner at (0, 0); what drifts is the specimen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor

from fluorsr.errors import InputError


class SimIllumination(pydantic.BaseModel):
    """What the illuminator is set to, and how well it keeps to it.

    directions_rad       of k against the x axis, towards y, one for each angle; `even_directions` spaces them evenly
    phases               equal steps over one period of the first order, at each angle
    period_um            of the first order; with three beams the second has half of it
    modulation           contrast of each order at its best: (m1,) for two beams, (m1, m2) for three
    modulation_loss      share of it that an angle may lose, drawn evenly up to this: beams never overlap quite alike
    first_phases_rad     of the first order at (0, 0) in the first frame of each angle; all 0 where none are given
    angle_error_rad      standard deviation of each direction from its nominal one
    phase_error_rad      standard deviation of each frame's phase from its nominal one
    drift_um             standard deviation of the specimen's step, per axis, from one frame to the next
    wavelength_nm, index_sample   of the exciting light, and the medium that it interferes in
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    directions_rad: tuple[float, ...] = pydantic.Field(
        default=(0.0, math.pi / 3, 2 * math.pi / 3), min_length=1, max_length=32
    )
    phases: int = pydantic.Field(default=5, ge=1, le=32)
    period_um: float = pydantic.Field(default=0.494, gt=0)
    modulation: tuple[float, ...] = pydantic.Field(default=(0.6, 0.5), min_length=1, max_length=2)
    modulation_loss: float = pydantic.Field(default=0.0, ge=0, le=1)
    first_phases_rad: tuple[float, ...] = ()
    angle_error_rad: float = pydantic.Field(default=0.0, ge=0)
    phase_error_rad: float = pydantic.Field(default=0.0, ge=0)
    drift_um: float = pydantic.Field(default=0.0, ge=0)
    wavelength_nm: float = pydantic.Field(default=488.0, ge=200, le=2000)
    index_sample: float = pydantic.Field(default=1.515, ge=1, lt=2)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> SimIllumination:
        shortest = self.wavelength_nm * 1e-3 / self.index_sample / (2 if self.beams == 2 else 1)
        if self.period_um < shortest:
            raise ValueError(
                f"period_um {self.period_um} must be at least {shortest:.4f}: {self.beams} beams of "
                f"{self.wavelength_nm:g} nm in index {self.index_sample:g} cannot draw finer stripes"
            )
        if len(self.first_phases_rad) not in (0, len(self.directions_rad)):
            raise ValueError(
                f"first_phases_rad has {len(self.first_phases_rad)} phases for {len(self.directions_rad)} directions; "
                "give one for each, or none"
            )
        cosine = torch.cos(torch.linspace(0, math.pi, 721, dtype=torch.float64))
        m1, m2 = (*self.modulation, 0.0)[:2]
        # Both signs of m1: along z the first order turns over.
        lowest = float((1 - abs(m1) * cosine.abs() + m2 * (2 * cosine**2 - 1)).min())
        if min(self.modulation) < 0 or lowest < -1e-6:
            raise ValueError(
                f"modulation {self.modulation} must be at least 0 and leave no negative light (lowest {lowest:.3f}); "
                "one order goes up to 1, two equal side beams and a centre of amplitude c give "
                "m1 = 4 c / (c^2 + 2) and m2 = 2 / (c^2 + 2)"
            )
        return self

    @property
    def beams(self) -> int:
        """2 or 3: one order of stripes or two."""
        return 1 + len(self.modulation)

    @property
    def frames(self) -> int:
        """Raw frames of one series: angles times phases."""
        return len(self.directions_rad) * self.phases

    @property
    def axial_per_um(self) -> float:
        """Cycles per um of the first order's fading along z; 0 with two beams, whose stripes do not change with z."""
        if self.beams == 2:
            return 0.0
        sphere = 1e3 * self.index_sample / self.wavelength_nm
        return sphere - math.sqrt(sphere**2 - 1 / self.period_um**2)


def even_directions(angles: int, first_rad: float = 0.0) -> tuple[float, ...]:
    """`angles` directions, pi / angles apart: stripes look the same after half a turn."""
    return tuple(first_rad + math.pi * angle / angles for angle in range(angles))


@dataclass(frozen=True)
class SimFrames:
    """The stripes of each frame as they were, errors included; all float64, frame = phases * angle + phase.

    wave_per_um   [F, 2] (y, x) of the first order;  phase_rad  [F] of the first order at (0, 0)
    modulation    [F, orders] contrast;  drift_um  [F, 2] (y, x) where the specimen stands, (0, 0) in the first frame
    """

    wave_per_um: Tensor
    phase_rad: Tensor
    modulation: Tensor
    drift_um: Tensor

    def orders_per_um(self) -> Tensor:
        """Where the orders lie in frequency space: [F, orders, 2] (y, x), cycles per um; mirrored at minus that."""
        return self.wave_per_um[:, None] * torch.arange(1, self.modulation.shape[1] + 1).to(self.wave_per_um)[:, None]


def sim_frames(illumination: SimIllumination, generator: torch.Generator | None = None) -> SimFrames:
    """The frames of one exposure series, with errors drawn from `generator` (on the CPU).

    Raises InputError where errors are asked for and there is no generator.
    """
    s = illumination
    if generator is None and max(s.angle_error_rad, s.phase_error_rad, s.drift_um, s.modulation_loss) > 0:
        raise InputError("errors of the illumination are drawn at random; give a torch.Generator, or set them to 0")
    f64 = torch.float64
    angle = torch.tensor(s.directions_rad, dtype=f64)
    modulation = torch.tensor(s.modulation, dtype=f64).expand(len(angle), -1)
    first = torch.tensor(s.first_phases_rad or (0.0,) * len(angle), dtype=f64)
    phase = (first[:, None] + 2 * math.pi / s.phases * torch.arange(s.phases, dtype=f64)).flatten()
    drift = torch.zeros(s.frames, 2, dtype=f64)
    if generator is not None:
        angle = angle + s.angle_error_rad * torch.randn(angle.shape, generator=generator, dtype=f64)
        phase = phase + s.phase_error_rad * torch.randn(phase.shape, generator=generator, dtype=f64)
        steps = s.drift_um * torch.randn(drift.shape, generator=generator, dtype=f64)
        drift = torch.cumsum(steps, 0) - steps[0]
        lost = s.modulation_loss * torch.rand((len(angle), 1), generator=generator, dtype=f64)
        modulation = modulation * (1 - lost)
    wave = torch.stack((torch.sin(angle), torch.cos(angle)), 1) / s.period_um
    return SimFrames(wave.repeat_interleave(s.phases, 0), phase, modulation.repeat_interleave(s.phases, 0), drift)


def sim_patterns(
    illumination: SimIllumination,
    frames: SimFrames,
    shape: tuple[int, int],
    pixel_size_um: tuple[float, float],
    z_um: Tensor | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Relative intensity, 1 on average: [F, Y, X] float64 in focus, or [F, Z, Y, X] at heights z_um [Z].

    shape, pixel_size_um   (y, x);  values are those at pixel centres, (index + 0.5) * pixel_size_um
    Differentiable in the frames' waves, phases and modulation, and in z_um.
    """
    wave, phase, modulation = (t.to(device) for t in (frames.wave_per_um, frames.phase_rad, frames.modulation))
    modulation = modulation[:, :, None, None]
    y, x = ((torch.arange(n).to(wave) + 0.5) * step for n, step in zip(shape, pixel_size_um, strict=True))
    turns = wave[:, 0, None, None] * y[:, None] + wave[:, 1, None, None] * x
    theta = 2 * math.pi * turns + phase[:, None, None]
    first = modulation[:, 0] * torch.cos(theta)
    rest = torch.ones_like(first)
    if illumination.beams == 3:
        rest = rest + modulation[:, 1] * torch.cos(2 * theta)
    if z_um is None:
        return rest + first
    fading = torch.cos(2 * math.pi * illumination.axial_per_um * z_um.to(wave))
    return rest[:, None] + first[:, None] * fading[:, None, None]
