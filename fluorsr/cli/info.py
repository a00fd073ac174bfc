"""`fluorsr info`: what an image is, as fluorsr reads it; and what a raw SIM series is, as measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fluorsr.classical.registry import make_optics
from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.open import open_image
from fluorsr.report.series import SeriesFacts, describe_series, draw_spectra


def info(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="OME-Zarr, zarr array, TIFF or OME-TIFF.")],
    level: Annotated[int, typer.Option(help="Resolution level of an OME-Zarr.")] = 0,
    frames_axis: Annotated[
        str | None, typer.Option(help="Axis of raw SIM frames, z, c, t or q: their stripes are measured.")
    ] = None,
    angles: Annotated[int, typer.Option(help="Angles of a series.")] = 3,
    phases: Annotated[int, typer.Option(help="Phases at each angle.")] = 5,
    order: Annotated[str, typer.Option(help="angle or phase: which of them changes slowest.")] = "angle",
    numerical_aperture: Annotated[float, typer.Option(help="Of the objective.")] = 1.4,
    emission_nm: Annotated[float, typer.Option(help="Wavelength of the emission.")] = 520.0,
    pixel_size_nm: Annotated[float | None, typer.Option(help="Of the camera; the image's own unless given.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the frames' spectra, their orders marked.")
    ] = None,
    save_stripes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the stripes as JSON, for dark or few frames of the same microscope: "
            "`fluorsr infer --set stripes=FILE`.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an image's axes, shape, pixel type, pixel size and channels, reading no pixels.

    With --frames-axis, measure a raw SIM series too: angles, periods, contrast and phase errors, and whether the frames
    are in the order that was declared.
    """
    image = open_image(path, level=level)
    for option, what, given in (
        ("--picture", "draws the spectra", picture),
        ("--save-stripes", "writes the stripes", save_stripes),
    ):
        if given is not None and frames_axis is None:
            raise InputError(f"{option} {what} of raw frames: say which axis holds them with --frames-axis")
    series = None
    if frames_axis is not None:
        size = pixel_size_nm / 1000 if pixel_size_nm else image.pixel_size_um.get("x")
        optics = make_optics(numerical_aperture, emission_nm, size)
        series = describe_series(image, optics, frames_axis, angles=angles, phases=phases, slowest=order)
        if picture is not None:
            draw_spectra(series, picture)
        if save_stripes is not None:
            series.stripes(str(path)).save(save_stripes)
    if as_json:
        print(json.dumps(_as_json(image) | ({"series": series.to_json()} if series else {})))
        return
    console = Console()
    _show_image(console, path, image)
    if series is not None:
        _show_series(console, series)
        for name, written in (("picture", picture), ("stripes", save_stripes)):
            if written is not None:
                console.print(f"[bold]{name}[/]  {written}", highlight=False, soft_wrap=True)


def _as_json(image: Image) -> dict[str, Any]:
    return {
        "name": image.name,
        "shape": dict(zip(image.axes, image.shape, strict=True)),
        "dtype": image.dtype.name,
        "pixel_size_um": dict(image.pixel_size_um),
        "translation_um": dict(image.translation_um),
        "channels": [{"name": channel.name, "color": channel.color} for channel in image.channels],
    }


def _show_image(console: Console, path: Path, image: Image) -> None:
    shape = dict(zip(image.axes, image.shape, strict=True))
    sizes = ", ".join(f"{axis} {1000 * um:.4g} nm" for axis, um in image.pixel_size_um.items()) or "unknown"
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_row("[bold]image[/]", f"{path} ({image.name})" if image.name else str(path))
    table.add_row("[bold]shape[/]", ", ".join(f"{axis} {length}" for axis, length in shape.items()))
    table.add_row("[bold]pixels[/]", f"{image.dtype.name}; {sizes}")
    table.add_row("[bold]channels[/]", ", ".join(f"{channel.name} (#{channel.color})" for channel in image.channels))
    console.print(table, highlight=False)


def _show_series(console: Console, series: SeriesFacts) -> None:
    table = Table(title=f"raw frames: {series.order}", title_justify="left", title_style="bold", box=None)
    table.add_column("angle", justify="right", no_wrap=True)
    table.add_column("period", justify="right", no_wrap=True)
    table.add_column("contrast", no_wrap=True)
    table.add_column("phase errors (degrees)", no_wrap=True)
    table.add_column("clarity", justify="right", no_wrap=True)
    for angle in series.angles:
        errors = " ".join(f"{error:+.1f}" for error in angle.phase_errors_deg)
        table.add_row(
            f"{angle.angle_deg:.2f}°",
            f"{angle.period_nm:.1f} nm",
            ", ".join(f"{each:.2f}" for each in angle.modulation),
            f"{errors}  ± {angle.uncertainty_deg:.1f}",
            f"{angle.strength:.1f} x",
        )
    console.print(table, highlight=False)
    console.print("clarity: how far the stripes stand out over what chance reaches, 1.5", style="dim", soft_wrap=True)
    state = f"[red]wrong:[/] {series.fault}" if series.fault else "[green]the frames are what was declared[/]"
    console.print(state, highlight=False, soft_wrap=True)
