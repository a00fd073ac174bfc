"""The loop: it learns, stops, survives NaN, and tells what it does. Files and recipes are not its business."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from fluorsr.errors import ModelError
from fluorsr.train.loop import PATIENCE, Progress, State, Watch, fit
from fluorsr.train.recipe import Recipe
from fluorsr.train.run import prepare
from fluorsr.train.schedule import Budget


def batch(step: int) -> tuple[Tensor, Tensor]:
    """The same bright square for ever: a task that any network learns."""
    image = torch.zeros(1, 1, 16, 16)
    image[..., 4:12, 4:12] = 1.0
    return image, image.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Told:
    """An objective whose losses are told beforehand."""

    def __init__(self, losses: list[float]) -> None:
        self.losses, self.rates, self.drawn = losses, [], []

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, float]:
        self.rates.append(rate)
        self.drawn.append(float(torch.rand(1)))
        return {"loss": self.losses[len(self.rates) - 1]}


def run(objective: Any, steps: int, state: State | None = None, **options: Any) -> tuple[str, State]:
    state = state or State()
    return fit(objective, batch, Budget(steps), state, accelerator=Accelerator(), **options), state


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(tiny: Callable[..., Recipe], precision: str) -> None:
    objective = prepare(tiny(precision=precision, learning_rate=5e-3), Accelerator())
    told: list[Progress] = []
    ended, state = run(objective, 120, report=told.append, log_every=1)
    assert (ended, state.step, len(told)) == ("done", 120, 120)
    assert told[-1].loss < 0.3 * told[0].loss
    inputs, target = batch(0)
    assert (objective.restore(inputs) - target).abs().mean() < told[0].loss


def test_lines_hold_means_and_validations_come_when_due() -> None:
    lines: list[dict[str, Any]] = []
    saved: list[bool] = []
    psnr = iter([20.0, 19.0, 21.0])
    ended, state = run(
        Told([1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 9.0]),
        7,
        log=lines.append,
        log_every=2,
        validate_every=3,
        validate=lambda step: {"psnr": next(psnr)},
        save=saved.append,
        watch=Watch("psnr"),
    )
    assert [(line["step"], line["loss"], line.get("psnr")) for line in lines] == [
        (2, 2.0, None),
        (3, 5.0, 20.0),
        (4, 7.0, None),
        (6, 2.0, 19.0),
        (7, 9.0, 21.0),
    ]
    assert all(0 <= line["data_wait"] <= 1 for line in lines)
    assert saved == [True, False, True]
    assert (ended, state.best, state.best_step, state.validation) == ("done", 21.0, 7, {"psnr": 21.0})


def test_it_stops_early_without_a_gain_where_lower_is_better() -> None:
    figures = iter([300.0, 310.0, 290.0, 290.0, math.inf])
    ended, state = run(
        Told([1.0] * 99),
        99,
        validate_every=2,
        validate=lambda step: {"frc": next(figures)},
        watch=Watch("frc", higher_is_better=False, patience=2),
    )
    assert (ended, state.step, state.best, state.best_step) == ("stopped early", 10, 290.0, 6)


def test_a_stop_is_obeyed_after_the_step_and_saved() -> None:
    stopped: list[int] = []
    saved: list[bool] = []

    def report(progress: Progress) -> None:
        if progress.step == 4:
            stopped.append(15)

    ended, state = run(Told([1.0] * 9), 9, stopped=stopped, report=report, save=saved.append)
    assert (ended, state.step, saved) == ("interrupted", 4, [False])


def test_what_is_drawn_in_a_step_depends_on_seed_and_step_only() -> None:
    whole, late, other = Told([1.0] * 5), Told([1.0] * 2), Told([1.0] * 5)
    run(whole, 5, seed=3)
    run(late, 5, State(step=3), seed=3)
    run(other, 5, seed=4)
    assert whole.drawn[3:] == late.drawn
    assert whole.rates[3:] == late.rates
    assert len({*whole.drawn, *other.drawn}) == 10


def test_losses_that_are_not_finite_are_counted_and_many_in_a_row_end_the_run() -> None:
    lines: list[dict[str, Any]] = []
    _, state = run(Told([1.0, math.nan, 3.0] * 2), 6, log=lines.append, log_every=3)
    assert state.skipped == 2
    assert [(line["loss"], line["skipped"]) for line in lines] == [(2.0, 1), (2.0, 2)]
    with pytest.raises(
        ModelError, match=rf"not finite for {PATIENCE} steps up to step 12; .*--resume and --set learning"
    ):
        run(Told([1.0, 1.0] + [math.nan] * PATIENCE), 99)


def test_an_objective_survives_a_batch_of_nan(tiny: Callable[..., Recipe]) -> None:
    objective = prepare(tiny(), Accelerator())
    before = [weight.clone() for weight in objective.shipped().parameters()]
    with pytest.raises(ModelError, match="not finite"):
        fit(
            objective,
            lambda step: (batch(step)[0], batch(step)[1] * torch.nan),
            Budget(99),
            State(),
            accelerator=Accelerator(),
        )
    for old, new in zip(before, objective.shipped().parameters(), strict=True):
        assert torch.equal(old, new)
