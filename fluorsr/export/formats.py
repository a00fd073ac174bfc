"""The formats a model can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fluorsr.errors import InputError
from fluorsr.export.torchscript import export_torchscript

FORMATS: dict[str, tuple[str, Callable[..., None]]] = {
    "torchscript": (".ts", export_torchscript),
}
"""Name -> suffix, and the function (model, path, tile=, precision=, normalise=) that writes it."""


def export_model(
    model: str | Path,
    to: str = "torchscript",
    path: str | Path | None = None,
    *,
    tile: int | None = None,
    precision: str = "fp32",
    normalise: str = "frame",
) -> Path:
    """Export a shipped model or weights file to `path`, by default NAME.SUFFIX in the working folder; returns where.

    to   a name of FORMATS; the options are those of `export_torchscript`
    Raises InputError for an unknown format, and whatever that format's function raises.
    """
    if to not in FORMATS:
        raise InputError(f"{to!r} is not a format to export to; choose one of {', '.join(FORMATS)}")
    suffix, write = FORMATS[to]
    target = Path(path) if path else Path(Path(model).stem + suffix)
    write(model, target, tile=tile, precision=precision, normalise=normalise)
    return target
