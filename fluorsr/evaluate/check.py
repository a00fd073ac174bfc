"""Can a restored image be trusted? All that can be said without a truth, from the image it was made from.

    input, restored --> fit (SQUIRREL), noise     explained? invented? missing? noise taken for structure?
                    --> light                     in proportion?
                    --> spectra, decorrelation    over-smoothed? how fine?
                    --> borders of tiles          seams?
                    --> deviation of samples      does a diffusion model contradict itself?
                    --> the model's training      at home with these pixels, this light?

What no such test can see: detail finer than the microscope's spot that has the right light when blurred. Only a truth,
or another experiment, tells whether that is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.evaluate.band import band_kept
from fluorsr.evaluate.findings import (
    Finding,
    judge_fit,
    judge_light_level,
    judge_pixels,
    judge_samples,
    judge_seams,
    judge_sharpness,
    judge_smoothing,
    judge_training,
    uncertain_light,
)
from fluorsr.evaluate.noise import measure_noise
from fluorsr.evaluate.planes import Matched, match_planes
from fluorsr.evaluate.seams import find_seams
from fluorsr.evaluate.support import Support, judge_support
from fluorsr.metrics.decorrelation import decorrelation
from fluorsr.metrics.frc_single import frc_single
from fluorsr.metrics.pearson import pearson


@dataclass(frozen=True)
class Check:
    """What was found of one plane.

    figures     rsp, rse, resolutions in nm, and so on; NaN where a figure could not be had
    trusted, doubted   the verdict, sentence by sentence
    image, restored, seen, disagreement, invented   for pictures: [Y, X], restored [sY, sX]
    """

    source: str
    output: str
    plane: str
    scale: int
    pixel_size_um: float | None
    figures: Mapping[str, float]
    findings: tuple[Finding, ...]
    trusted: tuple[str, ...]
    doubted: tuple[str, ...]
    image: Tensor = field(repr=False)
    restored: Tensor = field(repr=False)
    seen: Tensor = field(repr=False)
    disagreement: Tensor = field(repr=False)
    invented: Tensor = field(repr=False)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.status == "warning")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the images; what is not finite is None."""
        return {
            "input": self.source,
            "restored": self.output,
            "plane": self.plane,
            "scale": self.scale,
            "pixel_size_um": self.pixel_size_um,
            "figures": {key: value if math.isfinite(value) else None for key, value in self.figures.items()},
            "findings": [vars(one) for one in self.findings],
            "trusted": list(self.trusted),
            "doubted": list(self.doubted),
        }


def check(
    source: str | Path,
    restored: str | Path,
    *,
    model: str | Path | None = None,
    channel: int = 0,
    z: int | None = None,
    t: int = 0,
    tile: int | None = None,
    pixel_size_um: float | None = None,
) -> Check:
    """Check one plane of a restored image against the image it was made from; of large planes the middle.

    model          whose training the image is held against; where None, the shipped one that the output names
    channel, z, t  of the restored image; z None is the middle slice
    tile           distance of tile borders in output pixels, where the output does not tell; looked for where None
    pixel_size_um  of the input, where its file does not tell

    Raises InputError where the two do not belong together, and what opening them raises.
    """
    matched = match_planes(source, restored, channel=channel, z=z, t=t, pixel_size_um=pixel_size_um)
    if tile is not None:
        if tile < 8:
            raise InputError(f"tile {tile} must be at least 8: the distance of tile borders in output pixels")
        matched = matched.with_borders((tile, tile))
    card = matched.model_card(model)
    findings = [*judge_pixels(matched), *judge_training(matched, card)]
    image, output = (torch.nan_to_num(pixels, 0.0, 0.0, 0.0) for pixels in (matched.image, matched.restored))
    if float(image.max()) == float(image.min()) or float(output.max()) == float(output.min()):
        raise InputError(f"{source} or {restored} is constant there: choose another --channel, --z or --t")
    noise = measure_noise(image)
    support = judge_support(output, image, noise)
    findings += judge_fit(support, matched)
    figures = _figures(support, image, output, matched)
    band = band_kept(output, image, support.slope)
    finest = 1 / band.finest if band.finest else math.nan
    figures |= {"power_kept": band.kept, "finest_in_input_nm": _nm(finest, matched)}
    findings += [judge_smoothing(band.kept, matched.scale), judge_sharpness(support, figures)]
    findings.append(judge_light_level(image, noise, card))
    figures["uncertain_light"] = uncertain_light(matched)
    findings += judge_samples(figures["uncertain_light"], matched)
    seams = find_seams(output, matched.borders, matched.phase)
    figures |= {"seam_score": seams.score, "seam_ratio": seams.ratio}
    findings.append(judge_seams(seams))
    found = tuple(findings)
    trusted, doubted = _verdict(found, figures)
    return Check(
        str(source),
        str(restored),
        matched.words,
        matched.scale,
        matched.pixel_size_um,
        figures,
        found,
        trusted,
        doubted,
        image,
        output,
        support.explained.seen,
        support.disagreement,
        support.invented,
    )


