"""Evaluation: figures that can be computed by hand, any restorer, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.data.simulate import SimulationConfig, simulate_pair
from fluorsr.errors import InputError
from fluorsr.evaluate.fields import Case, evaluate, restore_field, score, to_markdown
from fluorsr.metrics.registry import METRICS
from fluorsr.restorer import RestorerSpec


class Nearest:
    """Repeats pixels; times 3, so that only the fit can make it right. Sizes must be multiples of 8."""

    spec = RestorerSpec(name="nearest", scale=2, halo=5, multiple=8)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        assert tiles.shape[-1] % 8 == tiles.shape[-2] % 8 == 0
        assert origin.tolist() == [[-8, -8]]
        return 3 * tiles.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_a_field_is_restored_in_its_own_counts_whatever_the_multiple() -> None:
    degraded = np.random.default_rng(1).integers(100, 900, (21, 30)).astype(np.uint16)
    restored, low = restore_field(Nearest(), degraded)
    expected = 3 * (degraded.repeat(2, 0).repeat(2, 1) - low) + low
    np.testing.assert_allclose(restored.numpy(), expected, rtol=1e-5)
    assert low == degraded.min()


def test_gain_and_offset_are_fitted_away_but_light_is_not() -> None:
    degraded = np.random.default_rng(1).integers(100, 900, (32, 32)).astype(np.uint16)
    target = degraded.repeat(2, 0).repeat(2, 1).astype(np.float32)
    figures = evaluate({"nearest": Nearest()}, [Case("all", degraded, target, 0.03)])["all"]["nearest"]
    assert figures["psnr"] > 100
    assert figures["ssim"] == pytest.approx(1)
    assert figures["frc"] == pytest.approx(60)
    assert figures["light"] == pytest.approx(3)


def test_a_group_averages_its_cases() -> None:
    config = SimulationConfig(size_px=48, photons=(300, 300), density=(2, 2))
    fields = [simulate_pair(config, 5, index, "vesicles") for index in range(2)]
    cases = [Case("v", f.degraded, f.target, f.target_pixel_size_um) for f in fields]
    restorers = {"bicubic": Bicubic(), "lucy": RichardsonLucy(4.5, 5, max_halo=20)}
    table = evaluate(restorers, cases)
    apart = [evaluate(restorers, [case])["v"] for case in cases]
    assert table["v"]["bicubic"]["psnr"] == pytest.approx(sum(a["bicubic"]["psnr"] for a in apart) / 2)
    inverse = sum(1 / a["bicubic"]["frc"] for a in apart) / 2
    assert table["v"]["bicubic"]["frc"] == pytest.approx(1 / inverse)
    assert table["v"]["bicubic"]["light"] == pytest.approx(1, abs=0.05)
    lines = to_markdown(table).splitlines()
    assert lines[0] == "| images | method | PSNR (dB) | SSIM | FRC (nm) | light |"
    assert lines[2].startswith("| v | bicubic | ")
    assert len(lines) == 4


def test_resolutions_average_as_frequencies() -> None:
    assert METRICS["frc"].mean([100.0, math.inf]) == 200
    assert METRICS["frc"].mean([math.inf]) == math.inf
    assert METRICS["psnr"].mean([20.0, 30.0]) == 25


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"restored \(4, 4\) and truth \(8, 8\) must have one shape"):
        score(torch.zeros(4, 4), torch.zeros(8, 8), 0.03)
