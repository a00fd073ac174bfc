"""`fluorsr simulate`: an image whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console

from fluorsr.data.store import simulate_store
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="OME-Zarr to write; the truth goes to STEM_truth.")],
    structure: Annotated[
        list[str] | None, typer.Option(help=f"One channel each: {', '.join(STRUCTURES)}. Default the first.")
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels along y and x.")] = 1024,
    photons: Annotated[float, typer.Option(help="In a pixel at the specimen's peak: 20 is dim, 500 bright.")] = 200.0,
    pixel_size_um: Annotated[float, typer.Option(help="Micrometres per pixel.")] = 0.06,
    scale: Annotated[int, typer.Option(help="Pixels of the truth per pixel: 1, 2 or 4.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed is another field.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing images.")] = False,
) -> None:
    """Simulate a confocal image, and what a STED microscope would show of the same field.

    Both are in the same counts per area, so they compare directly: the truth is sharper, not brighter.
    """
    if scale not in (1, 2, 4):
        raise InputError(f"scale {scale} must be 1, 2 or 4")
    console = Console()
    with console.status(f"simulating {size} x {size} pixels"):
        image, truth = simulate_store(
            out,
            structure or [next(iter(STRUCTURES))],
            size,
            seed,
            photons=photons,
            pixel_size_um=pixel_size_um,
            scale=cast(Literal[1, 2, 4], scale),
            overwrite=overwrite,
        )
    console.print(f"[bold]image[/]  {image}\n[bold]truth[/]  {truth}", highlight=False, soft_wrap=True)
