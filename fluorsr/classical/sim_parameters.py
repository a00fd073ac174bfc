"""Parameters of structured illumination, measured from its frames: pattern vectors, phases, modulation.

    1  orders taken apart with the phase steps as declared                     Gustafsson 2000
    2  pattern vector p: the peak of the cross-correlation of what order 0 and order m share
           X_m(q) = sum_k conj(S(k)) H(k + q) C_m(k + q)                       after Gustafsson et al. 2008
       summed over orders at q = p, 2 p, and refined by a zoomed Fourier transform
    3  each frame as a weighted sum of the orders that the wide-field image predicts
           D_n = a_n0 H S + sum_m Re(a_nm H (S exp(2 pi i m p.r)))
       whose a_nm are its phases, its brightness and the modulation; linear, so each frame's phase is measured alone
    4  orders taken apart with these phases, and 2 and 3 again

The sums are in fluorsr.classical.sim_scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from fluorsr.classical.sim_orders import SimOptics, frequencies, nominal_phases, separate
from fluorsr.classical.sim_scene import Scene
from fluorsr.errors import InputError

ROUNDS = 8
SHORTEST, LONGEST = 1.1, 0.5
"""Vector of the highest order over the cut-off, at most and at least, where the pattern is looked for."""

SAME_PERIOD = 0.05
"""Relative difference of the angles' periods that microscopes stay well below."""

LEAST_STRENGTH = 1.5
"""Height of a pattern's peak that noise alone may reach."""

STEP_ERROR = math.radians(15)
"""Standard deviation of a phase step from the declared one, before anything is measured."""

ZOOM = (0.2, 0.05, 0.012, 0.003, 0.0007)
"""Steps of the refinement, in frequency steps of the field."""


class NoStripesError(InputError):
    """The frames show no stripes that stand out of their noise."""


