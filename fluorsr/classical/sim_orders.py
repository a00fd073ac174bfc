"""The orders of structured illumination: taken apart, told apart from noise, and what each lets through.

    frame n     D_n(k) = light_n sum_m exp(i theta_nm) C_m(k)          m = -M .. M, M = 1 (two beams) or 2 (three)
    order m     C_m(k) = c_m S(k - m p) H(k)                           c_0 = 1, c_m = modulation_m / 2

S is the specimen, H the transfer function, p the pattern's vector (Gustafsson, J. Microsc. 198, 82 (2000); three beams
in Gustafsson et al., Biophys. J. 94, 4957 (2008), here for one plane). Frames are real, so C_-m(k) = conj(C_m(-k)) and
only m = 0 .. M are kept.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import pydantic
import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.errors import InputError
from fluorsr.optics.microscope import Microscope
from fluorsr.optics.otf import cutoff_per_um, lens_otf, widefield_otf

Lens = NamedTuple(  # noqa: UP014 - TorchScript does not find postponed annotations of another file's tuples
    "Lens", [("pixel_size_um", float), ("cutoff_per_um", float), ("damping", float)]
)
"""What the sums need of SimOptics."""


def transfer(lens: Lens, frequency_per_um: Tensor) -> Tensor:
    """H at [...] frequencies: [...] of the same dtype."""
    return lens_otf(frequency_per_um, lens.cutoff_per_um, lens.damping)


class SimOptics(pydantic.BaseModel):
    """What the reconstruction knows of the microscope.

    microscope       aperture and wavelength of the emission, which set the cut-off
    pixel_size_um    of the camera in the specimen
    damping          real objectives and pixels pass less than the ideal lens: see `fluorsr.optics.otf.widefield_otf`
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    microscope: Microscope = Microscope()
    pixel_size_um: float = pydantic.Field(gt=0)
    damping: float = pydantic.Field(default=0.3, gt=0, le=1)

    @property
    def cutoff_per_um(self) -> float:
        """The highest frequency that the microscope passes, cycles per um."""
        return cutoff_per_um(self.microscope)

    @property
    def lens(self) -> Lens:
        return Lens(self.pixel_size_um, self.cutoff_per_um, self.damping)

    def transfer(self, frequency_per_um: Tensor) -> Tensor:
        """H at [...] frequencies: [...] of the same dtype."""
        return widefield_otf(self.microscope, frequency_per_um, damping=self.damping)


