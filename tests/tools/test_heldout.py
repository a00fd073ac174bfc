"""The table of the models: what its new band is, and that a mean of samples is one."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from fluorsr.restorer import RestorerSpec


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("heldout", Path(__file__).parents[2] / "tools" / "heldout.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "heldout", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("period_um", "inside"), [(0.4, False), (0.24, False), (0.2, True), (0.11, True), (0.08, False)]
)
def test_the_new_band_lies_between_what_the_two_spots_pass(tool: ModuleType, period_um: float, inside: bool) -> None:
    """One grating more in the prediction than in the truth, whose noise is the same everywhere."""
    noise = torch.randn(256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.arange(256, dtype=torch.float64) * 0.03
    grating = 4 * torch.cos(2 * math.pi * x / period_um).expand(256, 256)
    kept = float(tool.new_band(noise + grating, noise, data_range=1.0, pixel_size_um=0.03))
    assert kept > 5 if inside else kept == pytest.approx(1, rel=0.2)


def test_what_the_spots_pass_at_the_edges_is_one_percent(tool: ModuleType) -> None:
    for spot in (0.25, 0.11):
        sigma, frequency = spot / math.sqrt(8 * math.log(2)), tool.ONE_PERCENT / spot
        assert math.exp(-2 * (math.pi * sigma * frequency) ** 2) == pytest.approx(0.01)


class Seeded:
    """Gives the seed for every pixel."""

    spec = RestorerSpec("seeded", halo=100, stochastic=True)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        return torch.full_like(tiles, float(seed))


def test_samples_are_those_of_a_run(tool: ModuleType) -> None:
    """Of seeds 3, -4 and 4: mirrored pairs, the second of which wants its mirror."""
    mean = tool.Samples(Seeded(), 3)
    assert torch.equal(mean.restore(torch.zeros(2, 1, 8, 8), torch.zeros(2, 2), 3), torch.full((2, 1, 8, 8), 1.0))
    assert mean.spec.halo == tool.NEAR_PX
