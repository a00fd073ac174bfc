"""Raw SIM frames: which frame is which, and whether the pixels agree with what was declared.

    angle-major   frame = phases * angle + phase        a1p1 a1p2 a1p3 a1p4 a1p5 a2p1 ...
    phase-major   frame = angles * phase + angle        a1p1 a2p1 a3p1 a1p2 a2p2 ...

A wrong order still makes a picture, with stripes and doubled filaments in it. So before anything is computed the frames
are asked: do the stripes step as declared, does every frame hold light, do the angles lie on each other?
"""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import (
    NoStripesError,
    SimParameters,
    estimate_parameters,
    pattern_strength,
)
from fluorsr.classical.sim_search import LEAST_STRENGTH
from fluorsr.data.registration import Shift, measure_shift
from fluorsr.errors import InputError

BLANK = 0.2
"""A frame whose contrast, or brightness, is less than this share of the others' median is blank."""

SATURATED = 2e-3
"""Share of a frame's pixels that may have its highest value."""

FEW_LEVELS, PILE = 32, 4
"""Frames of so few different values share their highest one by chance; clipped pixels pile up above the next value."""

STRANGE = 0.5
"""A frame whose stripes have less than this share of its angle's usual contrast belongs to another angle."""

SURE_RAD = 0.1
MOST_DRIFT_PX = 1.0
CLEARER = 1.25
"""Another order is told when its stripes stand out this much more."""


CLEAR = 2.0
"""Least prominence of an angle's stripes at which single frames are judged by theirs."""

SURE_ORDER = 3.0
"""Least prominence of another order's stripes at which it is told: frames in order reach 2.8 in another by chance."""


