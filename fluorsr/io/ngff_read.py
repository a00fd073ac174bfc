"""Read OME-Zarr multiscales and omero metadata (0.4 and 0.5).

Units: lengths become micrometres. A space axis without a unit has an unknown size where its scale is 1 (what writers
put in when they do not know), and is taken to be in micrometres otherwise (what nearly all of them mean).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.image import READABLE_AXES, Channel
from fluorsr.io.nodes import Node

MICROMETRES = {
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": 25400.0,
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25400.0,
}
"""Micrometres in one unit of length, by the names OME-Zarr, OME-XML and ImageJ use."""


@dataclass(frozen=True)
class LevelInfo:
    """One level of a multiscale image: the array's path below the group, and what its pixels mean."""

    path: str
    axes: str
    pixel_size_um: dict[str, float]
    translation_um: dict[str, float]
    name: str


def level_paths(node: Node) -> list[str]:
    """Paths of all levels of an image group, level 0 first."""
    datasets = _multiscale(node).get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise FormatError(f"{node.path}: its multiscales list no datasets")
    return [str(d["path"]) if isinstance(d, dict) and "path" in d else "" for d in datasets]


def read_level(node: Node, level: int) -> LevelInfo:
    """What the metadata say of one level.

    Raises NotFoundError where there is no such level, FormatError where the metadata are damaged, InputError where
    an axis is not one fluorsr knows.
    """
    paths = level_paths(node)
    if not 0 <= level < len(paths):
        raise NotFoundError(f"{node.path} has no level {level}; it has levels 0 to {len(paths) - 1}")
    multiscale = _multiscale(node)
    axes, units = _axes(node, multiscale)
    scale, translation = _transform(node, multiscale, level, len(axes))
    base_scale, _ = _transform(node, multiscale, 0, len(axes))
    sizes, positions = {}, {}
    for i, axis in enumerate(axes):
        micrometres = _micrometres(units[i], base_scale[i])
        if axis in "zyx" and micrometres is not None:
            sizes[axis] = scale[i] * micrometres
            positions[axis] = translation[i] * micrometres
    name = multiscale.get("name")
    return LevelInfo(paths[level], axes, sizes, positions, name if isinstance(name, str) else "")


def read_channels(node: Node, count: int) -> tuple[Channel, ...]:
    """Names and colours from omero; where it does not describe each of `count` channels, numbers and white."""
    omero = node.ome.get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    described = [c if isinstance(c, dict) else {} for c in listed] if isinstance(listed, list) else []
    if len(described) != count:
        return ()
    return tuple(
        Channel(str(c.get("label") or f"channel {i}"), _color(c.get("color"))) for i, c in enumerate(described)
    )


def _color(value: Any) -> str:
    text = str(value).lstrip("#").upper()
    return text if re.fullmatch("[0-9A-F]{6}", text) else "FFFFFF"


def _multiscale(node: Node) -> dict[str, Any]:
    listed = node.ome.get("multiscales")
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
        raise FormatError(f"{node.path}: its multiscales metadata are damaged or empty")
    return listed[0]


def _axes(node: Node, multiscale: dict[str, Any]) -> tuple[str, list[str | None]]:
    listed = multiscale.get("axes")
    if not isinstance(listed, list) or not listed:
        raise FormatError(f"{node.path}: its multiscales name no axes; convert it to OME-Zarr 0.4 or 0.5")
    described = [{"name": a} if isinstance(a, str) else a for a in listed]
    if not all(isinstance(a, dict) and isinstance(a.get("name"), str) for a in described):
        raise FormatError(f"{node.path}: its multiscales' axes are damaged: {listed}")
    names = [a["name"] for a in described]
    unknown = [n for n in names if len(n) != 1 or n not in READABLE_AXES]
    if unknown:
        raise InputError(
            f"{node.path} has the axes {', '.join(names)}; fluorsr knows t, c, z, y, x and q (raw frames): "
            f"select one index of, or rename, {', '.join(unknown)} first"
        )
    return "".join(names), [a.get("unit") for a in described]


def _micrometres(unit: str | None, scale: float) -> float | None:
    if unit is None:
        return None if scale == 1 else 1.0
    return MICROMETRES.get(unit)


def _transform(node: Node, multiscale: dict[str, Any], level: int, rank: int) -> tuple[list[float], list[float]]:
    """Scale and translation per axis: the dataset's, then the multiscale's on top."""
    scale, translation = [1.0] * rank, [0.0] * rank
    for owner in (multiscale["datasets"][level], multiscale):
        for step in owner.get("coordinateTransformations") or ():
            kind = step.get("type") if isinstance(step, dict) else None
            if kind not in ("scale", "translation"):
                continue
            values = _numbers(node, step, kind, rank)
            if kind == "scale":
                scale = [a * b for a, b in zip(scale, values, strict=True)]
                translation = [a * b for a, b in zip(translation, values, strict=True)]
            else:
                translation = [a + b for a, b in zip(translation, values, strict=True)]
    return scale, translation


def _numbers(node: Node, step: dict[str, Any], kind: str, rank: int) -> list[float]:
    values = step.get(kind)
    if not isinstance(values, list) or len(values) != rank:
        raise FormatError(f"{node.path}: a {kind} must give {rank} numbers, one an axis, not {values}")
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError) as error:
        raise FormatError(f"{node.path}: a {kind} must be numbers, not {values}") from error
    if not all(math.isfinite(v) for v in numbers) or (kind == "scale" and min(numbers) <= 0):
        raise FormatError(f"{node.path}: a {kind} must be finite{' and positive' * (kind == 'scale')}, not {values}")
    return numbers
