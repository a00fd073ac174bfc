"""The training loop. It knows no model, no data and no files: an objective learns, functions do the rest.

    batches(step) -> objective.step -> every `log_every` steps a line, every `validate_every` a validation and a save

What a step does follows from the seed, the step and the objective's state, so a run that stops anywhere goes on with
the numbers of one that did not.
"""

from __future__ import annotations

import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from fluorsr.errors import ModelError
from fluorsr.train.objectives.base import Objective
from fluorsr.train.schedule import Budget

PATIENCE = 10
"""Steps in a row without a finite loss after which the run stops."""

Ended = Literal["done", "interrupted", "stopped early"]


@dataclass
class State:
    """Where a run is: what a checkpoint holds beside the objective.

    seconds   trained, all parts of the run together;  skipped  steps whose loss was not finite
    best      the watched figure where it was best, at `best_step` with the figures `validation`
    stale     validations since then;  validated  the step of the last one
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    validated: int = -1
    validation: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """What the loop tells after each step; `validation` is empty between validations."""

    step: int
    seconds: float
    spent: float
    loss: float
    data_wait: float
    skipped: int
    validation: dict[str, float]


@dataclass(frozen=True)
class Watch:
    """Which figure of the validation says what is better; the run ends after `patience` validations without a gain."""

    figure: str | None = None
    higher_is_better: bool = True
    patience: int | None = None

    def note(self, state: State, figures: dict[str, float]) -> bool:
        """Take a validation into account; whether it is the best so far (always, where nothing is watched)."""
        state.validated = state.step
        value = figures.get(self.figure, math.nan) if self.figure else math.nan
        gain = math.inf if state.best is None else value - state.best if self.higher_is_better else state.best - value
        if self.figure and not (math.isfinite(value) and gain > 0):
            state.stale += 1
            return False
        state.best, state.best_step, state.stale = (value if self.figure else None), state.step, 0
        state.validation = figures
        return True


def fit(
    objective: Objective,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    budget: Budget,
    state: State,
    *,
    accelerator: Accelerator,
    seed: int = 0,
    validate: Callable[[int], dict[str, float]] = lambda step: {},
    save: Callable[[bool], None] = lambda best: None,
    log: Callable[[dict[str, Any]], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
    watch: Watch = Watch(),
    validate_every: int = 500,
    log_every: int = 50,
    stopped: list[int] | None = None,
) -> Ended:
    """Train from `state`, which is kept up to date, until the budget is spent or `stopped` fills; tells which.

    validate   step -> figures;  save  keeps objective and state, as the best ones where told so
    log        takes one dict of plain values a line;  report  is called after every step
    All of these are called in the main process only. Raises ModelError where the loss stays NaN.
    """
    main, begun, lost = accelerator.is_main_process, time.monotonic() - state.seconds, 0
    recent, line_at = defaultdict[str, float](float), time.monotonic()

    def line(more: dict[str, float]) -> None:
        """Write down what there is since the last line: means, speed, and the share of the time spent on waiting."""
        nonlocal line_at
        steps, passed = recent.pop("steps", 0.0), max(time.monotonic() - line_at, 1e-9)
        share = recent.pop("wait", 0.0) / passed
        means = {name: total / steps for name, total in recent.items() if steps}
        log({"step": state.step, "seconds": state.seconds, **means, "data_wait": share, "steps_per_s": steps / passed}
            | {"skipped": state.skipped} | more)  # fmt: skip
        recent.clear()
        line_at = time.monotonic()

    def check() -> dict[str, float]:
        figures = validate(state.step)
        line(figures)
        save(watch.note(state, figures))
        return figures

    while True:
        spent, stop, stale = _agree(accelerator, budget.spent(state.step, state.seconds), bool(stopped), state.stale)
        if spent >= 1:
            if main and state.validated != state.step:
                check()
            return "done"
        if stop or (watch.patience is not None and stale >= watch.patience):
            if main:
                save(False)
            return "interrupted" if stop else "stopped early"
        asked = time.monotonic()
        inputs, targets = batches(state.step)
        recent["wait"] += time.monotonic() - asked
        rate = budget.rate(state.step, spent)
        number = state.step * accelerator.num_processes + accelerator.process_index
        # Whatever the objective draws is the same after a resume. On CPUs only 32 bits of a seed count.
        torch.manual_seed(int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
        figures = objective.step(inputs, targets, rate)
        state.step += 1
        state.seconds = time.monotonic() - begun
        finite = math.isfinite(figures["loss"])
        lost, state.skipped = (0, state.skipped) if finite else (lost + 1, state.skipped + 1)
        if lost >= PATIENCE:
            raise ModelError(
                f"the loss was not finite for {PATIENCE} steps up to step {state.step}; the last good state is kept: "
                "go on with --resume and --set learning_rate=... (a third of it), precision=fp32 or a smaller clip; "
                "look at the data where that does not help"
            )
        for name, value in {**figures, "rate": rate, "steps": 1.0}.items() if finite else ():
            recent[name] += value
        if not main:
            continue
        loss = recent.get("loss", 0.0) / recent.get("steps", math.nan)
        wait = recent["wait"] / max(time.monotonic() - line_at, 1e-9)
        found = check() if state.step % validate_every == 0 else {}
        if not found and state.step % log_every == 0 and budget.spent(state.step, state.seconds) < 1:
            line({})
        report(Progress(state.step, state.seconds, spent, loss, wait, state.skipped, found))


def _agree(accelerator: Accelerator, spent: float, stop: bool, stale: int) -> tuple[float, bool, int]:
    """What all processes take as true, so that none waits for another that has ended."""
    if accelerator.num_processes == 1:
        return spent, stop, stale
    here = [spent / accelerator.num_processes, float(stop), float(stale)]  # only the main process counts validations
    told = accelerator.reduce(torch.tensor(here, dtype=torch.float64, device=accelerator.device), "sum").tolist()
    return told[0], told[1] > 0, round(told[2])


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that fills when SIGINT or SIGTERM arrives; a second signal acts as it usually does."""
    received: list[int] = []
    usual: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, usual[number])

    # Only the main thread may ask for signals; elsewhere they act as they usually do.
    for wanted in (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ():
        usual[wanted] = signal.signal(wanted, note)
    try:
        yield received
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
