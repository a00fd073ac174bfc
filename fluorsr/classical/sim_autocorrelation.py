"""Stripes of single frames, by the autocorrelation of their spectra: for few frames, and for vectors that are known.

A frame lit by stripes holds the specimen's spectrum several times, moved by the pattern's vector p against itself:

    sum_k D(k) conj(D(k - p))  =  transform of |d(r)|^2 at p  ~  exp(i phase) * power of the specimen

with d whitened, so that every frequency the microscope passes has one vote (Wicker, Opt. Express 21, 24692 (2013)). No
orders have to be told apart first, so one frame a direction will do. A specimen's own texture correlates by chance,
which leaves some degrees of error at any light; with all phases at hand `fluorsr.classical.sim_parameters` is finer.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import (
    Lens,
    SimOptics,
    centres_um,
    edge_window,
    frequencies,
    nominal_phases,
    power_of,
    transfer,
)
from fluorsr.classical.sim_parameters import (
    NoStripesError,
    SimParameters,
    check_periods,
    estimate_parameters,
    measure_rounds,
    reach_per_um,
)
from fluorsr.classical.sim_scene import Scene
from fluorsr.classical.sim_steps import Phases, all_angles, phases_of
from fluorsr.errors import InputError

LEAST_STRENGTH = 1.3
"""A peak's height over what noise reaches once in a hundred fields; a specimen's texture reaches 1.2."""
CHANCE = 0.01
"""How often noise alone may pass for stripes in a field that is searched,"""
KNOWN_CHANCE = 0.02
"""and at vectors that are known, all angles together: one dim angle does not spoil a plane."""
ZOOM = (0.2, 0.05, 0.01)
"""Steps of the refinement, in frequency steps of the field."""


class Squares:
    """Whitened frames of one direction, squared, their mean off, and how strongly chance alone shows at a frequency.

    TorchScript.
    """

    def __init__(self, series: Tensor, lens: Lens) -> None:
        """series  [N, Y, X]: each is whitened ring by ring and weighted with what the microscope passes."""
        shape = (series.shape[-2], series.shape[-1])
        self.pixel_um = lens.pixel_size_um
        self.step = 1 / (lens.pixel_size_um * max(shape[0], shape[1]))
        fy, fx = frequencies(shape, lens.pixel_size_um, series.device)
        k = torch.hypot(fy, fx)
        centred = series.double() - series.double().mean((-2, -1), keepdim=True)
        spectra = torch.fft.fft2(centred * edge_window(shape, device=series.device))
        level = self._rings(spectra, k).sqrt()[:, self._ring(k)]
        passed = transfer(lens, k) * (k > usual.LOWEST * lens.cutoff_per_um)
        squares = torch.fft.ifft2(spectra * (passed / level)).real ** 2
        self.values = squares - squares.mean((-2, -1), keepdim=True)
        rings = self._rings(torch.fft.fft2(self.values), k)
        # The stripes' own peaks lift a ring or two: the median of its neighbours is what chance makes.
        beyond = functional.pad(rings, [usual.NEIGHBOURS // 2, usual.NEIGHBOURS // 2], mode="replicate")
        self.chance = beyond.unfold(-1, usual.NEIGHBOURS, 1).median(-1)[0]

    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """At half frequency steps, each part of variance 1: [N, 2 Y, 2 X] complex, and frequencies (y, x)."""
        size = (2 * self.values.shape[-2], 2 * self.values.shape[-1])
        fy, fx = frequencies(size, self.pixel_um, self.values.device)
        found = torch.fft.fft2(self.values, s=[size[0], size[1]])
        return found / (self.chance[:, self._ring(torch.hypot(fy, fx))] / 2).sqrt(), fy, fx

    def at(self, waves: Tensor) -> Tensor:
        """The same at vectors [K, 2] (y, x) of about one length, cycles per um, phases at the first corner: [N, K]."""
        shape = (self.values.shape[-2], self.values.shape[-1])
        y, x = centres_um(shape, self.pixel_um, self.values.device)
        along_y = torch.exp(-2j * math.pi * y * waves[:, 0])
        along_x = torch.exp(-2j * math.pi * x.T * waves[:, 1])
        rows = torch.complex(self.values @ along_x.real, self.values @ along_x.imag)
        found = (rows * along_y).sum(1)
        ring = self._ring(torch.linalg.vector_norm(waves, dim=[-1]).mean()).clamp(max=self.chance.shape[-1] - 1)
        return found / (self.chance[:, ring, None] / 2).sqrt()

    def _ring(self, k: Tensor) -> Tensor:
        return torch.round(k / self.step).long()

    def _rings(self, spectra: Tensor, k: Tensor) -> Tensor:
        """Mean power of each ring: [N, R], never 0."""
        ring = self._ring(k).flatten()
        members = torch.bincount(ring).double()
        power = torch.zeros([len(spectra), len(members)], dtype=torch.float64, device=spectra.device)
        power.index_add_(1, ring, power_of(spectra).flatten(1))
        return (power / members.clamp(min=1)).clamp(min=usual.TINY)


def known_stripes(frames: Tensor, lens: Lens, waves: Tensor, orders: int, least_power: float) -> tuple[Phases, bool]:
    """Frames [A, N, Y, X] of stripes whose vectors [A, 2] (y, x) are known, and whether they show them.

    least_power   as `known_power` tells it
    What `measure_stripes` measures, but nothing is raised: of frames too dark, too small or too even for it the phases
    are those of `single_frames`, and the answer is False. Finite frames give finite phases. TorchScript.
    """
    found, amplitudes = single_frames(frames, lens, waves, orders)
    power = 0.0
    for a in range(len(amplitudes)):
        power += float(_together(amplitudes[a]))
    shown = power >= least_power
    if frames.shape[1] <= 2 * orders:
        return found, shown
    if shown and min(frames.shape[2], frames.shape[3]) >= usual.SMALLEST:
        scene = Scene(frames, lens, orders)
        if not scene.empty:
            _, finer, apart = measure_rounds(scene, waves, usual.ROUNDS, known=True)
            if apart:
                return finer, True
    return found, False


def known_power(angles: int, phases: int, orders: int) -> float:
    """The least power, over all angles, of frames that show their stripes at known vectors."""
    return _chance(phases, orders, KNOWN_CHANCE, angles)


def single_frames(frames: Tensor, lens: Lens, waves: Tensor, orders: int) -> tuple[Phases, Tensor]:
    """Phases of frames [A, N, Y, X] at vectors [A, 2], frame by frame, and what tells them: [A, N, M] complex.

    Modulation is NaN. TorchScript.
    """
    light = frames.double().mean((-2, -1))
    found: list[Phases] = []
    amplitudes: list[Tensor] = []
    for a in range(frames.shape[0]):
        squares = Squares(frames[a], lens)
        amplitude = torch.cat([squares.at(m * waves[a][None]) for m in range(1, orders + 1)], 1)
        even = frames.shape[1] >= usual.LEAST_PHASES
        found.append(phases_of(light[a], amplitude, torch.ones_like(amplitude.real), even=even))
        amplitudes.append(amplitude)
    phases = all_angles(found)
    phases.modulation.fill_(math.nan)  # whitened frames do not tell it
    return phases, torch.stack(amplitudes)


def find_stripes(
    frames: Tensor,
    optics: SimOptics,
    *,
    beams: int = 3,
    period_um: tuple[float, float] | None = None,
    wave_per_um: Tensor | None = None,
) -> SimParameters:
    """Vectors and phases of the stripes of frames [A, N, Y, X], N >= 1; modulation is NaN: it is not measured.

    period_um    (least, most) of the first order, where it is known
    wave_per_um  [A, 2] the vectors, where they are known

    Raises NoStripesError where no vector stands out or the directions' periods differ, or where the frames do not show
    stripes at the known vectors; InputError where wave_per_um has another shape.
    """
    angles, phases, orders = *frames.shape[:2], beams - 1
    if wave_per_um is not None and wave_per_um.shape != (angles, 2):
        raise InputError(f"wave_per_um {tuple(wave_per_um.shape)} must be ({angles}, 2): (y, x) of each angle")
    low, high = reach_per_um(optics, orders, period_um)
    places = math.pi * (high**2 - low**2) * optics.pixel_size_um**2 * 4 * frames[0, 0].numel()
    chance = _chance(phases, orders, CHANCE / places if wave_per_um is None else KNOWN_CHANCE)
    if wave_per_um is None:
        squares = [Squares(series, optics.lens) for series in frames]
        waves = torch.stack([_refine(each, _coarse(each, orders, low, high), orders) for each in squares])
    else:
        waves = wave_per_um.double()
    found, amplitudes = single_frames(frames, optics.lens, waves, orders)
    power = [float(_together(each)) for each in amplitudes]
    strength = [math.sqrt(each / chance) for each in power]
    if wave_per_um is None and min(strength) < LEAST_STRENGTH:
        raise NoStripesError(
            f"the stripes do not stand out: strength {', '.join(f'{each:.1f}' for each in strength)} at the angles, "
            f"and chance alone gives up to {LEAST_STRENGTH}; give the pattern as measured from brighter frames"
        )
    if wave_per_um is not None and sum(power) < known_power(angles, phases, orders):
        raise NoStripesError(
            "the frames do not show the stripes whose vectors are known, so their phases cannot be measured: strength "
            f"{', '.join(f'{each:.1f}' for each in strength)} at the angles, where noise alone reaches 1 once in "
            f"{1 / KNOWN_CHANCE:.0f} times; take brighter frames or a larger field, and look whether the vectors are "
            "of this microscope, with its angles in this order"
        )
    measured = SimParameters(waves, *found, torch.tensor(strength, dtype=torch.float64))
    if wave_per_um is None:
        check_periods(measured)
    return measured


def _together(amplitude: Tensor) -> Tensor:
    """Power of all frames and orders: [N, M, ...] complex -> [...]; of even steps the frames add up in phase."""
    phases, orders = amplitude.shape[0], amplitude.shape[1]
    if phases < usual.LEAST_PHASES:
        return (amplitude.abs() ** 2).sum((0, 1))
    nominal = nominal_phases(phases, orders, amplitude.device)
    step = torch.exp(-1j * nominal).reshape([phases, orders] + [1] * (amplitude.dim() - 2))
    return (amplitude * step).sum(0).abs().square().sum(0)


def _chance(phases: int, orders: int, probability: float, angles: int = 1) -> float:
    """Power of all frames and orders at one place an angle that noise exceeds with that probability.

    Each amplitude has two parts of variance 1, so its power is twice an exponential's, and a sum of them a gamma's.
    """
    parts, share = (orders, 2.0 * phases) if phases >= usual.LEAST_PHASES else (phases * orders, 2.0)
    parts *= angles
    low, high = torch.zeros((), dtype=torch.float64), torch.tensor(1000.0, dtype=torch.float64)
    for _ in range(50):
        middle = (low + high) / 2
        above = torch.special.gammaincc(torch.tensor(float(parts), dtype=torch.float64), middle) > probability
        low, high = (middle, high) if above else (low, middle)
    return share * float(high)


def _coarse(squares: Squares, count: int, low: float, high: float) -> Tensor:
    """The vector [2] of the highest peak between two lengths, to half a frequency step."""
    spectrum, fy, fx = squares.spectrum()
    height, width = spectrum.shape[-2:]
    rows, columns = torch.arange(height), torch.arange(width)
    orders = [spectrum[:, (m * rows % height)[:, None], (m * columns % width)[None, :]] for m in range(1, count + 1)]
    length = torch.hypot(fy, fx)
    power = _together(torch.stack(orders, 1))
    row, column = divmod(int(power.masked_fill((length < low) | (length > high), -1.0).argmax()), width)
    return torch.stack([fy[row, 0], fx[0, column]])


def _refine(squares: Squares, wave: Tensor, count: int) -> Tensor:
    """The peak near `wave`, on ever finer grids."""
    for factor in ZOOM:
        grid = factor * squares.step * torch.arange(-4, 5, dtype=torch.float64)
        near = wave + torch.cartesian_prod(grid, grid)
        amplitude = torch.stack([squares.at(m * near) for m in range(1, count + 1)], 1)
        wave = near[int(_together(amplitude).argmax())]
    return wave


def measure_stripes(
    frames: Tensor,
    optics: SimOptics,
    *,
    beams: int = 3,
    period_um: tuple[float, float] | None = None,
    wave_per_um: Tensor | None = None,
) -> SimParameters:
    """The stripes of frames [A, N, Y, X], in the finest way that they allow; see `estimate_parameters`.

    Of fewer phases than orders all is from here, and the modulation is NaN. Raises NoStripesError, also where frames do
    not show stripes at known vectors, and InputError.
    """
    if frames.shape[1] < 2 * beams - 1:
        return find_stripes(frames, optics, beams=beams, period_um=period_um, wave_per_um=wave_per_um)
    if wave_per_um is None:
        return estimate_parameters(frames, optics, beams=beams, period_um=period_um)
    seen = find_stripes(frames, optics, beams=beams, wave_per_um=wave_per_um)
    return replace(estimate_parameters(frames, optics, beams=beams, wave_per_um=wave_per_um), strength=seen.strength)
