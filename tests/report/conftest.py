"""A made-up comparison whose every pixel and figure is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fluorsr.evaluate.results import (
    ALL,
    INPUT,
    TARGET,
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
)
from fluorsr.report.html_charts import Gallery

METRICS = (
    MetricInfo("lpips", "LPIPS", 3, False),
    MetricInfo("psnr", "PSNR (dB)", 2, True),
    MetricInfo("light", "light", 2, None),
)
FIGURES = {
    "sharp": {"lpips": 0.05, "psnr": 34.0, "light": 1.0},
    "soft": {"lpips": 0.2, "psnr": 28.5, "light": 1.1},
    "lost": {"lpips": math.nan, "psnr": 9.75, "light": 0.4},
}
SIDE = 96


def made_up_images() -> dict[str, NDArray[np.float32]]:
    """Input of 48 x 48 pixels, three restorations and the truth of 96 x 96; integers, so that 16 bits hold them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    truth = np.round(100 + 900 * np.exp(-(((x - 30) / 4) ** 2)) + 500 * np.exp(-(((y - 60) / 6) ** 2)))
    rng = np.random.default_rng(0)
    soft = np.round(100 + 0.5 * (truth - 100) + rng.normal(0, 5, truth.shape))
    images = {
        INPUT: truth.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3)).round(),
        "sharp": truth + rng.integers(-3, 4, truth.shape),
        "soft": soft,
        "lost": np.full_like(truth, 120.0),
        TARGET: truth,
    }
    return {name: image.astype(np.float32) for name, image in images.items()}


@pytest.fixture
def images() -> dict[str, NDArray[np.float32]]:
    return made_up_images()


def _compare(folder: Path, cases: tuple[str, ...] = ("a 1", "a 2", "b 1"), data: str = "simulated:a,b") -> Comparison:
    pictures = []
    for number, case in enumerate(cases):
        for method, pixels in made_up_images().items():
            path = f"{number}-{method}.ome.tif"
            tifffile.imwrite(folder / path, pixels)
            pictures.append(Picture(case, method, path))
    infos = tuple(
        CaseInfo(case, case[:1], case[:1], case, (1, SIDE // 2, SIDE // 2), (SIDE, SIDE), 0.06, 0.03, 900.0)
        for case in cases
    )
    summaries = [
        Summary(group, method, metric.name, len(cases), FIGURES[method][metric.name], math.nan, math.nan)
        for group in (ALL, *dict.fromkeys(info.group for info in infos))
        for method in FIGURES
        for metric in METRICS
    ]
    return Comparison(
        data=data,
        rank="lpips",
        protocol=Protocol("usual", "intensities fitted", "least-squares", 0),
        metrics=METRICS,
        # not in the order of the ranking
        methods=(Method("soft", "baseline", 2), Method("lost", "baseline", 2), Method("sharp", "model", 2)),
        cases=infos,
        scores=tuple(Score(case, method, values) for case in cases for method, values in FIGURES.items()),
        summaries=tuple(summaries),
        tests=(PairedTest("lpips", "sharp", "soft", 3, -0.15, -0.2, -0.1, 0.01, 0.03, "sharp"),),
        warnings=tuple(Caution("structure", "was not trained on this", case, "sharp") for case in cases),
        pictures=tuple(pictures),
    )


@pytest.fixture(scope="session")
def compare_in() -> Callable[..., Comparison]:
    """(folder, names of the images) -> a comparison whose pictures lie in the folder."""
    return _compare


@pytest.fixture
def comparison(tmp_path: Path) -> Callable[..., Comparison]:
    """The same in tmp_path."""
    return partial(_compare, tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are made but not drawn, which is what takes the time of a report."""
    monkeypatch.setattr(Gallery, "save", lambda gallery, figure, name: "<svg xmlns='http://www.w3.org/2000/svg'/>")
