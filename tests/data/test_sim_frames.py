"""Frames in the wrong order, of the wrong number, blank, saturated, drifted: each is told with what was measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fluorsr.data.sim_frames import FrameOrder, check_frames, phase_step_errors_deg
from fluorsr.errors import InputError


@pytest.fixture(scope="module")
def series():
    """The specimen and stripes of tests/classical."""
    path = Path(__file__).parents[1] / "classical" / "conftest.py"
    spec = importlib.util.spec_from_file_location("sim_series", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sim_series"] = module
    spec.loader.exec_module(module)
    illumination = module.THREE_BEAMS.model_copy(update={"phase_error_rad": 0.0})
    return module.take(illumination, 500)


@pytest.fixture
def frames(series) -> Tensor:
    return series.frames.flatten(0, 1).clone()


def told(frames: Tensor, series, order: FrameOrder | None = None) -> str:
    with pytest.raises(InputError) as caught:
        check_frames(frames, order or FrameOrder(), series.optics)
    return str(caught.value)


def test_frames_in_order_pass(frames, series) -> None:
    measured = check_frames(frames, FrameOrder(), series.optics)
    assert phase_step_errors_deg(measured).abs().max() < 3
    by_phase = frames.reshape(3, 5, 128, 128).transpose(0, 1).flatten(0, 1)
    again = check_frames(by_phase, FrameOrder(slowest="phase"), series.optics)
    assert torch.equal(again.wave_per_um, measured.wave_per_um)


def test_both_orders_name_the_same_frames() -> None:
    stack = torch.arange(15)[:, None, None].expand(15, 2, 2)
    for slowest in ("angle", "phase"):
        order = FrameOrder(slowest=slowest)
        arranged = order.arrange(stack)
        assert arranged.shape == (3, 5, 2, 2)
        assert all(int(arranged[a, p, 0, 0]) == order.where(a, p) for a in range(3) for p in range(5))


def test_a_stack_of_14(frames, series) -> None:
    assert "14 frames are not 3 angles x 5 phases = 15: 1 missing" in told(frames[:14], series)
    assert "16 frames" in told(torch.cat([frames, frames[:1]]), series)


def test_the_wrong_order_is_told_with_the_right_one(frames, series) -> None:
    by_phase = frames.reshape(3, 5, 128, 128).transpose(0, 1).flatten(0, 1)
    message = told(by_phase, series)
    assert "the frames are not angle-major, 3 angles x 5 phases" in message
    assert "if the frames are phase-major, 3 angles x 5 phases; declare that order" in message
    assert "phase-major, 3 angles x 5 phases: " in told(frames, series, FrameOrder(slowest="phase"))


def test_phases_in_disorder(frames, series) -> None:
    frames[[6, 8]] = frames[[8, 6]]
    message = told(frames, series)
    assert "the phases of angle 2 are measured at" in message
    assert "its frames are [5, 9, 6, 7, 8]" in message or "its frames are [5, 8, 7, 6, 9]" in message


def test_frames_of_another_angle(frames, series) -> None:
    frames[[2, 8]] = frames[[8, 2]]
    message = told(frames, series)
    assert "hardly show the stripes" in message
    assert "2 (" in message
    assert "8 (" in message


def test_a_blank_frame(frames, series) -> None:
    frames[7] = 100 + torch.rand(128, 128, generator=torch.Generator().manual_seed(0))
    assert "frame 7 of 15 (counted from 0) is blank: its contrast is 0.28" in told(frames, series)


def test_a_saturated_frame(frames, series) -> None:
    limit = float(torch.quantile(frames[4], 0.97))
    frames[4] = frames[4].clamp(max=limit)
    assert "frame 4 of 15 (counted from 0) is saturated: 3 % of its pixels" in told(frames, series)


def test_drift_between_angles(frames, series) -> None:
    frames[5:10] = frames[5:10].roll(3, -1)
    assert "against angle 1, angle 2 by (-0.0, 3.0) pixels" in told(frames, series).replace("(0.0,", "(-0.0,")


def test_not_a_number_and_no_stripes(frames, series) -> None:
    noise = torch.rand(15, 96, 96, generator=torch.Generator().manual_seed(0))
    assert "no stripes were found" in told(noise, series)
    frames[3, 5, 5] = torch.nan
    assert "frames [3] (counted from 0) hold NaN or infinity" in told(frames, series)
