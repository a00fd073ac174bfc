"""`fluorsr` and `fluorsr-infer`: the verbs put together, and errors turned into a message and an exit code.

0  done     1  verify found damage     2  bad input, told in one message     130  interrupted, resumable
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

from fluorsr.cli.check import check
from fluorsr.cli.compare import compare
from fluorsr.cli.data import data
from fluorsr.cli.demo import demo
from fluorsr.cli.evaluate import evaluate
from fluorsr.cli.export import export
from fluorsr.cli.infer import infer
from fluorsr.cli.info import info
from fluorsr.cli.models import models
from fluorsr.cli.plan import plan
from fluorsr.cli.report import report
from fluorsr.cli.simulate import simulate
from fluorsr.cli.train import train
from fluorsr.cli.verify import verify
from fluorsr.errors import FluorsrError

app = typer.Typer(
    help="Super-resolution for fluorescence microscopy.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
VERBS: tuple[Callable[..., None], ...] = (
    infer,
    plan,
    verify,
    check,
    compare,
    evaluate,
    report,
    info,
    models,
    simulate,
    train,
    export,
    demo,
)
for verb in VERBS:
    app.command()(verb)
app.add_typer(data, name="data")

infer_app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False)
infer_app.command()(infer)


def main() -> None:
    """Entry point of `fluorsr`."""
    _run(app)


def infer_main() -> None:
    """Entry point of `fluorsr-infer`."""
    _run(infer_app)


def _run(command: typer.Typer) -> None:
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        command()
    except FluorsrError as error:
        errors.print("[bold red]error:[/]", end=" ")
        errors.print(str(error), markup=False)
        sys.exit(2)
