"""`fluorsr check`: can a restored image be trusted? Without a truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fluorsr.evaluate.check import Check
from fluorsr.evaluate.check import check as library_check
from fluorsr.report.check_page import write_check

Text = typer.Option
COLORS = {"fine": "green", "warning": "bold yellow", "unknown": "dim"}


def check(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The image that was restored.")],
    restored: Annotated[Path, typer.Argument(metavar="RESTORED", help="What came out.")],
    model: Annotated[
        str | None, Text(help="The model, where RESTORED does not name it: its training is held against the image.")
    ] = None,
    channel: Annotated[int, Text(help="Of RESTORED.")] = 0,
    z: Annotated[int | None, Text(help="Slice of RESTORED. Default the middle.")] = None,
    t: Annotated[int, Text(help="Time point of RESTORED.")] = 0,
    tile: Annotated[
        int | None, Text(help="Output pixels between tile borders, where RESTORED does not tell. Default looked for.")
    ] = None,
    pixel_size_um: Annotated[float | None, Text(help="Of INPUT, where its file does not tell.")] = None,
    out: Annotated[Path | None, Text(help="Folder for the page (check.md) and the map (check.png).")] = None,
    strict: Annotated[bool, Text("--strict", help="Exit code 1 where there is a warning.")] = False,
    as_json: Annotated[bool, Text("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Check a restored image against the image it was made from, and say what can be trusted.

    One plane is looked at: does it give the input again when blurred, was anything invented or lost, is the light in
    proportion, is noise sharpened, are there seams, is the model at home here. No truth is needed, so detail finer than
    the microscope's spot cannot be judged. Exit code 0, or with --strict 1 where there are warnings.
    """
    found = library_check(
        source, restored, model=model, channel=channel, z=z, t=t, tile=tile, pixel_size_um=pixel_size_um
    )
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    if out is not None:
        page, picture = write_check(found, out)
        Console(stderr=True).print(f"written: {page}, {picture}", markup=False, highlight=False, soft_wrap=True)
    if strict and found.warnings:
        raise typer.Exit(1)


def _show(found: Check) -> None:
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    for one in found.findings:
        say(f"[{COLORS[one.status]}]{one.status:<8}[/] {one.rule:<12} {escape(one.message)}")
    say("\n[bold]Can be trusted[/]")
    for line in found.trusted or ("Nothing.",):
        say(f"  {escape(line)}")
    say("[bold]Cannot be trusted[/]")
    for line in found.doubted:
        say(f"  {escape(line)}")