class FrameOrder(pydantic.BaseModel):
    """What the frames of one series are, as declared: angles times phases, and which of the two runs slowest."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    angles: int = pydantic.Field(default=3, ge=2, le=16)
    phases: int = pydantic.Field(default=5, ge=3, le=32)
    slowest: Literal["angle", "phase"] = "angle"

    @property
    def frames(self) -> int:
        return self.angles * self.phases

    def __str__(self) -> str:
        return f"{self.slowest}-major, {self.angles} angles x {self.phases} phases"

    def arrange(self, frames: Tensor) -> Tensor:
        """[..., F, Y, X] as stored -> [..., angles, phases, Y, X]. Raises InputError where F is not angles x phases."""
        count = frames.shape[-3]
        if count != self.frames:
            missing = self.frames - count
            raise InputError(
                f"{count} frames are not {self.angles} angles x {self.phases} phases = {self.frames}: "
                f"{abs(missing)} {'missing' if missing > 0 else 'too many'}; declare the angles and phases that were "
                "taken, or give the whole series"
            )
        slow, fast = (self.angles, self.phases) if self.slowest == "angle" else (self.phases, self.angles)
        split = frames.reshape(*frames.shape[:-3], slow, fast, *frames.shape[-2:])
        return split if self.slowest == "angle" else split.transpose(-4, -3)

    def where(self, angle: int, phase: int) -> int:
        """Index in the file of a frame, all from 0."""
        return self.phases * angle + phase if self.slowest == "angle" else self.angles * phase + angle


def check_frames(
    frames: Tensor,
    order: FrameOrder,
    optics: SimOptics,
    *,
    beams: int = 3,
    period_um: tuple[float, float] | None = None,
) -> SimParameters:
    """Measure the stripes of one series [F, Y, X] and hold them against what was declared.

    Raises InputError, saying what was measured, where frames are missing, blank or saturated, where another order fits
    better or the phases do not step as declared, and where the angles have drifted apart; NoStripesError where no
    stripes are found.
    """
    arranged = order.arrange(frames)
    faults = faulty_frames(frames)
    if faults:
        raise InputError("; ".join(faults))
    strength = pattern_strength(arranged, optics, beams=beams, period_um=period_um)
    _compare_orders(frames, order, strength, optics, beams, period_um)
    _check_drift(arranged)
    # One round takes every frame by itself: frames in disorder cannot be taken apart any further.
    first = estimate_parameters(arranged, optics, beams=beams, period_um=period_um, rounds=1)
    _check_clarity(first, order)
    _check_steps(first, order)
    return estimate_parameters(arranged, optics, beams=beams, period_um=period_um)


def phase_step_errors_deg(parameters: SimParameters) -> Tensor:
    """By how much each frame's phase differs from even steps, the angle's own mean taken off: [A, N] in -180 to 180."""
    n = parameters.phase_rad.shape[1]
    off = torch.exp(1j * (parameters.phase_rad - 2 * torch.pi / n * torch.arange(n, dtype=torch.float64)))
    return torch.rad2deg(torch.angle(off / off.mean(1, keepdim=True)))


def angle_shifts(arranged: Tensor) -> list[Shift]:
    """Shift of each angle's wide-field image against the first angle's, in pixels: [A, N, Y, X] -> A - 1 shifts."""
    wide = arranged.double().mean(1)
    return [measure_shift(wide[0], each) for each in wide[1:]]


def faulty_frames(frames: Tensor) -> list[str]:
    """What is wrong with single frames of a series [F, Y, X], one line each: not finite, blank or saturated."""
    pixels = frames.double().flatten(1)
    if not bool(torch.isfinite(pixels).all()):
        bad = [i for i, each in enumerate(pixels) if not bool(torch.isfinite(each).all())]
        return [f"frames {bad} (counted from 0) hold NaN or infinity; replace them or take the series again"]
    low = torch.quantile(pixels, 0.01, dim=1) if pixels.shape[1] < 2**24 else pixels.amin(1)
    contrast, light, top = pixels.std(1), pixels.mean(1) - low.median(), pixels.amax(1)
    at_top = (pixels == top[:, None]).double().mean(1)
    faults = []
    for i in range(len(pixels)):
        name = f"frame {i} of {len(frames)} (counted from 0)"
        if contrast[i] <= BLANK * contrast.median() or light[i] <= BLANK * light.median():
            faults.append(
                f"{name} is blank: its contrast is {float(contrast[i]):.4g}, its mean {float(pixels[i].mean()):.4g}; "
                f"the others' are {float(contrast.median()):.4g} and {float(pixels.mean(1).median()):.4g}; take the "
                "series again, or leave this one out"
            )
        elif at_top[i] > SATURATED and _piled_up(pixels[i]):
            faults.append(
                f"{name} is saturated: {100 * float(at_top[i]):.2g} % of its pixels have its highest value, "
                f"{float(top[i]):g}; lower the exposure, or leave this series out"
            )
    return faults


def _piled_up(pixels: Tensor) -> bool:
    values, counts = torch.unique(pixels, return_counts=True)
    return len(values) > FEW_LEVELS and int(counts[-1]) > PILE * max(PILE, int(counts[-2]))


def _compare_orders(
    frames: Tensor,
    order: FrameOrder,
    strength: Tensor,
    optics: SimOptics,
    beams: int,
    period_um: tuple[float, float] | None,
) -> None:
    declared, rivals = float(strength.min()), []
    for other in _other_orders(order, beams):
        found = pattern_strength(other.arrange(frames), optics, beams=beams, period_um=period_um)
        rivals.append((float(found.min()), other))
    best, likely = max(rivals, key=lambda each: each[0])
    told = f"its stripes stand out {declared:.1f} times over chance in the least clear angle"
    if best > CLEARER * declared and best > SURE_ORDER:
        raise InputError(
            f"the frames are not {order}: {told}, and {best:.1f} times if the frames are {likely}; declare that order"
        )
    if declared < LEAST_STRENGTH:
        raise NoStripesError(
            f"no stripes were found in the frames as {order}: {told}, and chance reaches {LEAST_STRENGTH}; are these "
            "raw SIM frames in a regular order? If they are dark, give the period (period_um)"
        )


def _other_orders(order: FrameOrder, beams: int) -> list[FrameOrder]:
    """Every other regular order of as many frames in which the phases suffice."""
    every = [
        FrameOrder(angles=angles, phases=order.frames // angles, slowest=slowest)
        for angles in range(2, 17)
        for slowest in ("angle", "phase")
        if order.frames % angles == 0 and 2 * beams - 1 <= order.frames // angles <= 32
    ]
    return [each for each in every if each != order]


def _check_drift(arranged: Tensor) -> None:
    far = [
        f"angle {a} by ({shift.y:.1f}, {shift.x:.1f})"
        for a, shift in enumerate(angle_shifts(arranged), start=2)
        if shift.related and shift.length > MOST_DRIFT_PX + 2 * shift.error
    ]
    if far:
        raise InputError(
            f"the specimen moved between the angles: against angle 1, {' and '.join(far)} pixels (y, x), and at most "
            f"{MOST_DRIFT_PX:g} can be put together; take the series faster, or align the angles first"
        )


def _check_clarity(measured: SimParameters, order: FrameOrder) -> None:
    # Where even a usual frame's phase is uncertain, so is its contrast.
    sure = (measured.phase_error_rad.median(1).values < SURE_RAD) & (measured.strength > CLEAR)
    strange = (measured.clarity < STRANGE) & sure[:, None]
    if bool(strange.any()):
        frames = [(order.where(int(a), int(p)), float(measured.clarity[a, p])) for a, p in torch.nonzero(strange)]
        told = ", ".join(f"{frame} ({100 * share:.0f} %)" for frame, share in sorted(frames))
        raise InputError(
            f"these frames (counted from 0) hardly show the stripes of the angle that {order} gives them, in per "
            f"cent of what their neighbours show: {told}; they belong to another angle, or were taken badly"
        )


def _check_steps(measured: SimParameters, order: FrameOrder) -> None:
    """Each frame's phase must be nearest to the step that was declared for it."""
    wrong = phase_step_errors_deg(measured).abs()
    step = 360 / order.phases
    for a in range(order.angles):
        # Where the phases cannot be measured to a fifth of a step, nothing is said.
        sure = (3 * torch.rad2deg(measured.phase_error_rad[a]) < step / 2) & (measured.strength[a] > CLEAR)
        if not bool((sure & (wrong[a] > step / 2)).any()):
            continue
        steps = measured.step_deg[a]
        right = [order.where(a, int(p)) for p in torch.argsort(steps)]
        if right == sorted(right):
            continue  # uneven steps, but in order: they are measured, and taken as they are
        raise InputError(
            f"the phases of angle {a + 1} are measured at {[round(float(each)) for each in steps]} degrees and should "
            f"rise by {step:g} each; in the order of their phases its frames are {right} (counted from 0)"
        )
