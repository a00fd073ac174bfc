"""The formats a model can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluorsr.errors import InputError
from fluorsr.export.onnx import export_onnx
from fluorsr.export.torch_export import export_torch
from fluorsr.export.torchscript import export_torchscript

FORMATS: dict[str, tuple[str, Callable[..., None]]] = {
    "torchscript": (".ts", export_torchscript),
    "onnx": (".onnx", export_onnx),
    "torch-export": (".pt2", export_torch),
}
"""Name -> suffix, and the function (model, path) that writes it; TorchScript's has options."""


def export_model(
    model: str | Path,
    to: str = "torchscript",
    path: str | Path | None = None,
    **options: Any,
) -> Path:
    """Export a shipped model or weights file to `path`, by default NAME.SUFFIX in the working folder; returns where.

    to        a name of FORMATS
    options   of TorchScript: tile, precision, normalise (fluorsr.export.torchscript)
    Raises InputError for an unknown format or options that it does not have, and what that format's function raises.
    """
    if to not in FORMATS:
        raise InputError(f"{to!r} is not a format to export to; choose one of {', '.join(FORMATS)}")
    suffix, write = FORMATS[to]
    target = Path(path) if path else Path(Path(model).stem + suffix)
    if to != "torchscript" and options:
        raise InputError(
            f"{to} holds the network alone, in fp32, so it has no {', '.join(options)}; --to torchscript has"
        )
    write(model, target, **options)
    return target