def frequencies(
    shape: tuple[int, int], pixel_size_um: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """(y, x) of `torch.fft.fft2` in cycles per um: [Y, 1] and [1, X] float64."""
    fy = torch.fft.fftfreq(shape[0], pixel_size_um, dtype=torch.float64, device=device)
    fx = torch.fft.fftfreq(shape[1], pixel_size_um, dtype=torch.float64, device=device)
    return fy[:, None], fx[None, :]


def centres_um(
    shape: tuple[int, int], pixel_size_um: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """(y, x) of pixel centres, (index + 0.5) * pixel_size_um: [Y, 1] and [1, X] float64."""
    y = (torch.arange(shape[0], dtype=torch.float64, device=device) + 0.5) * pixel_size_um
    x = (torch.arange(shape[1], dtype=torch.float64, device=device) + 0.5) * pixel_size_um
    return y[:, None], x[None, :]


def carrier(wave_per_um: Tensor, shape: tuple[int, int], pixel_size_um: float) -> Tensor:
    """exp(2 pi i p.r) at pixel centres: [..., 2] (y, x) -> [..., Y, X] complex128."""
    y, x = centres_um(shape, pixel_size_um, wave_per_um.device)
    p = wave_per_um[..., None, None]
    return torch.exp(2j * math.pi * p[..., 0, :, :] * y) * torch.exp(2j * math.pi * p[..., 1, :, :] * x)


def separate(frames: Tensor, phase_rad: Tensor, light: Tensor | None = None) -> Tensor:
    """Take the orders apart: [..., N, Y, X] frames of one angle -> [..., M + 1, Y, X] complex128, orders 0 .. M.

    phase_rad  [..., N, M] of each order in each frame;  light  [..., N] relative brightness of the frames
    Least squares (the inverse of Gustafsson's matrix for N = 2 M + 1). Raises InputError where the phases are too few
    or too close to each other to tell the orders apart.
    """
    check_phases(phase_rad, light)
    return mixed(unmixing(phase_rad, light), frames)


def separate_few(frames: Tensor, phase_rad: Tensor, light: Tensor | None = None) -> Tensor:
    """As `separate`, for any N >= 1: fewer phases than orders, as in 9 frames of three beams, or one frame a direction.

    Then the orders cannot be told apart. Those of least expected error are taken, P W* (W P W* + noise)^-1 with W the
    mixing of the orders -M .. M and P their power, each scaled so that its own part comes through whole: of one phase
    that is frame * exp(-i theta_m), a lock-in amplifier's product.
    """
    return mixed(unmixing_few(phase_rad, light), frames)


def check_phases(phase_rad: Tensor, light: Tensor | None = None) -> None:
    """Raises InputError where phases [..., N, M] do not tell 2 M + 1 orders apart."""
    n, orders = phase_rad.shape[-2:]
    if n < 2 * orders + 1:
        raise InputError(f"{2 * orders + 1} orders need at least as many phases, not {n}; reconstruct fewer beams")
    if not told_apart(phase_rad, light):
        steps = torch.rad2deg(phase_rad[..., 0]).remainder(360).round().flatten().tolist()
        raise InputError(f"phases of {steps} degrees do not tell {2 * orders + 1} orders apart; they must differ more")


def told_apart(phase_rad: Tensor, light: Tensor | None = None) -> bool:
    """Whether phases [..., N, M] tell 2 M + 1 orders apart without drowning them in noise."""
    mixing = _mixing(phase_rad, light)
    if phase_rad.shape[-2] < mixing.shape[-1] or not bool(torch.isfinite(mixing).all()):
        return False
    return float(torch.linalg.cond(mixing).max()) <= usual.WORST_CONDITION


def mixed(weights: Tensor, frames: Tensor) -> Tensor:
    """Sums of frames: [..., K, N] complex weights and [..., N, Y, X] -> [..., K, Y, X] complex128."""
    orders: Tensor = torch.einsum("...mn,...nyx->...myx", weights, frames.to(torch.complex128))
    return orders


def unmixing(phase_rad: Tensor, light: Tensor | None = None) -> Tensor:
    """Weights of the frames in each order, by least squares: [..., N, M] -> [..., M + 1, N] complex128."""
    weights: Tensor = torch.linalg.pinv(_mixing(phase_rad, light))
    return weights[..., : phase_rad.shape[-1] + 1, :]


def unmixing_few(phase_rad: Tensor, light: Tensor | None = None) -> Tensor:
    """As `unmixing`, those of least expected error, see `separate_few`; finite whatever the phases."""
    orders = phase_rad.shape[-1]
    mixing = _mixing(phase_rad, light)
    known = torch.tensor(usual.POWER, dtype=torch.float64, device=mixing.device)
    power = torch.cat([known[: orders + 1], known[1 : orders + 1]])
    noise = usual.NOISE * torch.eye(mixing.shape[-2], dtype=torch.complex128, device=mixing.device)
    weights: Tensor = torch.linalg.solve((mixing * power) @ mixing.mH + noise, mixing * power).mH
    # frames without any light hold no part of an order
    weights = weights / (weights * mixing.mT).sum(-1, keepdim=True).real.clamp(min=usual.TINY)
    return weights[..., : orders + 1, :]


def _mixing(phase_rad: Tensor, light: Tensor | None) -> Tensor:
    """How much of orders 0, 1 .. M, -1 .. -M each frame holds: [..., N, M] -> [..., N, 2 M + 1] complex128."""
    plus = torch.exp(1j * phase_rad.double())
    mixing = torch.cat([torch.ones_like(plus[..., :1]), plus, plus.conj()], -1)
    return mixing if light is None else mixing * light[..., None]


def nominal_phases(phases: int, orders: int, device: torch.device | None = None) -> Tensor:
    """Equal steps of 2 pi / N: [N, M] radians."""
    step = 2 * math.pi / phases * torch.arange(phases, dtype=torch.float64, device=device)
    return step[:, None] * torch.arange(1, orders + 1, dtype=torch.float64, device=device)


def power_of(spectra: Tensor) -> Tensor:
    """Squared magnitudes: [...] complex -> [...] real. `abs` takes a root first, at four times the cost."""
    return spectra.real.square() + spectra.imag.square()


def edge_window(shape: tuple[int, int], taper: float = 0.15, device: torch.device | None = None) -> Tensor:
    """1 inside, falling to 0 over `taper` of each side as a cosine: [Y, X] float64."""
    return _edge(shape[0], taper, device)[:, None] * _edge(shape[1], taper, device)


def _edge(n: int, taper: float, device: torch.device | None) -> Tensor:
    at = torch.arange(n, device=device)
    depth = (torch.minimum(at, at.flip(0)).double() + 0.5) / (taper * n)
    return 0.5 - 0.5 * torch.cos(math.pi * depth.clamp(max=1))


class Spectrum:
    """Signal and noise of the specimen ring by ring, from wide-field images of one scene that differ in noise only.

        power of the scene = mean of the images' cross-spectra        power of the noise = own spectra minus that

    images  [K, Y, X] real or [K, Y, X] spectra of it, K >= 2
    """

    def __init__(self, images: Tensor, frequency: Tensor) -> None:
        """images  [K, Y, X] complex spectra;  frequency  [Y, X] in cycles per um."""
        count = len(images)
        self.step = float(frequency[0, 1])
        self._ring = torch.round(frequency / self.step).long()
        self.members = torch.bincount(self._ring.flatten()).double()
        own = self._rings(power_of(images).mean(0))
        both = self._rings(power_of(images.sum(0)))
        self.signal = ((both / count - own) / (count - 1)).clamp(min=0)
        self.noise = (own - self.signal).clamp(min=0)
        share = self.signal / (self.signal + self.noise / count).clamp(min=usual.TINY)
        least = 4 / (self.members / (4 * count)).sqrt()
        self.share = torch.where(share < least.clamp(max=0.5), torch.zeros_like(share), share)

    def _rings(self, values: Tensor) -> Tensor:
        return torch.zeros_like(self.members).index_add_(0, self._ring.flatten(), values.flatten()) / self.members

    def spread(self, ring_values: Tensor) -> Tensor:
        """Values of rings [R] onto frequencies [Y, X]."""
        return ring_values[self._ring]
