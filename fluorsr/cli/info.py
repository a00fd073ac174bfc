"""`fluorsr info`: what an image is, as fluorsr reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fluorsr.io.open import open_image


def info(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="OME-Zarr, zarr array, TIFF or OME-TIFF.")],
    level: Annotated[int, typer.Option(help="Resolution level of an OME-Zarr.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an image's axes, shape, pixel type, pixel size and channels. Reads no pixels."""
    image = open_image(path, level=level)
    shape = dict(zip(image.axes, image.shape, strict=True))
    if as_json:
        channels = [{"name": channel.name, "color": channel.color} for channel in image.channels]
        print(
            json.dumps(
                {
                    "name": image.name,
                    "shape": shape,
                    "dtype": image.dtype.name,
                    "pixel_size_um": dict(image.pixel_size_um),
                    "translation_um": dict(image.translation_um),
                    "channels": channels,
                }
            )
        )
        return
    sizes = ", ".join(f"{axis} {1000 * um:.4g} nm" for axis, um in image.pixel_size_um.items()) or "unknown"
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_row("[bold]image[/]", f"{path} ({image.name})" if image.name else str(path))
    table.add_row("[bold]shape[/]", ", ".join(f"{axis} {length}" for axis, length in shape.items()))
    table.add_row("[bold]pixels[/]", f"{image.dtype.name}; {sizes}")
    table.add_row("[bold]channels[/]", ", ".join(f"{channel.name} (#{channel.color})" for channel in image.channels))
    Console().print(table, highlight=False)
