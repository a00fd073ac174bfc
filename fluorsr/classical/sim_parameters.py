"""Parameters of structured illumination, measured from its frames: pattern vectors, phases, modulation.

    1  orders taken apart with the phase steps as declared                     Gustafsson 2000
    2  pattern vector p: the peak of the cross-correlation of what order 0 and order m share
           X_m(q) = sum_k conj(S(k)) H(k + q) C_m(k + q)                       after Gustafsson et al. 2008
       summed over orders at q = p, 2 p, and refined by a zoomed Fourier transform; its phase is the order's, and its
       height over what order 0 lets expect the modulation (fluorsr.classical.sim_overlap)
    3  each frame as a weighted sum of the orders that the wide-field image predicts
           D_n = a_n0 H S + sum_m Re(a_nm H (S exp(2 pi i m p.r)))
       whose a_nm are its phase and brightness; linear, so each frame's phase is measured alone
    4  orders taken apart with these phases, and 2 and 3 again, each frame put back by the specimen's drift; the steps
       from what wrong ones leave of the other orders in order 0, which is the same at all angles

The sums are in fluorsr.classical.sim_scene, the search for the peak of 2 in fluorsr.classical.sim_search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import (
    SimOptics,
    check_phases,
    nominal_phases,
    told_apart,
    unmixing,
)
from fluorsr.classical.sim_overlap import overlaps, refine, turns
from fluorsr.classical.sim_scene import Place, Scene, check_series
from fluorsr.classical.sim_search import LEAST_STRENGTH, SAME_PERIOD, find_vectors
from fluorsr.classical.sim_steps import Phases, all_angles, evened, finer, orders_of, phases_of
from fluorsr.errors import InputError

SHORTEST, LONGEST = 1.1, 0.5
"""Vector of the highest order over the cut-off, at most and at least, where the pattern is looked for."""


class NoStripesError(InputError):
    """The frames show no stripes that stand out of their noise."""


@dataclass(frozen=True)
class SimParameters:
    """The stripes of one series, all float64. Directions and phases as in `fluorsr.optics.illumination`.

    wave_per_um   [A, 2] (y, x) of the first order, cycles per um; signed so that the phases rise from frame to frame
    phase_rad     [A, N] of the first order at (0, 0), the corner of the first pixel
    offset_rad    [A, M] by which order m's phase differs from m times the first's; 0 for the first
    modulation    [A, M] contrast of each order in the image, haze without stripes left out
    light         [A, N] brightness of each frame, 1 on average
    clarity       [A, N] contrast of each frame's stripes over the angle's median: near 0 where a frame has others
    phase_error_rad  [A, N] standard error of phase_rad against the angle's mean
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
        return orders_of(self.phase_rad, self.offset_rad)

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
    rounds: int = usual.ROUNDS,
) -> SimParameters:
    """Measure the stripes of frames [A, N, Y, X] (angles, phases; any real dtype), with N >= 2 beams - 1 and A >= 2.

    beams        2 or 3;  period_um  (least, most) of the first order, where it is known, to narrow the search
    wave_per_um  [A, 2] the pattern vectors where they are known, as for dark frames from bright ones of the same
                 microscope: taken as they are, and only phases, brightness and modulation are measured
    rounds       of steps 2 to 4; after one, phases are right to some 5 degrees, which tells whether frames are in order
    Raises InputError where the frames are too few, too small or not finite, and NoStripesError where they show no
    structure, no stripes above their noise, or periods that differ too much between the angles to be one microscope's.
    """
    scene = _scene(frames, optics, beams - 1)
    if scene.empty:
        raise NoStripesError(
            "the frames hold no structure above their noise, so no stripes can be measured; give parameters from "
            "brighter frames of the same microscope"
        )
    nominal = nominal_phases(scene.phases, scene.orders).expand(scene.angles, -1, -1)
    if wave_per_um is None:
        rough, strength = find_vectors(scene, nominal, *reach_per_um(optics, beams - 1, period_um))
        if float(strength.min()) < LEAST_STRENGTH:
            raise NoStripesError(
                f"the stripes do not stand out: strength {', '.join(f'{s:.1f}' for s in strength.tolist())} at the "
                f"angles, and chance alone gives up to {LEAST_STRENGTH}; give period_um, or parameters from brighter "
                "frames of the same microscope"
            )
    elif wave_per_um.shape == (scene.angles, 2):
        rough, strength = wave_per_um.double(), torch.full((scene.angles,), math.nan, dtype=torch.float64)
    else:
        raise InputError(f"wave_per_um {tuple(wave_per_um.shape)} must be ({scene.angles}, 2): (y, x) of each angle")
    waves, found, apart = measure_rounds(scene, rough, rounds, known=wave_per_um is not None)
    measured = SimParameters(waves, *found, strength)
    if not apart:
        try:
            check_phases(measured.orders_rad, measured.light)
        except InputError as error:
            raise NoStripesError(f"the phases cannot be measured above the noise: {error}") from error
    if wave_per_um is None:
        check_periods(measured)
    return measured


