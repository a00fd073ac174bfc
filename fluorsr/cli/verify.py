"""`fluorsr verify`: is an output complete and undamaged?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import fluorsr.pipeline.verify as library


def verify(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="An OME-Zarr that fluorsr-infer wrote.")],
    repair: Annotated[bool, typer.Option("--repair", help="Make again what is damaged or missing.")] = False,
    source: Annotated[Path | None, typer.Option(help="For --repair: where the input is now, if it was moved.")] = None,
    model: Annotated[str | None, typer.Option(help="For --repair: where the model is now, if it was moved.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="For --repair: as in `fluorsr infer`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Re-read OUT and check every block against the run's record, and the pyramid against its level 0.

    With --repair, blocks that are damaged or missing are restored again from the input, with the bytes they had.
    Exit code 0 where all is complete and unchanged, 1 where something is missing or damaged.
    """
    found = library.verify(output, repair=repair, source=source, model=model, trust=trust)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        console = Console()
        for fault in found.repaired:
            console.print(f"[green]repaired:[/] {fault}", soft_wrap=True, highlight=False)
        for fault in found.faults:
            console.print(f"[red]damaged:[/] {fault}", soft_wrap=True, highlight=False)
        state = "complete and unchanged" if found.complete else "NOT complete and unchanged"
        console.print(
            f"{found.output}: {found.done} of {found.blocks} blocks done, {len(found.faults)} faults: {state}"
        )
    if not found.complete:
        raise typer.Exit(1)
