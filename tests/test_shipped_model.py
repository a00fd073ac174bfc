"""The shipped model, on held-out fields: it loads, is what it says, and makes images sharper, not brighter."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import pytest
import torch

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.data.simulate import SimulationConfig, simulate_pair
from fluorsr.evaluate.cases import CaseSet, Source, simulated_case
from fluorsr.evaluate.compare import compare
from fluorsr.evaluate.restore import restore_field
from fluorsr.evaluate.results import ALL
from fluorsr.models.load import load
from fluorsr.models.zoo_index import describe, find
from fluorsr.restorer import Restorer

NAME = "edsr-confocal-sted-x2"
SEED = 2**32
CONFIG = SimulationConfig(size_px=128, photons=(100, 100))


@pytest.fixture(scope="module")
def model() -> Restorer:
    return load(NAME, precision="fp32")


def test_its_recipe_figures_and_card_travel_with_it() -> None:
    card = describe(NAME)
    recipe = card.notes["recipe"]
    assert recipe["name"] == NAME
    assert recipe["seed"] < 2**31 < SEED
    assert card.notes["steps"] > 1000
    assert set(card.notes["heldout"]) >= {"microtubules, bright", "vesicles, dim"}
    text = find(NAME).with_suffix(".md").read_text(encoding="utf-8")
    for word in ("0.06", "microtubules", "vesicles", "nuclei", "fluorsr train", "| light |"):
        assert word in text
    assert card.spec.pixel_size_um == 0.06
    assert (card.spec.scale, card.spec.halo, card.spec.multiple, card.spec.exact) == (2, 20, 1, True)


@pytest.mark.parametrize(
    ("structure", "margin_db"),
    [("microtubules", 3.0), ("actin", 2.0), ("nuclei", 2.5), ("mitochondria", 2.5), ("vesicles", 3.0)],
)
def test_it_beats_the_input_and_richardson_lucy(model: Restorer, structure: str, margin_db: float) -> None:
    sources = [
        Source(str(i), structure, partial(simulated_case, CONFIG, SEED, 100 + i, structure, structure, str(i)))
        for i in range(2)
    ]
    methods: dict[str, Restorer] = {"bicubic": Bicubic(), "lucy": RichardsonLucy(4.2, 12, max_halo=24), NAME: model}
    found = compare(CaseSet(structure, tuple(sources)), methods, baselines=())
    metrics = [metric.name for metric in found.metrics]
    figures = {m: {metric: found.summary(ALL, m, metric).mean for metric in metrics} for m in methods}
    assert figures[NAME]["psnr"] > figures["bicubic"]["psnr"] + margin_db
    assert figures[NAME]["psnr"] > figures["lucy"]["psnr"] + 0.5
    assert figures[NAME]["ssim"] > max(figures["bicubic"]["ssim"], figures["lucy"]["ssim"])
    assert figures[NAME]["frc"] < min(figures["bicubic"]["frc"], figures["lucy"]["frc"])
    assert figures[NAME]["light"] == pytest.approx(1, abs=0.06)


def test_haze_stays_smooth(model: Restorer) -> None:
    """Light that is far out of focus must not turn into filaments: no fine detail appears where the truth has none."""
    config = CONFIG.model_copy(update={"focus_um": (2.5, 2.5), "haze": (1.0, 1.0), "photons": (200.0, 200.0)})
    field = simulate_pair(config, SEED, 7, "nuclei")
    restored = restore_field(model, field.degraded)
    error = restored - torch.from_numpy(field.target)
    assert error[40:-40, 40:-40].std().item() < 0.05 * float(np.ptp(field.target))


def test_an_empty_field_stays_empty(model: Restorer) -> None:
    """Camera noise alone gives no structure: what comes out varies less than what went in."""
    noise = np.random.default_rng(1).normal(100, 3, (96, 96)).round().astype(np.uint16)
    restored = restore_field(model, cast("np.ndarray", noise))
    assert restored.std().item() < 0.6 * float(noise.std())
    assert restored.mean().item() == pytest.approx(100, abs=1.5)
