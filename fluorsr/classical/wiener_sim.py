"""Wiener reconstruction of structured illumination (Gustafsson 2000; Gustafsson et al. 2008), at half the pixel size.

    S(k) = apodisation(k) sum_dm a conj(c_dm H(k + m p_d)) C_dm(k + m p_d) / (sum_dm a |c_dm H(k + m p_d)|^2 + w(k))
                                                        the generalised Wiener filter of Gustafsson et al. 2008
         C_0        C_1         C_2             orders of one direction d as they were measured, each within the
        (   )     (  |  )   (     |  )          microscope's cut-off; moved by -m p they lie where the specimen has
          0         0 p       0     2p          them, and what several hold is averaged as each is worth

a is 1 - strength * Gaussian(distance to the measured frequency 0): out-of-focus light lies there in every order, and
where another order sees the same frequency better, that one is believed (O'Holleran and Shaw 2014; Wicker et al. 2013).
w is noise over signal, measured ring by ring and carried on as a power law, so that dark frames are smoothed by
themselves and bright ones are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pydantic
import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical.sim_autocorrelation import measure_stripes
from fluorsr.classical.sim_orders import SimOptics, Spectrum, carrier, edge_window, frequencies, separate
from fluorsr.classical.sim_parameters import SimParameters
from fluorsr.errors import InputError
from fluorsr.optics.otf import attenuation
from fluorsr.restorer import RestorerSpec

SCALE = 2
STEEPEST = -4.0
"""Of the specimen's power over frequency, as a power law."""


class WienerOptions(pydantic.BaseModel):
    """How the orders are put together.

    wiener               w as a constant instead of the measured one, in units of the transfer function squared
    wiener_factor        times the measured w: larger is smoother, smaller sharper and noisier; above 1 by default, as
                         errors of the parameters add to the noise
    apodisation          exponent of (1 - k / reach), reach = cut-off + the highest order's vector; 0 is none, and rings
    attenuation          strength of a, 0 to 1;  attenuation_width  its full width at half maximum over the cut-off
    notch                strength with which each side order's centre is taken back: remains of stripes, honeycomb
    notch_width          full width at half maximum of it over the cut-off
    pad                  camera pixels of reflection that fade to nothing around the field
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    wiener: float | None = pydantic.Field(default=None, gt=0)
    wiener_factor: float = pydantic.Field(default=2.0, gt=0)
    apodisation: float = pydantic.Field(default=0.7, ge=0, le=4)
    attenuation: float = pydantic.Field(default=1.0, ge=0, le=1)
    attenuation_width: float = pydantic.Field(default=0.6, gt=0)
    notch: float = pydantic.Field(default=0.0, ge=0, le=1)
    notch_width: float = pydantic.Field(default=0.1, gt=0)
    pad: int = pydantic.Field(default=32, ge=0, le=256)


@dataclass(frozen=True)
class Noise:
    """w at frequency k: factor * max(k, least_per_um) ** slope, a power law that the specimen's own power gives."""

    factor: float
    slope: float
    least_per_um: float

    def at(self, k: Tensor) -> Tensor:
        """w at frequencies k in cycles per um."""
        w: Tensor = self.factor * k.clamp(min=self.least_per_um) ** self.slope
        return w


@dataclass(frozen=True)
class Plane:
    """What all tiles of one plane have in common.

    parameters   of the stripes, pixel (0, 0) of the plane at the origin
    noise        for w
    level, even  means of the frames and of the side orders [A, M], taken off before: what is even in a tile is even
                 beyond it too, and not a bright square on nothing
    offset       added after, so that the plane's mean is kept
    """

    parameters: SimParameters
    noise: Noise
    level: float
    even: Tensor
    offset: float

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values; `from_json` inverts it."""
        own = {"level": self.level, "even": self.even.tolist(), "offset": self.offset}
        return {**self.parameters.to_json(), "noise": vars(self.noise), **own}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plane:
        """Rebuild from `to_json`'s dict."""
        parameters = SimParameters.from_json(values)
        even = torch.tensor(values["even"], dtype=torch.float64)
        return cls(parameters, Noise(**values["noise"]), values["level"], even, values["offset"])


