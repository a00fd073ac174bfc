"""What is wrong with one pair, and how its two images lie and compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fluorsr.data.findings import Finding, Measured
from fluorsr.data.pairs import Pair, read_plane
from fluorsr.data.registration import LEAST_STRENGTH, Shift, measure_shift, overlap
from fluorsr.data.sharpness import compare_sharpness
from fluorsr.data.spectra import SMALLEST
from fluorsr.data.survey import Survey, cells, enlarged

MAX_SHIFT_PX = 2.0
"""Input pixels. A network taught by pairs that lie further apart learns to shift, or to blur."""

NOTED_SHIFT_PX = 0.5

BURNT_OUT, NOTED_SATURATION = 0.05, 0.001
"""Shares of saturated pixels that make a fault and a warning."""


def judge(
    pair: Pair, inputs: Sequence[Survey], target: Survey, max_shift_px: float = MAX_SHIFT_PX
) -> tuple[Measured, list[Finding]]:
    """Judge a pair by the surveys of its input frames and of its target. Raises FormatError on damaged files."""
    findings = [
        *_pixels(pair, pair.input_path, "input", inputs),
        *_pixels(pair, pair.target_path, "target", [target]),
    ]
    saturated = float(np.mean([one.saturated for one in inputs])), target.saturated
    if min(pair.size) < SMALLEST:
        message = (
            f"{pair.input_path} has {pair.size[0]} x {pair.size[1]} pixels; a pair needs at least {SMALLEST} along y "
            "and x to be judged: take it out"
        )
        findings.append(Finding(pair.name, (pair.input_path,), "unfit", True, message))
    if any(finding.fault for finding in findings):
        return Measured(pair, saturated, None, None), findings
    pixels, reference = fullest_cell(pair, target)
    shift = measure_shift(pixels, reference)
    if not shift.related:
        findings.append(_unrelated(pair, shift))
        return Measured(pair, saturated, shift, None), findings
    whole = round(shift.y), round(shift.x)
    sharpness = compare_sharpness(*overlap(pixels, reference, whole), (shift.y - whole[0], shift.x - whole[1]))
    files = (pair.input_path, pair.target_path)
    if sharpness.verdict == "input":
        message = (
            f"{pair.input_path} is sharper than its target {pair.target_path}, by a blur of "
            f"{length(-sharpness.blur_px, pair.pixel_size_um)}; the target must be the sharper one: swap the two"
        )
        findings.append(Finding(pair.name, files, "swapped", True, message))
    elif sharpness.verdict == "unclear":
        message = f"{pair.target_path} is not clearly sharper than its input {pair.input_path}; look at the two"
        findings.append(Finding(pair.name, files, "unclear", False, message))
    findings += _shifted(pair, shift, max_shift_px)
    return Measured(pair, saturated, shift, sharpness), findings


def fullest_cell(pair: Pair, target: Survey) -> tuple[Tensor, Tensor]:
    """Where the target varies most: mean of the input's frames and the target, both [Y, X] in input pixels.

    Averaged over the phases of a SIM recording, its pattern is gone.
    """
    cell = cells(*pair.size)[int(np.argmax(target.spread))]
    total = torch.zeros(cell[0].stop - cell[0].start, cell[1].stop - cell[1].start)
    for plane in pair.input_planes:
        total += read_plane(pair.input, plane, *cell)
    reference = read_plane(pair.target, pair.target_plane, *enlarged(cell, pair.scale))
    if pair.scale > 1:
        reference = F.avg_pool2d(reference[None, None], pair.scale)[0, 0]
    return total / pair.frames, reference


def length(px: float, pixel_size_um: float | None) -> str:
    """A length in pixels, and in nanometres where the pixel's size is known."""
    return f"{px:.2f} pixels" + (f" ({1000 * px * pixel_size_um:.0f} nm)" if pixel_size_um else "")


def _pixels(pair: Pair, path: Path, side: str, surveys: Sequence[Survey]) -> list[Finding]:
    """Faults of the pixels of one image, frame by frame."""
    findings = []

    def tell(rule: str, fault: bool, message: str) -> None:
        findings.append(Finding(pair.name, (path,), rule, fault, message))

    for number, one in enumerate(surveys):
        where = f"frame {number} of {path}" if len(surveys) > 1 else str(path)
        if one.nonfinite:
            tell("not-finite", True, f"{where} holds {one.nonfinite} pixels that are NaN or infinite; export it anew")
        if not math.isfinite(one.low) or one.low == one.high:
            value = "none finite" if not math.isfinite(one.low) else f"all {one.low:g}"
            black = " (black)" if one.low == 0 else ""
            tell("empty", True, f"{where} is empty: its pixels are {value}{black}; take the pair out")
        elif one.saturated > NOTED_SATURATION:
            remedy = "take it out, or record with less light" if one.saturated > BURNT_OUT else "its peaks are cut off"
            message = f"{where}, {side}: {one.saturated:.1%} of its pixels are saturated at {one.high:g}; {remedy}"
            tell("saturated", one.saturated > BURNT_OUT, message)
    return findings


def _unrelated(pair: Pair, shift: Shift) -> Finding:
    """Why a pair does not correlate."""
    if shift.strength < LEAST_STRENGTH:
        why = "nothing in one is found in the other beyond chance: another field, or too little light"
    else:
        why = f"they agree by {max(0.0, shift.agreement):.0%} even where they agree best"
    message = (
        f"{pair.input_path} and {pair.target_path} do not correlate: {why}; "
        "find the right partner, or take the pair out"
    )
    return Finding(pair.name, (pair.input_path, pair.target_path), "unrelated", True, message)


def _shifted(pair: Pair, shift: Shift, max_shift_px: float) -> list[Finding]:
    """A shift beyond what is allowed, or worth a remark; never one that the noise may have made."""
    certain = shift.length - 3 * shift.error
    if certain <= min(NOTED_SHIFT_PX, max_shift_px):
        return []
    fault = certain > max_shift_px
    um = f" ({1000 * shift.length * pair.pixel_size_um:.0f} nm)" if pair.pixel_size_um else ""
    message = (
        f"{pair.target_path} is shifted against {pair.input_path} by {shift.y:.2f} pixels along y and {shift.x:.2f} "
        f"along x{um}"
    )
    if fault:
        message += f"; at most {max_shift_px:g} are allowed: register the pair, or write a corrected set with --correct"
    return [Finding(pair.name, (pair.input_path, pair.target_path), "shifted", fault, message)]
