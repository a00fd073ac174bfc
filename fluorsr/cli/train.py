"""`fluorsr train`: a model from a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import fluorsr.train.run as library
from fluorsr.cli.settings import parse_settings
from fluorsr.metrics.registry import METRICS
from fluorsr.train.loop import Progress as At
from fluorsr.train.recipe import read_recipe

SLOW = 0.05
"""Share of the time spent waiting for data from which on it is told."""


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for all that the run writes; runs/NAME if not given.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|simulated", help="Train on the pairs in DIR (see `fluorsr data check`), or simulate."
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Start from a shipped model or a weights file: fine-tuning.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train; the recipe's where not given.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes to train, where they end before the steps.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: `data.size_px=128`.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network. Default all.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that make training data. Default half of the CPUs.")
    ] = None,
) -> None:
    """Train a model and write its weights with their measured spec.

    Ctrl-C or SIGTERM ends the run after the step under way: a checkpoint and the weights so far are written, the exit
    code is 0, and --resume goes on with the numbers of a run that was never interrupted. Several processes or
    machines: `accelerate launch -m fluorsr train ...`.
    """
    changes: dict[str, Any] = {}
    if data is not None:
        changes["data"] = {} if data == "simulated" else {"pairs": data}
    changes |= parse_settings(change)
    given = {"init": init, "steps": steps, "minutes": minutes}
    checked = read_recipe(recipe, changes | {name: value for name, value in given.items() if value is not None})
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    console = Console(quiet=os.environ.get("RANK", "0") != "0")  # of several processes, the first one speaks
    with Progress(
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=1.0, step=0, loss="-")

        def report(at: At) -> None:
            bar.update(task, completed=min(at.spent, 1.0), step=at.step, loss=f"{at.loss:.4f}")
            if at.validation:
                console.print(_line(at), highlight=False, soft_wrap=True)

        def tell(note: str) -> None:
            console.print(f"[yellow]warning:[/] {escape(note)}", highlight=False, soft_wrap=True)

        folder = out or Path("runs") / checked.name
        end = library.train(checked, folder, resume=resume, workers=workers, report=report, tell=tell)
    state, go_on = end.state, "; --resume goes on from here" if end.ended == "interrupted" else ""
    best = f", best at step {state.best_step}" if checked.watch and state.best is not None else ""
    console.print(f"{end.ended}{go_on}: {state.step} steps in {state.seconds / 60:.1f} minutes{best}", highlight=False)
    console.print(f"[bold]weights[/]  {end.weights}", highlight=False, soft_wrap=True)


def _line(at: At) -> str:
    """What a validation found, and what is amiss."""
    figures = ", ".join(f"{metric.heading} {at.validation[name]:.{metric.digits}f}" for name, metric in METRICS.items())
    text = f"step {at.step}, {at.seconds / 60:.1f} min: loss {at.loss:.4f}, {figures}"
    if at.data_wait > SLOW:
        text += f"; [yellow]{at.data_wait:.0%} of the time waits for data[/]: more --workers, or a smaller refresh"
    if at.skipped:
        text += f"; [yellow]{at.skipped} steps skipped[/], whose loss was not finite"
    return text
