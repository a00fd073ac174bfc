"""`fluorsr data check`: is a folder of pairs fit to be trained on?"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from fluorsr.data.check import check_pairs
from fluorsr.data.correct import write_corrected
from fluorsr.data.findings import Report
from fluorsr.data.judge import MAX_SHIFT_PX, length
from fluorsr.report.contact_sheet import draw_contact_sheet

data = typer.Typer(help="Look after pairs of images to train on.", no_args_is_help=True)


@data.callback()
def _verbs() -> None:
    """Look after pairs of images to train on."""


@data.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="train/input and train/target (and val, test), or input and target; a .csv list; or an image with its "
            "truth beside it.",
        ),
    ],
    scale: Annotated[
        int | None, typer.Option(help="Target pixels per input pixel; that of most pairs unless given.")
    ] = None,
    max_shift: Annotated[
        float, typer.Option(min=0.0, help="Shift in input pixels beyond which a pair is at fault.")
    ] = MAX_SHIFT_PX,
    correct: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the set to a new folder, its shifts corrected.")
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the pairs, those at fault first.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Check every pair in DIR: partners, sizes, pixels, registration, and that the target is the sharper one.

    All that is wrong is told at once. Exit code 0 where every pair can be used, 2 where one cannot.
    """
    with Progress(
        console=Console(stderr=True), transient=True, disable=as_json or not Console(stderr=True).is_terminal
    ) as bar:
        task = bar.add_task("checking", total=None)
        report = check_pairs(
            path,
            scale=scale,
            max_shift_px=math.inf if correct else max_shift,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if contact_sheet:
        draw_contact_sheet(report, contact_sheet)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        _show(report)
    report.raise_if_faulty()
    if correct:
        write_corrected(report, correct)
        if not as_json:
            Console().print(f"corrected set written to {correct}", highlight=False, markup=False, soft_wrap=True)


def _show(report: Report) -> None:
    """Print what was measured, pair by pair, and the warnings; faults follow as the error."""
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("pair", "input", "scale", "shift y, x (pixels)", "input blurrier by", "found"):
        table.add_column(column, overflow="fold")
    rules: dict[str, list[str]] = {}
    for finding in report.findings:
        color = "red" if finding.fault else "yellow"
        mark = f"[{color}]{finding.rule}[/]"
        if mark not in rules.setdefault(finding.pair, []):
            rules[finding.pair].append(mark)
    for one in report.measured:
        pair, shift, sharp = one.pair, one.shift, one.sharpness
        frames = f"{pair.frames} x " if pair.frames > 1 else ""
        table.add_row(
            escape(pair.name),
            f"{frames}{pair.size[0]} x {pair.size[1]} {pair.input.dtype.name}",
            str(pair.scale),
            f"{shift.y:+.2f}, {shift.x:+.2f} ± {shift.error:.2f}" if shift and sharp else "",
            length(sharp.blur_px, pair.pixel_size_um) if sharp else "",
            " ".join(rules.pop(pair.name, [])) or "[green]good[/]",
        )
    for name, marks in rules.items():
        table.add_row(escape(name), "", "", "", "", " ".join(marks))
    console.print(table, highlight=False)
    for finding in report.warnings:
        console.print(f"[yellow]{finding.rule}:[/] {escape(finding.message)}", soft_wrap=True, highlight=False)
    splits = Counter(one.pair.split or "not split" for one in report.measured)
    counts = ", ".join(f"{count} {name}" for name, count in splits.items())
    faulty = len({finding.pair for finding in report.faults})
    console.print(
        f"{report.listed} pairs ({counts or 'none can be read'}), {faulty} at fault", soft_wrap=True, highlight=False
    )