@dataclass(frozen=True)
class SimParameters:
    """The stripes of one series, all float64. Directions and phases as in `fluorsr.optics.illumination`.

    wave_per_um   [A, 2] (y, x) of the first order, cycles per um; signed so that the phases rise from frame to frame
    phase_rad     [A, N] of the first order at (0, 0), the corner of the first pixel
    offset_rad    [A, M] by which order m's phase differs from m times the first's; 0 for the first
    modulation    [A, M] contrast of each order in the image, out-of-focus light left out
    light         [A, N] brightness of each frame, 1 on average
    clarity       [A, N] contrast of each frame's stripes over the angle's median: near 0 where a frame has others
    phase_error_rad  [A, N] standard error of phase_rad
    strength      [A] height of the cross-correlation's peak over what noise alone would make
    """

    wave_per_um: Tensor
    phase_rad: Tensor
    offset_rad: Tensor
    modulation: Tensor
    light: Tensor
    clarity: Tensor
    phase_error_rad: Tensor
    strength: Tensor

    @property
    def period_nm(self) -> Tensor:
        """Of the first order: [A]."""
        period: Tensor = 1000 / torch.linalg.vector_norm(self.wave_per_um, dim=1)
        return period

    @property
    def angle_deg(self) -> Tensor:
        """Direction of the pattern vector against the x axis, towards y: [A] in -180 to 180."""
        return torch.rad2deg(torch.atan2(self.wave_per_um[:, 0], self.wave_per_um[:, 1]))

    @property
    def step_deg(self) -> Tensor:
        """Phase of each frame against the angle's first: [A, N] in 0 to 360."""
        return torch.rad2deg(self.phase_rad - self.phase_rad[:, :1]).remainder(360)

    @property
    def orders_rad(self) -> Tensor:
        """Phase of every order in every frame: [A, N, M]."""
        m = torch.arange(1, self.modulation.shape[1] + 1, dtype=torch.float64)
        return self.phase_rad[:, :, None] * m + self.offset_rad[:, None]

    def to_json(self) -> dict[str, Any]:
        """A dict of lists, the periods and angles with them for people to read; `from_json` inverts it.

        What was not measured is None: JSON has no NaN.
        """
        values = {name: each.tolist() if bool(each.isfinite().all()) else None for name, each in vars(self).items()}
        return {"period_nm": self.period_nm.tolist(), "angle_deg": self.angle_deg.tolist(), **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SimParameters:
        """Rebuild from `to_json`'s dict."""
        phases = torch.tensor(values["phase_rad"], dtype=torch.float64)
        offsets = torch.tensor(values["offset_rad"], dtype=torch.float64)
        unknown = {
            "modulation": torch.full_like(offsets, math.nan),
            "strength": torch.full_like(phases[:, 0], math.nan),
        }
        known = [each.name for each in fields(cls) if values[each.name] is not None]
        return cls(**{**unknown, **{name: torch.tensor(values[name], dtype=torch.float64) for name in known}})

    def moved(self, y_um: float, x_um: float) -> SimParameters:
        """The same stripes seen from a pixel grid whose (0, 0) lies at (y, x) of this one."""
        turn = 2 * math.pi * (self.wave_per_um @ torch.tensor([y_um, x_um], dtype=torch.float64))
        return SimParameters(**(vars(self) | {"phase_rad": self.phase_rad + turn[:, None]}))


def estimate_parameters(
    frames: Tensor,
    optics: SimOptics,
    *,
    beams: int = 3,
    period_um: tuple[float, float] | None = None,
    wave_per_um: Tensor | None = None,
    rounds: int = ROUNDS,
) -> SimParameters:
    """Measure the stripes of frames [A, N, Y, X] (angles, phases; any real dtype), with N >= 2 beams - 1 and A >= 2.

    beams        2 or 3;  period_um  (least, most) of the first order, where it is known, to narrow the search
    wave_per_um  [A, 2] the pattern vectors where they are known, as for dark frames from bright ones of the same
                 microscope: taken as they are, and only phases, brightness and modulation are measured
    rounds       of steps 2 to 4; after one, phases are right to some 5 degrees, which tells whether frames are in order
    Raises InputError where the frames are too few, too small or not finite, and NoStripesError where they show no
    structure, no stripes above their noise, or periods that differ too much between the angles to be one microscope's.
    """
    scene = Scene(frames, optics, beams - 1)
    if scene.empty:
        raise NoStripesError(
            "the frames hold no structure above their noise, so no stripes can be measured; give parameters from "
            "brighter frames of the same microscope"
        )
    nominal = nominal_phases(scene.phases, scene.orders).expand(scene.angles, -1, -1)
    if wave_per_um is None:
        waves, strength = _find(scene, nominal, *reach_per_um(optics, beams - 1, period_um))
        if float(strength.min()) < LEAST_STRENGTH:
            raise NoStripesError(
                f"the stripes do not stand out: strength {', '.join(f'{s:.1f}' for s in strength.tolist())} at the "
                f"angles, and chance alone gives up to {LEAST_STRENGTH}; give period_um, or parameters from brighter "
                "frames of the same microscope"
            )
    elif wave_per_um.shape == (scene.angles, 2):
        waves, strength = wave_per_um.double(), torch.full((scene.angles,), math.nan, dtype=torch.float64)
    else:
        raise InputError(f"wave_per_um {tuple(wave_per_um.shape)} must be ({scene.angles}, 2): (y, x) of each angle")
    orders_rad, light = nominal, torch.ones(nominal.shape[:2], dtype=torch.float64)
    measured = None
    for _ in range(rounds):
        if measured is not None:
            orders_rad, light = measured.orders_rad, measured.light
            scene.look(separate(scene.frames, orders_rad, light)[:, 0].real)
        separated = separate(scene.spectra, orders_rad, light)
        if wave_per_um is None:
            products = scene.products(separated, waves)
            waves = torch.stack([_refine(each, wave, scene) for each, wave in zip(products, waves, strict=True)])
        measured = SimParameters(waves, *_measure(scene, waves, separated, measured), strength)
    assert measured is not None
    if wave_per_um is None:
        check_periods(measured)
    return measured


def check_periods(measured: SimParameters) -> None:
    """Chance peaks lie anywhere; one microscope's periods differ by a few per cent at most. Raises NoStripesError."""
    period = measured.period_nm
    if float(period.max() / period.min()) > 1 + SAME_PERIOD:
        raise NoStripesError(
            f"no stripes were found: the clearest at each angle have periods of "
            f"{', '.join(f'{each:.0f}' for each in period.tolist())} nm, and one microscope's differ by at most "
            f"{100 * SAME_PERIOD:.0f} %; give period_um, or parameters from brighter frames of the same microscope"
        )


def pattern_strength(
    frames: Tensor, optics: SimOptics, *, beams: int = 3, period_um: tuple[float, float] | None = None
) -> Tensor:
    """How clearly each angle of frames [A, N, Y, X] shows stripes if their phases step evenly: [A], about 1 for noise.

    The quick part of `estimate_parameters`, for telling which order the frames are in.
    """
    scene = Scene(frames, optics, beams - 1)
    nominal = nominal_phases(scene.phases, scene.orders).expand(scene.angles, -1, -1)
    if scene.empty:
        return torch.zeros(scene.angles, dtype=torch.float64)
    return _find(scene, nominal, *reach_per_um(optics, beams - 1, period_um))[1]


def _find(scene: Scene, nominal: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Pattern vectors [A, 2], roughly, and how clear they are [A]."""
    products = scene.whitened(nominal)
    found = [_coarse(each, scene, low, high) for each in products]
    # All angles have nearly one period: an angle that disagrees with the clearest is looked for where that one lies.
    radius = float(max(found, key=lambda each: each[1])[0].norm())
    for a, (wave, _) in enumerate(found):
        if abs(float(wave.norm()) / radius - 1) > SAME_PERIOD:
            found[a] = _coarse(products[a], scene, (1 - SAME_PERIOD) * radius, (1 + SAME_PERIOD) * radius)
    return torch.stack([wave for wave, _ in found]), torch.tensor([each for _, each in found], dtype=torch.float64)


def reach_per_um(optics: SimOptics, orders: int, period_um: tuple[float, float] | None) -> tuple[float, float]:
    """Least and greatest length of the first order's vector to look at."""
    if period_um is not None:
        least, most = period_um
        if not 0 < least < most:
            raise InputError(f"period_um {period_um} must be a least and a most, both above 0")
        return 1 / most, 1 / least
    nyquist = 0.5 / optics.pixel_size_um
    return LONGEST * optics.cutoff_per_um / orders, min(SHORTEST * optics.cutoff_per_um, nyquist) / orders


def _measure(
    scene: Scene, waves: Tensor, separated: Tensor, before: SimParameters | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Step 3 at pattern vectors [A, 2]: phase, offset, modulation, light, clarity and phase_error_rad."""
    found = []
    for a, wave in enumerate(waves):
        theta = None if before is None else before.orders_rad[a]
        found.append(phases_of(*scene.weights(scene.spectra[a], wave, separated[a], theta)))
    phase, offset, modulation, light, clarity, error = (torch.stack(each) for each in zip(*found, strict=True))
    return phase, offset, modulation, light / light.mean(), clarity, error


def phases_of(
    light: Tensor, orders: Tensor, variance: Tensor, *, even: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Phases [N], offsets [M], modulation [M], brightness [N], clarity [N] and the phases' errors [N] of one angle.

    light [N]; orders [N, M] complex; variance [N, M] of either part of them
    A frame's phase is what both orders say, each as sure as it is, and, of `even` steps, the declared step, sure to
    STEP_ERROR.
    """
    n, count = orders.shape
    m = torch.arange(1, count + 1, dtype=torch.float64)
    nominal = nominal_phases(n, count)
    sure = 1 / STEP_ERROR**2 if even else 0.0
    step = nominal[:, 0].clone() if even else torch.angle(orders[:, 0] / orders[0, 0])
    base = torch.angle((orders * torch.exp(-1j * m * step[:, None])).sum(0))
    sureness = orders.abs() ** 2 / variance.clamp(min=torch.finfo(torch.float64).tiny)
    known = (m**2 * sureness).sum(1) + sure
    for _ in range(20):
        wrong = torch.angle(orders * torch.exp(-1j * (m * step[:, None] + base)))
        correction = (m * sureness * wrong).sum(1) - (step - nominal[:, 0]) * sure
        step = step + correction / known
        base = torch.angle((orders * torch.exp(-1j * m * step[:, None])).sum(0))
    modulation = 2 * (orders * torch.exp(-1j * (m * step[:, None] + base))).real.mean(0) / (2 * light.mean())
    phase = step + base[0]
    contrast = orders.abs().sum(1) / light
    clarity = contrast / contrast.median().clamp(min=torch.finfo(torch.float64).tiny)
    return phase, base - m * base[0], modulation.clamp(0, 2), light, clarity, 1 / torch.sqrt(known)


def _coarse(product: Tensor, scene: Scene, low: float, high: float) -> tuple[Tensor, float]:
    """Pattern vector [2] (y, x) to half a frequency step, and how far its peak stands out of the others."""
    size = [2 * n for n in scene.shape]
    surface = torch.fft.fft2(product, s=size).abs() ** 2
    fy, fx = frequencies((size[0], size[1]), scene.pixel_um)
    length = torch.hypot(fy, fx)
    inside = (length >= low) & (length <= high)
    rows, columns = (torch.arange(n) for n in size)
    total = torch.zeros(size, dtype=torch.float64)
    for m in range(1, scene.orders + 1):
        at_order = surface[m - 1][(m * rows % size[0])[:, None], (m * columns % size[1])[None, :]]
        total = total + at_order / at_order[inside].median().clamp(min=torch.finfo(torch.float64).tiny)
    peak = int(total.masked_fill(~inside, -1.0).argmax())
    row, column = divmod(peak, size[1])
    chance = scene.orders + math.log(max(2, int(inside.sum()) // 4)) / math.log(2)
    return torch.stack([fy[row, 0], fx[0, column]]), math.sqrt(float(total[row, column]) / chance)


def _refine(product: Tensor, wave: Tensor, scene: Scene) -> Tensor:
    """The peak of sum_m |X_m(m q)|^2 / E_m near `wave`, by ever finer Fourier transforms around it."""
    y, x = ((torch.arange(n, dtype=torch.float64) + 0.5) * scene.pixel_um for n in scene.shape)
    energy = (product.abs() ** 2).sum((1, 2))
    step = 1 / (scene.pixel_um * max(scene.shape))
    for factor in ZOOM:
        grid = factor * step * torch.arange(-5, 6, dtype=torch.float64)
        total = torch.zeros(len(grid), len(grid), dtype=torch.float64)
        for m in range(1, scene.orders + 1):
            along_y = torch.exp(-2j * math.pi * m * (wave[0] + grid)[:, None] * y)
            along_x = torch.exp(-2j * math.pi * m * (wave[1] + grid)[:, None] * x)
            total = total + (along_y @ product[m - 1] @ along_x.T).abs() ** 2 / energy[m - 1]
        row, column = divmod(int(total.argmax()), len(grid))
        wave = torch.stack([wave[0] + grid[row], wave[1] + grid[column]])
    return wave
