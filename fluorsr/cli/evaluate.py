"""`fluorsr evaluate`: predictions against targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fluorsr.cli.compare import names
from fluorsr.errors import InputError
from fluorsr.evaluate.files import Evaluation, evaluate_files
from fluorsr.metrics.registry import ALL_METRICS, METRICS

Text = typer.Option


def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="An image, a store, or a folder of images.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The same, of the truth; matched by name.")],
    metrics: Annotated[str, Text(help=f"Some of {', '.join(ALL_METRICS)}.")] = ",".join(METRICS),
    intensity: Annotated[
        str, Text(help="raw, minmax, percentile, or fit: gain and offset of least squares, per plane.")
    ] = "fit",
    crop: Annotated[int, Text(min=0, help="Pixels cut off each edge.")] = 0,
    pixel_size_um: Annotated[float | None, Text(help="Of the target, where its file does not tell.")] = None,
    as_json: Annotated[bool, Text("--json", help="Print one JSON object.")] = False,
    as_csv: Annotated[bool, Text("--csv", help="Print CSV, one line a plane.")] = False,
    as_markdown: Annotated[bool, Text("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Compare restored images with the truth, plane by plane; planes of any size, in bounded memory."""
    if as_json + as_csv + as_markdown > 1:
        raise InputError("--json, --csv and --markdown are three ways to print one table; choose one")
    errors = Console(stderr=True)
    with errors.status("comparing") as status:
        found = evaluate_files(
            prediction,
            target,
            metrics=names(metrics),
            intensity=intensity,
            crop_px=crop,
            pixel_size_um=pixel_size_um,
            progress=lambda what: status.update(f"comparing {escape(what)}"),
        )
    if as_json:
        print(found.to_json())
    elif as_csv:
        print(found.to_csv(), end="")
    elif as_markdown:
        print(found.to_markdown(), end="")
    else:
        _show(found)


def _show(found: Evaluation) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("image", overflow="fold")
    for metric in found.metrics:
        table.add_column(metric.heading, justify="right")
    for name, values in [*((row.name, row.values) for row in found.rows), ("mean", found.mean)]:
        table.add_row(escape(name), *(f"{values[m.name]:.{m.digits}f}" for m in found.metrics))
    console.print(table, highlight=False)
    console.print(found.how, highlight=False, soft_wrap=True)
    for warning in found.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)
