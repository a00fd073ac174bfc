"""`fluorsr train`: a model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import fluorsr.train.run as library
from fluorsr.errors import InputError
from fluorsr.train.loop import Progress as At
from fluorsr.train.recipe import read_recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML; shipped ones are in fluorsr/train/recipes.")],
    out: Annotated[Path, typer.Option(help="Folder for the log, the checkpoint and the weights.")],
    steps: Annotated[int | None, typer.Option(help="Steps to train; the recipe's where not given.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes to train, where they end before the steps.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: `data.size_px=128`.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default all.")] = None,
) -> None:
    """Train a model on simulated images and write its weights with their measured spec.

    Ctrl-C ends the run after the step under way: weights and a checkpoint are written, and --resume goes on from there.
    """
    changes = dict(_parse(text) for text in change or [])
    if steps is not None:
        changes["steps"] = steps
    if minutes is not None:
        changes["minutes"] = minutes
    checked = read_recipe(recipe, changes)
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    console = Console()
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
                figures = ", ".join(f"{name} {value:.2f}" for name, value in at.validation.items())
                console.print(
                    f"step {at.step}, {at.seconds / 60:.1f} min: loss {at.loss:.4f}, {figures}", highlight=False
                )

        weights, end = library.train(checked, out, resume=resume, report=report)
    ended = "done" if end.spent >= 1 else "interrupted; --resume goes on from here"
    console.print(f"{ended}: {end.step} steps in {end.seconds / 60:.1f} minutes", highlight=False)
    console.print(f"[bold]weights[/]  {weights}", highlight=False, soft_wrap=True)


def _parse(text: str) -> tuple[str, object]:
    """`data.photons=[20, 100]` -> its dotted name and its value, read as YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--set takes KEY=VALUE, not {text!r}; for example --set batch=8")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {text}: the value is not YAML: {error}") from error
