"""The training loop. It knows no model and no data: an objective learns, a function of the step gives the batches.

Files in the run's folder: `log.jsonl` (one JSON object a report), `checkpoint.pt` (replaced whole, see checkpoint.py).
Ctrl-C and SIGTERM end the run after the step under way, with a checkpoint.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fluorsr.errors import InputError, ModelError
from fluorsr.train.checkpoint import load_checkpoint, save_checkpoint
from fluorsr.train.objectives.base import Objective

PATIENCE = 20
"""Steps in a row without a finite loss after which the run stops."""


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps`, or `minutes` where those end first. `warmup` steps lead to the full learning rate."""

    steps: int
    minutes: float | None
    warmup: int

    def spent(self, step: int, seconds: float) -> float:
        """The part of the budget that is used up, 0 to 1 and beyond."""
        return max(step / self.steps, seconds / 60 / self.minutes if self.minutes else 0.0)

    def rate(self, step: int, spent: float) -> float:
        """Learning rate relative to its peak: a linear warm-up, then half a cosine down to 1 %."""
        return min(1.0, (step + 1) / (self.warmup + 1)) * (0.505 + 0.495 * math.cos(math.pi * min(spent, 1.0)))


@dataclass(frozen=True)
class Progress:
    """What the loop tells while it runs; `validation` is empty between validations."""

    step: int
    seconds: float
    spent: float
    loss: float
    validation: dict[str, float]


def fit(
    objective: Objective,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    validate: Callable[[Objective], dict[str, float]],
    budget: Budget,
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int = 0,
    resume: bool = False,
    validate_every: int = 500,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train until the budget is spent or a signal comes; returns where it ended (spent < 1: it was interrupted).

    A resumed run takes up the objective, the step and the time of the checkpoint in `folder`, and sees the batches it
    would have seen. Raises InputError where that checkpoint is of another recipe, ModelError where the loss stays NaN.
    """
    path = folder / "checkpoint.pt"
    step, before = 0, 0.0
    if resume:
        state = load_checkpoint(path)
        differs = sorted(k for k in recipe if k not in ("steps", "minutes") and recipe[k] != state["recipe"].get(k))
        if differs:
            raise InputError(f"{path} is of a run with other {', '.join(differs)}; resume with its recipe")
        objective.load_state_dict(state["objective"])
        step, before = state["step"], state["seconds"]
    started, lost, recent = time.monotonic(), 0, math.nan
    progress = Progress(step, before, budget.spent(step, before), recent, {})
    with _interruptible() as stopped, (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        while progress.spent < 1 and not stopped:
            torch.manual_seed(seed * 2**32 + step)  # whatever an objective draws is the same after a resume
            figures = objective.step(*batches(step), budget.rate(step, progress.spent))
            step += 1
            finite = math.isfinite(figures["loss"])
            lost = 0 if finite else lost + 1
            if lost >= PATIENCE:
                raise ModelError(
                    f"the loss was not finite for {PATIENCE} steps up to step {step}; lower the learning_rate, "
                    f"the last good state is in {path}"
                )
            if finite:
                recent = figures["loss"] if math.isnan(recent) else 0.98 * recent + 0.02 * figures["loss"]
            seconds = before + time.monotonic() - started
            spent = budget.spent(step, seconds)
            due = step % validate_every == 0 or spent >= 1
            progress = Progress(step, seconds, spent, recent, validate(objective) if due else {})
            if due:
                line = {"step": step, "seconds": round(seconds, 1), "loss": recent, **progress.validation}
                log.write(json.dumps(line) + "\n")
                log.flush()
                save_checkpoint(path, _state(objective, progress, recipe))
            report(progress)
        if stopped:
            save_checkpoint(path, _state(objective, progress, recipe))
    return progress


def _state(objective: Objective, progress: Progress, recipe: dict[str, Any]) -> dict[str, Any]:
    return {
        "objective": objective.state_dict(),
        "step": progress.step,
        "seconds": progress.seconds,
        "recipe": recipe,
    }


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that fills when SIGINT or SIGTERM arrives; a second signal acts as it usually does."""
    received: list[int] = []
    usual: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, usual[number])

    for wanted in (signal.SIGINT, signal.SIGTERM):
        usual[wanted] = signal.signal(wanted, note)
    try:
        yield received
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