def measure_rounds(scene: Scene, rough: Tensor, rounds: int, *, known: bool) -> tuple[Tensor, Phases, bool]:
    """Steps 3, and 4 with 2, at pattern vectors [A, 2], which are refined unless they are `known`: TorchScript.

    Returns the vectors, what was measured, and whether its phases told the orders apart in every round; the rounds end
    where they do not.
    """
    waves = rough
    orders_rad = nominal_phases(scene.phases, scene.orders, waves.device).expand(scene.angles, -1, -1)
    light = torch.ones_like(orders_rad[..., 0])
    measured: Phases | None = None
    places: list[Place] = []
    moved = torch.zeros([scene.angles, scene.phases, 2], dtype=torch.float64, device=waves.device)
    for number in range(rounds):
        if measured is not None:
            orders_rad, light = orders_of(measured.phase_rad, measured.offset_rad), measured.light
            if not told_apart(orders_rad, light):
                return waves, _stood(measured, waves, moved), False
        unmix = unmixing(orders_rad, light)
        if measured is not None:
            scene.look(torch.einsum("an,anyx->ayx", unmix[:, 0].real, scene.frames))
        densities, contrast = overlaps(scene, unmix, waves)
        base = waves
        if not known:
            # From the same place each time: in the dark it would walk from one chance peak to the next.
            waves = base + torch.stack([refine(scene, densities[a], rough[a] - base[a]) for a in range(len(rough))])
        if len(places) == 0 or not known:
            places = [scene.place(a, waves[a]) for a in range(len(waves))]
        measured, drift = _measure(scene, places, unmix, measured, turns(scene, densities, waves - base), 2 * contrast)
        if number + 1 == usual.STEADY and rounds > usual.STEADY:
            scene.move(drift)
            moved = drift
            places.clear()
    assert measured is not None
    return waves, _stood(measured, waves, moved), True


def _stood(measured: Phases, waves: Tensor, drift: Tensor) -> Phases:
    """Phases where the camera stands, of frames that were put back by drift [A, N, 2]."""
    turned = 2 * math.pi * (drift * waves[:, None]).sum(-1)
    return Phases(
        measured.phase_rad - turned,
        measured.offset_rad,
        measured.modulation,
        measured.light,
        measured.clarity,
        measured.phase_error_rad,
    )


def _scene(frames: Tensor, optics: SimOptics, orders: int) -> Scene:
    check_series(frames)
    check_phases(nominal_phases(frames.shape[1], orders))
    return Scene(frames, optics.lens, orders)


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
    scene = _scene(frames, optics, beams - 1)
    nominal = nominal_phases(scene.phases, scene.orders).expand(scene.angles, -1, -1)
    if scene.empty:
        return torch.zeros(scene.angles, dtype=torch.float64)
    return find_vectors(scene, nominal, *reach_per_um(optics, beams - 1, period_um))[1]


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
    scene: Scene, places: list[Place], unmix: Tensor, before: Phases | None, turned: Tensor, modulation: Tensor
) -> tuple[Phases, Tensor]:
    """Step 3, of orders that lie at those places, with what takes them apart [A, M + 1, N]; and drift [A, N, 2].

    turned, modulation  [A, M] of the orders taken apart
    """
    found: list[Phases] = []
    drifts: list[Tensor] = []
    lefts: list[Tensor] = []
    covariances: list[Tensor] = []
    for a in range(len(places)):
        light, orders, variance, drift = scene.weights(places[a], None if before is None else unmix[a])
        found.append(phases_of(light, orders, variance, even=True))
        drifts.append(drift)
        if before is not None:
            left, covariance = scene.left(a, places[a], unmix[a])
            lefts.append(left)
            covariances.append(covariance)
    together = all_angles(found)
    if before is not None:
        together = evened(finer(together, before, torch.stack(lefts), torch.stack(covariances), turned, modulation))
    return together, torch.stack(drifts)
