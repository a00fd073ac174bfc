"""What the figures of a check mean, test by test, in plain words. Bounds stand beside what good restorations reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluorsr.evaluate.noise import Noise
from fluorsr.evaluate.planes import Matched
from fluorsr.evaluate.seams import Seams
from fluorsr.evaluate.support import Support
from fluorsr.models.weights import Card

FOLLOWS_NOISE, EXPLAINED = 0.8, 1.1
"""Disagreement over noise, below and above which something is wrong. Good restorations: 0.94 to 1.04."""
UNSUPPORTED, MISSING = 1e-3, 1e-2
"""Shares of the light. Good restorations: up to 0.0003 and 0.0012; three invented filaments 0.004 and more."""
UNCERTAIN = 0.1
KEPT = 0.75
"""Good restorations: 0.94 and more."""
CURVATURE, LIGHT = 0.03, 0.1
"""Good restorations: up to 0.009."""
SHARPER_PX = 0.5
"""Of the blur that leads back to the input; below it the restored image is no sharper."""
CLIPPED = 1e-4
PIXEL_SIZE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Finding:
    """One test. status  "fine", "warning" or "unknown" (it could not be made);  message  in plain words."""

    rule: str
    status: str
    message: str


def judge_pixels(matched: Matched) -> list[Finding]:
    """NaN, infinity and saturation, of both images."""
    found = []
    for what, pixels in (("input", matched.image), ("restored image", matched.restored)):
        bad = int((~torch.isfinite(pixels)).sum())
        if bad:
            found.append(Finding("not-finite", "warning", f"{bad} pixels of the {what} are NaN or infinite"))
    for what, pixels, dtype in (
        ("input", matched.image, matched.image_dtype),
        ("restored image", matched.restored, matched.restored_dtype),
    ):
        tops = {2.0**bits - 1 for bits in (8, 10, 12, 14, 15, 16)} if what == "input" else {float(_top(dtype))}
        top = float(torch.nan_to_num(pixels, 0.0, 0.0, 0.0).max())
        share = float((pixels == top).double().mean())
        if dtype.kind in "ui" and top in tops and share > CLIPPED:
            message = f"{share:.2%} of the {what}'s pixels are saturated at {top:g}: their light is not known"
            found.append(Finding("saturated", "warning", message))
    return found or [Finding("pixels", "fine", "no NaN, no infinity, nothing saturated")]


def _top(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else 0


def judge_training(matched: Matched, card: Card | None) -> list[Finding]:
    """The pixel size against that of the training."""
    if card is None:
        return [Finding("training", "unknown", "it is not known which model made it: name it with --model")]
    trained, own = card.spec.pixel_size_um, matched.pixel_size_um
    if trained is None:
        return []
    if own is None:
        message = f"the pixel size is not known, and {card.spec.name} was trained at {1000 * trained:.0f} nm"
        return [Finding("pixel-size", "unknown", f"{message}: give --pixel-size-um")]
    if abs(own / trained - 1) > PIXEL_SIZE_TOLERANCE:
        message = f"pixels of {1000 * own:.0f} nm, and {card.spec.name} was trained at {1000 * trained:.0f} nm"
        return [Finding("pixel-size", "warning", f"{message}: it may invent or lose detail")]
    return [Finding("pixel-size", "fine", f"pixels of {1000 * own:.0f} nm, as {card.spec.name} was trained at")]


def judge_light_level(image: Tensor, noise: Noise, card: Card | None) -> Finding:
    """Photons in the brightest pixels, from the noise, against those of the training."""
    dark, bright = (float(image.flatten().kthvalue(1 + int(q * (image.numel() - 1))).values) for q in (0.05, 0.999))
    variance = float(noise.variance(torch.tensor(bright, dtype=torch.float64)))
    photons = (bright - dark) ** 2 / variance
    recipe = card.notes.get("recipe") if card else None
    data = recipe.get("data") if isinstance(recipe, dict) else None
    span = data.get("photons") if isinstance(data, dict) else None
    said = f"the brightest pixels hold about {photons:.2g} photons' worth of signal"
    if not (isinstance(span, list | tuple) and len(span) == 2):
        return Finding("light-level", "unknown", f"{said}; what the model was trained at is not known")
    low, high = float(span[0]), float(span[1])
    # Beyond twice either end: the estimate is no better, and brighter is not worse.
    if photons < low / 2:
        message = f"{said}, and training began at {low:g}: what is restored from less is guessed"
        return Finding("light-level", "warning", message)
    return Finding("light-level", "fine", f"{said}, trained at {low:g} to {high:g}")


def judge_fit(support: Support, matched: Matched) -> list[Finding]:
    found = []
    if support.chi < FOLLOWS_NOISE:
        message = (
            f"blurred back, it follows the input more closely than its noise allows ({support.chi:.2f} of it): noise "
            "was restored as if it were structure"
        )
        found.append(Finding("noise", "warning", message))
    elif support.chi > EXPLAINED:
        message = f"blurred back, it differs from the input by {support.chi:.2f} times the noise"
        found.append(Finding("explained", "warning", f"{message}: something was changed, lost or invented"))
    else:
        message = f"blurred back, it gives the input again, but for noise ({support.chi:.2f} times it)"
        found.append(Finding("explained", "fine", message))
    if support.unsupported > UNSUPPORTED:
        places = int(support.invented.sum())
        message = (
            f"{support.unsupported:.1%} of its light lies where the camera saw none ({places} input pixels): what is "
            "there is invented"
        )
        found.append(Finding("invented", "warning", message))
    else:
        found.append(Finding("invented", "fine", "no light lies where the camera saw none"))
    if support.missing > MISSING:
        message = f"{support.missing:.1%} of the light that the camera saw is missing"
        found.append(Finding("missing", "warning", message))
    if support.curvature > CURVATURE:
        message = f"its light is not in proportion to the input's (off a line by {support.curvature:.1%} of the range)"
        found.append(Finding("light", "warning", f"{message}: do not compare intensities"))
    elif abs(support.slope - 1) > LIGHT and matched.same_counts:
        message = f"one of its counts is worth {support.slope:.2f} of the input's"
        found.append(Finding("light", "warning", f"{message}: intensities compare within it, not with the input"))
    else:
        how = f"slope {support.slope:.2f}, off by {support.curvature:.1%}"
        message = f"its light is in proportion to the input's ({how})"
        found.append(Finding("light", "fine", message))
    return found


def judge_smoothing(kept: float, scale: int) -> Finding:
    if math.isnan(kept):
        return Finding("smoothed", "unknown", "the input has too little above its noise to tell over-smoothing")
    if kept < KEPT:
        message = f"it lacks detail that the input has ({kept:.0%} of the power is left): over-smoothed"
        if scale == 1:
            message += ", or input and restored are swapped"
        return Finding("smoothed", "warning", message)
    return Finding("smoothed", "fine", "it has all the detail that the input has above its noise")


def judge_sharpness(support: Support, figures: Mapping[str, float]) -> Finding:
    blur, before, after = (figures[key] for key in ("fitted_blur_nm", "resolution_before_nm", "resolution_after_nm"))
    words = "" if math.isnan(before) else f"; decorrelation reads {before:.0f} nm before and {after:.0f} nm after"
    if support.explained.fwhm_px < SHARPER_PX:
        return Finding("sharper", "warning", f"it is no sharper than the input{words}")
    size = f"{support.explained.fwhm_px:.1f} input pixels" if math.isnan(blur) else f"{blur:.0f} nm"
    return Finding("sharper", "fine", f"it is sharper than the input by a blur of {size}{words}")


def uncertain_light(matched: Matched) -> float:
    """The share of the restored light that lies where a diffusion model's samples differ by more than half of it.

    NaN where there are no samples, or no light above the background, the restored image's 5th percentile.
    """
    if matched.deviation is None:
        return math.nan
    restored, deviation = (torch.nan_to_num(each, 0.0, 0.0, 0.0) for each in (matched.restored, matched.deviation))
    low = float(restored.flatten().kthvalue(1 + int(0.05 * (restored.numel() - 1))).values)
    light = (restored.double() - low).clamp(min=0)
    total = float(light.sum())
    return float(light[deviation > light / 2].sum()) / total if total > 0 else math.nan


def judge_samples(share: float, matched: Matched) -> list[Finding]:
    """Whether a diffusion model's samples agree; nothing where none were kept."""
    if math.isnan(share):
        return []
    count = matched.record["samples"]
    if share > UNCERTAIN:
        message = f"{share:.0%} of its light lies where {count} samples of the model differ by more than half of it"
        return [Finding("samples", "warning", f"{message}: it is one of many answers there")]
    return [Finding("samples", "fine", f"{count} samples of the model agree but for {share:.0%} of the light")]


def judge_seams(seams: Seams) -> Finding:
    where = " x ".join(str(p) for p in seams.period if p)
    if seams.found:
        about = "" if seams.known else "about "
        guess = "" if seams.known else " (found by trying periods: a periodic specimen looks alike)"
        message = (
            f"seams: {seams.ratio:.1f} times as much change across lines {about}every {where} output pixels "
            f"as elsewhere{guess}; restore again with a halo, as fluorsr infer does"
        )
        return Finding("seams", "warning", message)
    if not seams.known:
        return Finding("seams", "fine", "where the borders of tiles are is not known, and no grid of seams was found")
    if not any(seams.period):
        return Finding("seams", "fine", "no border of tiles lies within the image")
    return Finding("seams", "fine", f"no more change across borders of tiles (every {where} pixels) than elsewhere")
