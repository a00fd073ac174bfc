"""`fluorsr simulate`: images whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from fluorsr.data.simulate import PRESETS, configure
from fluorsr.data.store import simulate_set, simulate_store, truth_path
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError

USUAL = {
    "confocal-sted": "confocal-280",
    "widefield-sted": "widefield-sted",
    "widefield-sim": "widefield-sim",
    "sim-raw": "sim-3x5",
}
"""Modality -> preset."""


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="OME-Zarr or .tif to write (truth: STEM_truth), or a folder of pairs.")
    ],
    modality: Annotated[str | None, typer.Option(help=f"{', '.join(USUAL)}. Default the first.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"A set-up: {', '.join(PRESETS)}.")] = None,
    structure: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(STRUCTURES)}. Several are channels, or are mixed in pairs.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels along y and x: 1024, or 128 for pairs.")] = None,
    count: Annotated[
        int | None, typer.Option(help="Write so many pairs to train on, all drawn from the preset's ranges.")
    ] = None,
    pixel_size_um: Annotated[float | None, typer.Option(help="Micrometres per pixel.")] = None,
    na: Annotated[float | None, typer.Option("--na", help="Numerical aperture.")] = None,
    wavelength_nm: Annotated[float | None, typer.Option(help="Of the emitted light.")] = None,
    photons: Annotated[float | None, typer.Option(help="In a pixel at the specimen's peak: 20 is dim.")] = None,
    scale: Annotated[int, typer.Option(help="Pixels of the truth per pixel: 1, 2 or 4.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed is another field.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing images.")] = False,
) -> None:
    """Simulate what a microscope shows, and what a better one would show of the same specimen.

    Both are in the same counts per area, so they compare directly: the truth is sharper, not brighter. One field, of
    any size, is seen by the middle microscope of the preset. --count writes a folder with input/ and target/.
    """
    chosen = _preset(modality, preset)
    given = {
        "size_px": size or (128 if count else 1024),
        "scale": scale,
        "pixel_size_um": pixel_size_um,
        "numerical_aperture": na,
        "emission_nm": wavelength_nm,
        "photons": photons,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if count and structure:
        changes["structures"] = dict.fromkeys(structure, 1.0)
    config = configure(chosen, fixed=not count, **changes)
    console = Console()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"simulating {config.size_px} x {config.size_px} pixels", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if count:
            if overwrite:
                raise InputError("--overwrite replaces an image, never a folder of pairs; give an empty folder")
            simulate_set(out, config, count, seed, workers=workers, progress=tell)
        else:
            names = structure or [next(iter(STRUCTURES))]
            simulate_store(out, config, names, seed, workers=workers, overwrite=overwrite, progress=tell)
    if count:
        console.print(f"[bold]{count} pairs[/]  {out}", highlight=False, soft_wrap=True)
    else:
        console.print(f"[bold]image[/]  {out}\n[bold]truth[/]  {truth_path(out)}", highlight=False, soft_wrap=True)


def _preset(modality: str | None, preset: str | None) -> str:
    """The preset asked for, or the usual one of the modality."""
    if modality is not None and modality not in USUAL:
        raise InputError(f"there is no modality {modality!r}; use one of {', '.join(USUAL)}")
    if preset is None:
        return USUAL[modality or next(iter(USUAL))]
    if modality is not None and preset in PRESETS and PRESETS[preset].modality != modality:
        fitting = [name for name in PRESETS if PRESETS[name].modality == modality]
        raise InputError(f"preset {preset} is of {PRESETS[preset].modality}, not {modality}; use {', '.join(fitting)}")
    return preset
