"""Photobleaching is an exponential in the frame's number."""

from __future__ import annotations

import pytest
import torch

from fluorsr.errors import InputError
from fluorsr.optics.bleaching import bleach, loss_for


def test_it_halves_after_its_half_life_and_never_changes_the_first_frame() -> None:
    frames = torch.full((11, 2, 3), 8.0)
    dimmed = bleach(frames, loss_for(5))
    assert dimmed[[0, 5, 10], 1, 2].tolist() == pytest.approx([8.0, 4.0, 2.0])
    assert torch.equal(bleach(frames, 0.0), frames)
    assert float(bleach(frames, 0.9, floor=0.25)[10, 0, 0]) == pytest.approx(2.0)
    assert dimmed.dtype == torch.float32


def test_a_loss_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"loss_per_frame 1 must be at least 0 and below 1, floor 0 within 0 and 1"):
        bleach(torch.ones(2, 2, 2), 1.0)
    with pytest.raises(InputError, match=r"half_life_frames 0 must be above 0"):
        loss_for(0)