class WienerSim:
    """Restorer: raw frames, angle by angle, to one image of half the pixel size and up to twice the resolution.

    parameters   of the stripes, from the whole image, its pixel (0, 0) at the origin; None measures them anew from each
                 tile, which then has to be the whole image or a part of it that is full of structure
    period_um    (least, most) of the first order, where it is known, for measuring
    wave_per_um  [A, 2] (y, x) the pattern vectors, where they are known: phases and modulation alone are measured
    plane        of all that is the same in every tile of a plane, as `measure` told it; without it the Wiener filter is
                 fitted to each tile and each tile keeps its own mean
    The filter's reach is without an end: the spec says that it is not exact.
    Raises InputError where phases and beams do not fit, and, measuring, where a tile shows no structure.
    """

    def __init__(
        self,
        optics: SimOptics,
        *,
        angles: int = 3,
        phases: int = 5,
        beams: int = 3,
        parameters: SimParameters | None = None,
        options: WienerOptions | None = None,
        period_um: tuple[float, float] | None = None,
        wave_per_um: Tensor | None = None,
        plane: Plane | None = None,
    ) -> None:
        parameters = plane.parameters if plane is not None else parameters
        if beams not in (2, 3) or phases < 2 * beams - 1 or angles < 2:
            raise InputError(
                f"{beams} beams, {angles} angles and {phases} phases: beams must be 2 or 3, angles at least 2 and "
                f"phases at least {2 * beams - 1}"
            )
        if parameters is not None and parameters.orders_rad.shape != (angles, phases, beams - 1):
            raise InputError(
                f"parameters of {tuple(parameters.orders_rad.shape)} angles, phases and orders do not fit "
                f"{(angles, phases, beams - 1)}"
            )
        self.optics, self.beams, self.parameters, self.period_um = optics, beams, parameters, period_um
        self.plane, self.wave_per_um = plane, wave_per_um
        self.options = options or WienerOptions()
        self.angles, self.phases = angles, phases
        self._spec = RestorerSpec(
            name=f"wiener-sim{angles * phases}-x{SCALE}",
            frames=angles * phases,
            scale=SCALE,
            halo=self.options.pad,
            exact=False,
            pixel_size_um=optics.pixel_size_um,
            modality="SIM",
        )

    @property
    def spec(self) -> RestorerSpec:
        return self._spec

    def measure(self, frames: Tensor, origin: tuple[int, int]) -> dict[str, Any]:
        """See fluorsr.restorer.MeasuringRestorer."""
        split = frames.reshape(self.angles, self.phases, *frames.shape[-2:])
        found = self._measured(split)
        level, shape = float(split.double().mean()), (split.shape[-2], split.shape[-1])
        orders = separate(split.double() - level * found.light[..., None, None], found.orders_rad, found.light)
        fy, fx = frequencies(shape, self.optics.pixel_size_um)
        noise = _fit_noise(torch.fft.fft2(orders[:, 0] * edge_window(shape)), torch.hypot(fy, fx), self.optics)
        even = (orders * _stripes(found, shape, self.optics.pixel_size_um, 0).conj()).mean((-2, -1)).real[:, 1:]
        restored = reconstruct(
            split[None], found, self.optics, self.options, plane=Plane(found, noise, level, even, 0.0)
        )
        offset = level - float(restored.mean())
        y, x = origin
        found = found.moved(-y * self.optics.pixel_size_um, -x * self.optics.pixel_size_um)
        return Plane(found, noise, level, even, offset).to_json()

    def measured(self, facts: dict[str, Any]) -> WienerSim:
        """See fluorsr.restorer.MeasuringRestorer."""
        return WienerSim(
            self.optics,
            angles=self.angles,
            phases=self.phases,
            beams=self.beams,
            options=self.options,
            period_um=self.period_um,
            wave_per_um=self.wave_per_um,
            plane=Plane.from_json(facts),
        )

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer; a batch of time points is one call."""
        frames = tiles.reshape(len(tiles), self.angles, self.phases, *tiles.shape[-2:])
        if self.parameters is not None:
            origin_um = origin.double() * self.optics.pixel_size_um
            together = reconstruct(frames, self.parameters, self.optics, self.options, origin_um, self.plane)
            return together.float()[:, None]
        restored = []
        for each in frames:
            found = self._measured(each)
            restored.append(reconstruct(each[None], found, self.optics, self.options))
        return torch.stack(restored).float()

    def _measured(self, frames: Tensor) -> SimParameters:
        return measure_stripes(
            frames, self.optics, beams=self.beams, period_um=self.period_um, wave_per_um=self.wave_per_um
        )


def reconstruct(
    frames: Tensor,
    parameters: SimParameters,
    optics: SimOptics,
    options: WienerOptions,
    origin_um: Tensor | None = None,
    plane: Plane | None = None,
) -> Tensor:
    """Frames [B, A, N, Y, X] of the same stripes -> [B, 2 Y, 2 X] float64 in the units of the frames, mean kept.

    origin_um   [B, 2] (y, x) where each field's first pixel has its corner in the parameters' frame; default (0, 0)
    plane       whose parts the fields are: its noise and its mean are taken; otherwise each field has its own
    """
    height, width = frames.shape[-2:]
    pad = min(options.pad, height - 1, width - 1)
    count, pixel_um = parameters.modulation.shape[1], optics.pixel_size_um
    own = frames.double().mean((1, 2, 3, 4), keepdim=True)
    level = own if plane is None else torch.full_like(own, plane.level)
    corner = torch.zeros(len(frames), 2).double() if origin_um is None else origin_um
    separated = separate(
        frames.double() - level * parameters.light[..., None, None], parameters.orders_rad, parameters.light
    )
    steps = torch.arange(count + 1, dtype=torch.float64)
    turn = 2 * math.pi * ((corner - pad * pixel_um) @ parameters.wave_per_um.T)[:, :, None] * steps
    separated = separated * torch.exp(-1j * turn)[..., None, None]
    if plane is not None:
        stripes = _stripes(parameters, (height, width), pixel_um, pad)[:, 1:]
        separated[:, :, 1:] -= plane.even[..., None, None] * stripes
    orders = torch.fft.fft2(_faded(separated, pad))
    shape, fine = (orders.shape[-2], orders.shape[-1]), (SCALE * orders.shape[-2], SCALE * orders.shape[-1])

    fy, fx = frequencies(shape, pixel_um)
    gy, gx = frequencies(fine, pixel_um / SCALE)
    frequency, k = torch.hypot(fy, fx), torch.hypot(gy, gx)
    known = optics.transfer(frequency) * _worth(frequency, optics, options)
    notch = attenuation(k, options.notch, options.notch_width * optics.cutoff_per_um)
    total = torch.zeros(len(frames), *fine, dtype=torch.float64)
    power = torch.zeros(fine, dtype=torch.float64)
    for d, wave in enumerate(parameters.wave_per_um):
        moved = torch.fft.ifft2(_enlarge(orders[:, d, 0] * known, fine)).real
        power += optics.transfer(k) ** 2 * _worth(k, optics, options)
        side = torch.zeros_like(total)
        for m in range(1, count + 1):
            c = float(parameters.modulation[d, m - 1]) / 2
            back = carrier(-m * wave, fine, pixel_um / SCALE)
            # Order -m is the conjugate of order m.
            side += 2 * c * (torch.fft.ifft2(_enlarge(orders[:, d, m] * known, fine)) * back).real
            for sign in (1, -1):
                at = torch.hypot(gy + sign * m * wave[0], gx + sign * m * wave[1])
                power += c**2 * optics.transfer(at) ** 2 * _worth(at, optics, options) * notch
        total += moved + torch.fft.ifft2(torch.fft.fft2(side) * notch).real
    reach = optics.cutoff_per_um + count * float(parameters.wave_per_um.norm(dim=1).mean())
    apodisation = (1 - k / reach).clamp(min=0) ** options.apodisation
    w = _regularisation(orders[:, :, 0], frequency, k, optics, options, plane)
    spectrum = torch.fft.fft2(total) * apodisation / (power + w)
    image = torch.fft.ifft2(spectrum).real * SCALE**2
    inside: Tensor = image[:, SCALE * pad : SCALE * (pad + height), SCALE * pad : SCALE * (pad + width)]
    if plane is None:
        return inside - inside.mean((-2, -1), keepdim=True) + own[:, 0, 0]
    return inside + plane.offset


def _stripes(parameters: SimParameters, shape: tuple[int, int], pixel_um: float, pad: int) -> Tensor:
    """exp(2 pi i m p.r) of every angle and order 0 .. M: [A, M + 1, Y, X], `pad` pixels from the corner."""
    count = parameters.modulation.shape[1]
    waves = parameters.wave_per_um[:, None] * torch.arange(count + 1, dtype=torch.float64)[:, None]
    start = torch.exp(2j * math.pi * pad * pixel_um * waves.sum(-1))
    return carrier(waves, shape, pixel_um) * start[..., None, None]


def _regularisation(
    wide: Tensor, frequency: Tensor, k: Tensor, optics: SimOptics, options: WienerOptions, plane: Plane | None
) -> Tensor:
    """w at frequencies k: a constant, that of the plane, or fitted to the orders 0 [B, A, Y, X] of each field."""
    if options.wiener is not None:
        return torch.full_like(k, options.wiener)
    if plane is not None:
        return plane.noise.at(k) * options.wiener_factor
    return torch.stack([_fit_noise(each, frequency, optics).at(k) for each in wide]) * options.wiener_factor


def _worth(frequency: Tensor, optics: SimOptics, options: WienerOptions) -> Tensor:
    """a at a frequency as the camera saw it."""
    return attenuation(frequency, options.attenuation, options.attenuation_width * optics.cutoff_per_um)


def _fit_noise(wide: Tensor, frequency: Tensor, optics: SimOptics) -> Noise:
    """w of one field from its orders 0 [A, Y, X]: power of their noise over the specimen's.

    1 throughout where nothing stands out of the noise, so that an empty field comes out smooth.
    """
    power = Spectrum(wide, frequency)
    ring = power.step * torch.arange(len(power.share), dtype=torch.float64)
    transfer = optics.transfer(ring)
    clear = (power.share > 0) & (ring > 2 * power.step) & (transfer > 0.1) & (power.signal > 0)
    if int(clear.sum()) < 3:
        return Noise(1.0, 0.0, float(ring[1]))
    noise = power.noise[(ring > 0.5 * optics.cutoff_per_um) & (ring < optics.cutoff_per_um)].mean()
    x, y, members = torch.log(ring), torch.log(power.signal / transfer**2), power.members
    x, y, members = x[clear], y[clear], members[clear] / members[clear].sum()
    mean_x, mean_y = (members * x).sum(), (members * y).sum()
    slope = ((members * (x - mean_x) * (y - mean_y)).sum() / (members * (x - mean_x) ** 2).sum()).clamp(STEEPEST, 0)
    return Noise(float(noise * torch.exp(slope * mean_x - mean_y)), -float(slope), float(ring[1]))


def _faded(field: Tensor, pad: int) -> Tensor:
    """[..., Y, X] -> reflected `pad` pixels beyond each side, falling to 0 there."""
    if pad == 0:
        return field
    if field.is_complex():
        return torch.complex(_faded(field.real, pad), _faded(field.imag, pad))
    flat = field.flatten(0, -3)
    padded = functional.pad(flat[None], (pad, pad, pad, pad), mode="reflect")[0]
    ramp = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(pad, dtype=torch.float64) + 0.5) / pad)
    sides = [torch.cat([ramp, torch.ones(n, dtype=torch.float64), ramp.flip(0)]) for n in field.shape[-2:]]
    faded: Tensor = padded * sides[0][:, None] * sides[1]
    return faded.reshape(*field.shape[:-2], *faded.shape[-2:])


def _enlarge(spectrum: Tensor, fine: tuple[int, int]) -> Tensor:
    """Put spectra [..., Y, X] into a larger grid's, frequency by frequency."""
    larger = torch.zeros(*spectrum.shape[:-2], *fine, dtype=spectrum.dtype)
    rows, columns = (
        torch.fft.fftfreq(n, 1 / n).round().long() % size for n, size in zip(spectrum.shape[-2:], fine, strict=True)
    )
    larger[..., rows[:, None], columns[None, :]] = spectrum
    return larger
