"""`fluorsr export`: a model as a file for other programs, and whether such a file does what the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from fluorsr.errors import InputError
from fluorsr.export.formats import FORMATS, export_model
from fluorsr.export.parity import Parity, check
from fluorsr.export.source import TAKES, open_source
from fluorsr.models.samplers import SAMPLERS

Option = typer.Option


def export(
    model: Annotated[str | None, typer.Argument(help="A shipped model or a .safetensors of fluorsr's.")] = None,
    to: Annotated[str, Option(help=f"{', '.join(FORMATS)}.")] = "torchscript",
    out: Annotated[Path | None, Option(help="File to write. Default the model's name here.")] = None,
    tile: Annotated[int | None, Option(help="Tile of `infer` in input pixels, halo included. Default chosen.")] = None,
    precision: Annotated[str | None, Option(help="fp32 or bf16, which the network computes in. Default fp32.")] = None,
    normalise: Annotated[
        str | None, Option(help="What `infer` maps to 0 and 1: frame, running, or LOW,HIGH. Default frame.")
    ] = None,
    stripes: Annotated[
        Path | None,
        Option(help="Of a network of raw SIM frames: your microscope's, by `fluorsr info --save-stripes`."),
    ] = None,
    orders: Annotated[
        bool, Option("--orders", help="Such a network alone, which takes orders: for programs that make them.")
    ] = False,
    steps: Annotated[int | None, Option(help="Network evaluations of a diffusion model. Default the model's.")] = None,
    sampler: Annotated[
        str | None, Option(help=f"Of a diffusion model: {', '.join(SAMPLERS)}. Default the model's.")
    ] = None,
    author: Annotated[list[str] | None, Option(help="Of a bioimage.io package; may be given more than once.")] = None,
    licence: Annotated[str | None, Option(help="Of a bioimage.io package: an SPDX name such as CC-BY-4.0.")] = None,
    check_file: Annotated[
        Path | None, Option("--check", metavar="FILE", help="Compare an exported file with its model instead.")
    ] = None,
) -> None:
    """Write a model for programs that know nothing of fluorsr: `fluorsr export edsr-confocal-sted-x2`.

    `--check FILE` runs an exported file and its model on 20 random sizes and prints the largest difference.
    """
    console = Console(soft_wrap=True, highlight=False)
    if check_file is not None:
        with Console(stderr=True).status(f"restoring 20 images with {check_file} and with its model"):
            parity = check(check_file, model)
        _print_parity(console, parity)
        raise typer.Exit(0 if parity.holds else 1)
    if model is None:
        raise InputError("name a model to export (`fluorsr models` lists them), or a file to compare: --check FILE")
    options = {
        "tile": tile,
        "precision": precision,
        "normalise": normalise,
        "stripes": stripes,
        "orders": orders,
        "steps": steps,
        "sampler": sampler,
        "author": author or None,
        "licence": licence,
    }
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    path = export_model(model, to, out, **given)
    notes = open_source(model, stripes).notes
    if TAKES in notes:
        console.print(f"note: the network alone is exported; it takes {notes[TAKES]}")
    for remark in notes.get("remarks", ()):
        console.print(f"note: {remark}")
    console.print(
        f"{path}: {path.stat().st_size / 1e6:.2f} MB; compare it with its model: fluorsr export --check {path}"
    )


def _print_parity(console: Console, parity: Parity) -> None:
    table = Table("what", "input", Column("size", no_wrap=True), Column("difference / range", justify="right"))
    for case in parity.comparisons:
        table.add_row(case.what, case.dtype, " x ".join(map(str, case.shape)), f"{case.difference:.1e}")
    console.print(table)
    verdict = "within" if parity.holds else "MORE THAN"
    console.print(f"largest difference {parity.largest:.2g} of the range, {verdict} {parity.limit:g}")
