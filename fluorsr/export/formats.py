"""The formats a model can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fluorsr.errors import InputError
from fluorsr.export.aoti import export_aoti
from fluorsr.export.bioimageio import export_bioimageio
from fluorsr.export.onnx import export_onnx
from fluorsr.export.source import Sampling
from fluorsr.export.torch_export import export_torch
from fluorsr.export.torchscript import export_torchscript

MEASURING = (
    "measuring stripes takes complex Fourier transforms, linear algebra and choices by what was found, which a "
    "recorded graph of operators does not hold"
)


class Format(NamedTuple):
    """Suffix of its files, the function (model, path) that writes one, and the options that this takes."""

    suffix: str
    write: Callable[..., None]
    options: tuple[str, ...] = ()


FORMATS = {
    "torchscript": Format(".ts", export_torchscript, ("tile", "precision", "normalise", "stripes", "orders")),
    "onnx": Format(".onnx", export_onnx),
    "torch-export": Format(".pt2", export_torch),
    "aoti": Format(".aoti.pt2", export_aoti),
    "bioimageio": Format(".zip", export_bioimageio, ("normalise", "author", "licence")),
}


def export_model(
    model: str | Path,
    to: str = "torchscript",
    path: str | Path | None = None,
    **options: Any,
) -> Path:
    """Export a shipped model or weights file to `path`, by default NAME.SUFFIX in the working folder; returns where.

    to        a name of FORMATS
    options   of its function, where it has any (fluorsr.export.torchscript, fluorsr.export.bioimageio); of a diffusion
              model also `steps` and `sampler` (fluorsr.export.source.Sampling)
    Raises InputError for an unknown format or options that it does not have, and what that format's function raises.
    """
    if to not in FORMATS:
        raise InputError(f"{to!r} is not a format to export to; choose one of {', '.join(FORMATS)}")
    found = FORMATS[to]
    target = Path(path) if path else Path(Path(model).stem + found.suffix)
    if unknown := [name for name in options if name not in (*found.options, *Sampling.__annotations__)]:
        those = f"it has {', '.join(found.options)}" if found.options else "it holds the network alone, in fp32"
        having = [name for name, other in FORMATS.items() if set(unknown) <= set(other.options)]
        raise InputError(
            f"{to} has no {', '.join(unknown)}: {those}"
            + (f"; --to {' or '.join(having)} has" if having else "")
            + (f": {MEASURING}" if "stripes" in unknown else "")
        )
    found.write(model, target, **options)
    return target
