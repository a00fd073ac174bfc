"""Losses against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from fluorsr.losses import LOSSES


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", 1.5), ("mse", 2.5), ("charbonnier", (math.sqrt(1 + 1e-6) + math.sqrt(4 + 1e-6)) / 2)],
)
def test_losses_by_hand(name: str, expected: float) -> None:
    """Differences of 1 and -2."""
    restored, target = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 3.0])
    assert LOSSES[name](restored, target).item() == pytest.approx(expected, rel=1e-6)
