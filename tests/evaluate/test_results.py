"""A comparison as JSON and back, and what it says when it is not one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.evaluate.results import (
    ALL,
    CaseInfo,
    Caution,
    Comparison,
    Method,
    MetricInfo,
    PairedTest,
    Picture,
    Protocol,
    Score,
    Summary,
    read_comparison,
)


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        data="simulated:images=1",
        rank="psnr",
        protocol=Protocol("standard", "whole images", "least-squares", 0),
        metrics=(MetricInfo("psnr", "PSNR (dB)", 2, True), MetricInfo("frc", "FRC (nm)", 0, False)),
        methods=(Method("a", "model", 2, notes=("one",)), Method("b", "baseline", 2, seconds_per_mp=0.5)),
        cases=(CaseInfo("1", "nuclei, dim", "nuclei", "1", (1, 8, 8), (16, 16), 0.06, 0.03, 100.0),),
        scores=(Score("1", "a", {"psnr": 20.0, "frc": math.inf}), Score("1", "b", {"psnr": 25.5, "frc": 120.0})),
        summaries=tuple(
            Summary(group, method, metric, 1, mean, math.nan, math.nan)
            for group in (ALL, "nuclei, dim")
            for method, metric, mean in (("a", "psnr", 20.0), ("b", "psnr", 25.5), ("a", "frc", math.inf))
        ),
        tests=(PairedTest("psnr", "a", "b", 1, -5.5, math.nan, math.nan, 1.0, 1.0, ""),),
        warnings=(Caution("few", "one image only"),),
        pictures=(Picture("1", "a", "pictures/1/a.tif"),),
    )


def test_a_comparison_survives_json_with_what_is_not_finite(comparison: Comparison, tmp_path: Path) -> None:
    comparison.save(tmp_path / "comparison.json")
    text = (tmp_path / "comparison.json").read_text()
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict["scores"][0]["values"]["frc"] == "Infinity"
    back = read_comparison(tmp_path / "comparison.json")
    assert math.isnan(back.summaries[0].low)
    assert back.scores == comparison.scores
    assert back.methods == comparison.methods
    assert back.to_json() == comparison.to_json()


def test_the_best_comes_first_and_nan_last(comparison: Comparison) -> None:
    assert [m.name for m in comparison.ranked()] == ["b", "a"]
    spoilt = [replace(s, mean=math.nan) if s.method == "b" else s for s in comparison.summaries]
    assert [m.name for m in replace(comparison, summaries=tuple(spoilt)).ranked()] == ["a", "b"]


def test_groups_values_and_what_is_missing(comparison: Comparison) -> None:
    assert comparison.groups == (ALL, "nuclei, dim")
    assert comparison.value("1", "b", "psnr") == 25.5
    with pytest.raises(InputError, match="has no metric 'ssim'; it has psnr, frc"):
        comparison.metric("ssim")
    with pytest.raises(InputError, match="no frc of 'b' over 'all'"):
        comparison.summary(ALL, "b", "frc")
    with pytest.raises(InputError, match="no psnr of 'c' on '1'"):
        comparison.value("1", "c", "psnr")


def test_what_is_no_comparison_is_told(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="fluorsr compare writes"):
        read_comparison(tmp_path / "none.json")
    with pytest.raises(FormatError, match="format None, not 'fluorsr-comparison-1'"):
        Comparison.from_json({})
    values = comparison.to_json()
    values["methods"][0]["scale"] = "two"
    with pytest.raises(FormatError, match=r"damaged: methods\.0\.scale"):
        Comparison.from_json(values)
    for text, found in (("{", "is not JSON"), ("[]", "holds a list")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(FormatError, match=found):
            read_comparison(tmp_path / "bad.json")
