"""`fluorsr report`: a comparison, a training run or a restored image as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import fluorsr.report.html as library


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of `compare` or `train`, or an OME-Zarr of `infer`.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file. Default RUN/report.html; beside an OME-Zarr RUN.report.html.")
    ] = None,
) -> None:
    """Write RUN's report: one HTML file that needs no server and no network, with its charts as SVG and PNG beside."""
    path = library.report(run, out)
    console = Console()
    size = path.stat().st_size / 1e6
    console.print(f"[bold]report[/]  {path} ({size:.1f} MB)", highlight=False, soft_wrap=True)
