"""What makes the figures of a comparison less than they seem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fluorsr.data.registration import measure_shift, overlap
from fluorsr.data.sharpness import Sharpness, all_inputs_sharper, compare_sharpness
from fluorsr.evaluate.cases import Case
from fluorsr.evaluate.results import CaseInfo, Caution
from fluorsr.restorer import RestorerSpec

SIDE_PX = 1024
"""Input pixels, at most, of the middle of an image that a pair is judged by."""
SMALLEST_PX = 32
SHIFT_PX = 0.5
SATURATED = 0.001
PIXEL_SIZE_TOLERANCE = 0.1
LIGHT_TOLERANCE = 0.1
FEWEST = 6
"""Of fewer pairs no signed-rank test gets below 0.05: of five, the least p is 2 / 2^5."""


def judge_pair(case: Case) -> tuple[list[Caution], Sharpness | None]:
    """What is wrong with a pair: swapped, shifted, of two fields, saturated, NaN; and how sharp its images are."""
    found = []
    if case.degraded.dtype.kind == "f" and not np.isfinite(case.degraded).all():
        found.append(Caution("not-finite", "the input holds NaN or infinite pixels", case.name))
    elif case.degraded.dtype.kind in "ui":
        top = case.degraded.max()
        share = float((case.degraded == top).mean())
        if share > SATURATED and top in {2**bits - 1 for bits in (8, 10, 12, 14, 15, 16)}:
            message = f"{share:.1%} of the input's pixels are saturated at {top}; their light is not known"
            found.append(Caution("saturated", message, case.name))
    if not np.isfinite(case.target).all():
        return [*found, Caution("not-finite", "the truth holds NaN or infinite pixels", case.name)], None
    pixels, reference = _middle(case)
    if (found and found[0].rule == "not-finite") or min(pixels.shape) < SMALLEST_PX:
        return found, None
    shift = measure_shift(pixels, reference)
    if not shift.related:
        message = "input and truth do not show the same specimen as far as can be told: figures mean nothing here"
        return [*found, Caution("unrelated", message, case.name)], None
    if shift.length - 3 * shift.error > SHIFT_PX:
        message = (
            f"the truth is shifted by {shift.y:.2f}, {shift.x:.2f} input pixels (y, x); every method pays for that: "
            "register the pairs (fluorsr data check --correct)"
        )
        found.append(Caution("shifted", message, case.name))
    whole = round(shift.y), round(shift.x)
    sharpness = compare_sharpness(*overlap(pixels, reference, whole), (shift.y - whole[0], shift.x - whole[1]))
    if sharpness.verdict == "input":
        message = (
            f"the input is sharper than its truth, by a blur of {-sharpness.blur_px:.1f} pixels: the two are swapped, "
            "and the best figures go to whoever blurs most"
        )
        found.append(Caution("swapped", message, case.name))
    return found, sharpness


def judge_set(cases: Sequence[CaseInfo], sharpness: Sequence[Sharpness], cautions: Sequence[Caution]) -> list[Caution]:
    """What is wrong with all of them together."""
    found = []
    if all_inputs_sharper(sharpness) and not any(one.rule == "swapped" for one in cautions):
        message = "taken together, the inputs are sharper than their truths: folders of input and truth may be swapped"
        found.append(Caution("swapped", message))
    if len(cases) < FEWEST:
        message = f"{len(cases)} images are too few: with fewer than {FEWEST} no test can tell two methods apart"
        found.append(Caution("few", message))
    unknown = sum(case.pixel_size_um is None for case in cases)
    if unknown:
        message = f"{unknown} images do not tell their pixel size: no resolution can be given; use --pixel-size-um"
        found.append(Caution("no-pixel-size", message))
    fovs = Counter(case.fov or case.name for case in cases)
    if len(fovs) < len(cases):
        message = (
            f"the {len(cases)} images come from {len(fovs)} fields of view: they are not independent, and intervals "
            "and tests promise more than they hold"
        )
        found.append(Caution("dependent", message))
    return found


def judge_use(name: str, spec: RestorerSpec, case: CaseInfo) -> list[Caution]:
    """A model outside what it was trained on."""
    found = []
    own, trained = case.input_pixel_size_um, spec.pixel_size_um
    if trained is not None and own is not None and abs(own / trained - 1) > PIXEL_SIZE_TOLERANCE:
        message = f"pixels of {1000 * own:.0f} nm; trained at {1000 * trained:.0f} nm, more than 10 % apart"
        found.append(Caution("pixel-size", message, case.name, name))
    if spec.structures and case.structure and case.structure not in spec.structures:
        message = f"trained on {', '.join(spec.structures)}, never on {case.structure}"
        found.append(Caution("structure", message, case.name, name))
    return found


def judge_result(name: str, restored: Tensor, light: float, case: str) -> list[Caution]:
    """A restored image that is broken or changes the light."""
    bad = int((~torch.isfinite(restored)).sum())
    if bad:
        return [Caution("not-finite", f"{bad} restored pixels are NaN or infinite", case, name)]
    if abs(light - 1) > LIGHT_TOLERANCE:
        message = f"the restored image has {light:.2f} times the input's light: intensities cannot be compared"
        return [Caution("light", message, case, name)]
    return []


def _middle(case: Case) -> tuple[Tensor, Tensor]:
    """The middle of the mean of the frames, and of the truth binned to its pixels: [Y, X] float32 each."""
    height, width = case.degraded.shape[-2:]
    scale = case.target.shape[0] // height
    side_y, side_x = min(height, SIDE_PX), min(width, SIDE_PX)
    y, x = (height - side_y) // 2, (width - side_x) // 2
    pixels = torch.from_numpy(case.degraded[:, y : y + side_y, x : x + side_x].astype("float32")).mean(0)
    cut = case.target[scale * y : scale * (y + side_y), scale * x : scale * (x + side_x)]
    return pixels, torch.nn.functional.avg_pool2d(torch.from_numpy(cut.copy())[None, None], scale)[0, 0]