def _nm(px: float, matched: Matched) -> float:
    return math.nan if matched.pixel_size_um is None else 1000 * matched.pixel_size_um * px


def _figures(support: Support, image: Tensor, output: Tensor, matched: Matched) -> dict[str, float]:
    seen = support.explained.seen.double()
    size = matched.pixel_size_um
    before = after = by_frc = math.nan
    if size is not None:
        before = float(decorrelation(image, pixel_size_um=size))
        after = float(decorrelation(output, pixel_size_um=size / matched.scale))
        if min(image.shape) >= 32:
            by_frc = float(frc_single(image, pixel_size_um=size))
    return {
        "rsp": float(pearson(seen, image.double())),
        "rse": float((seen - image).square().mean().sqrt()),
        "fitted_blur_nm": _nm(support.explained.fwhm_px, matched),
        "disagreement_over_noise": support.chi,
        "unsupported_light": support.unsupported,
        "missing_light": support.missing,
        "slope": support.slope,
        "intercept": support.intercept,
        "curvature": support.curvature,
        "resolution_before_nm": before,
        "resolution_after_nm": after,
        "resolution_before_frc_nm": by_frc,
    }


def _verdict(findings: tuple[Finding, ...], figures: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What can be trusted and what cannot, in sentences."""
    bad = {one.rule for one in findings if one.status == "warning"}
    trusted: list[str] = []
    doubted: list[str] = []

    def judge(rules: set[str], good: str, poor: str) -> None:
        (doubted if rules & bad else trusted).append(poor if rules & bad else good)

    judge(
        {"explained", "invented", "missing", "not-finite"},
        "Where structures are, down to the microscope's own resolution: the input bears them out.",
        "Where structures are: some are not borne out by the input. Look at the map before counting or measuring any.",
    )
    judge(
        {"light", "saturated", "not-finite"},
        "Intensities summed over areas larger than the spot: they are in proportion to the input's.",
        "Intensities: they are not in proportion to the input's everywhere. Measure them in the input.",
    )
    judge(
        {"noise"},
        "Fine texture was not made out of the camera's noise.",
        "Fine texture: it is the camera's noise, sharpened.",
    )
    judge(
        {"smoothed", "sharper"},
        "Nothing that the input shows was smoothed away.",
        "Detail: it has less than the input, or no more. Use the input for distances and counts.",
    )
    if any(one.rule == "samples" for one in findings):
        judge(
            {"samples"},
            "What the model drew: its samples agree.",
            "What the model drew in one image: its samples differ. Look at their deviation beside the mean.",
        )
    judge({"seams"}, "No seams of tiles.", "Lines at the borders of tiles: they are not in the specimen.")
    if {"pixel-size", "light-level"} & bad:
        doubted.append("The model works outside what it was trained on: its detail is a guess.")
    finest = figures["finest_in_input_nm"]
    limit = "the input's own resolution" if math.isnan(finest) else f"about {finest:.0f} nm, the finest the input shows"
    doubted.append(
        f"Detail finer than {limit}: it is the model's inference. No test without a truth can tell whether it is "
        "right; confirm it by another method before a conclusion rests on it."
    )
    return tuple(trusted), tuple(doubted)
