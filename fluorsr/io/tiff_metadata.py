"""Pixel sizes and channels of a TIFF: from OME-XML, else ImageJ's metadata, else the resolution tags.

The resolution tags are believed only where they give pixels of 0.1 nm to 10 micrometres: a picture "at 72 dpi" says
nothing about its specimen.
"""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import tifffile

from fluorsr.image import Channel
from fluorsr.io.ngff_read import MICROMETRES

RESOLUTION_UNITS_UM = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}
"""Micrometres in one ResolutionUnit (TIFF 6.0: 2 inch, 3 centimetre; tifffile adds 4 millimetre, 5 micrometre)."""


def read_pixel_size(tif: tifffile.TiffFile) -> dict[str, float]:
    """Micrometres per pixel along z, y, x of the first series, as far as the file tells."""
    pixels = _ome_pixels(tif)
    if pixels is not None:
        sizes = {a: _ome_length(pixels, f"PhysicalSize{a.upper()}") for a in "zyx"}
    elif tif.imagej_metadata is not None:
        sizes = _imagej_sizes(tif, tif.imagej_metadata)
    else:
        unit = RESOLUTION_UNITS_UM.get(_tag(tif, "ResolutionUnit") or 2)
        sizes = {a: size for a, size in _resolution(tif, unit).items() if 1e-4 <= size <= 10}
    return {a: size for a, size in sizes.items() if size is not None and math.isfinite(size) and size > 0}


def read_channels(tif: tifffile.TiffFile, count: int) -> tuple[Channel, ...]:
    """Names and colours of the first series; empty where the file does not describe `count` channels."""
    pixels = _ome_pixels(tif)
    if pixels is not None:
        described = pixels.findall("{*}Channel")
        names = [c.get("Name") or f"channel {i}" for i, c in enumerate(described)]
        colors = [_ome_color(c.get("Color")) for c in described]
    else:
        metadata = tif.imagej_metadata or {}
        labels, tables = metadata.get("Labels") or [], metadata.get("LUTs") or []
        labelled = len(labels) == count and metadata.get("images", 1) == count
        names = [str(label) for label in labels] if labelled else [f"channel {i}" for i in range(count)]
        colors = [_lut_color(table) for table in tables] if len(tables) == count else ["FFFFFF"] * count
    if len(names) != count:
        return ()
    return tuple(Channel(name, color) for name, color in zip(names, colors, strict=True))


def _ome_pixels(tif: tifffile.TiffFile) -> ElementTree.Element | None:
    if not tif.ome_metadata:
        return None
    try:
        return ElementTree.fromstring(tif.ome_metadata).find(".//{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return None


def _ome_length(pixels: ElementTree.Element, name: str) -> float | None:
    micrometres = MICROMETRES.get(pixels.get(f"{name}Unit", "µm"))
    try:
        return float(pixels.get(name, "")) * micrometres if micrometres else None
    except ValueError:
        return None


def _ome_color(text: str | None) -> str:
    """OME-XML's colour is a signed 32-bit RGBA number; -1 is opaque white."""
    try:
        return f"{(int(text or -1) & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return "FFFFFF"


def _lut_color(table: Any) -> str:
    """The colour that an ImageJ lookup table [3, 256] gives to its brightest value."""
    return "".join(f"{int(channel[-1]):02X}" for channel in table)


def _imagej_sizes(tif: tifffile.TiffFile, metadata: dict[str, Any]) -> dict[str, float | None]:
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    micrometres = MICROMETRES.get(unit)
    if micrometres is None:
        return {}
    sizes: dict[str, float | None] = dict(_resolution(tif, micrometres))
    spacing = metadata.get("spacing")
    if isinstance(spacing, int | float):
        sizes["z"] = abs(spacing) * micrometres
    return sizes


def _resolution(tif: tifffile.TiffFile, unit_um: float | None) -> dict[str, float]:
    sizes = {}
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        value = _tag(tif, name)
        if unit_um and isinstance(value, tuple) and len(value) == 2 and value[0] > 0:
            sizes[axis] = unit_um * value[1] / value[0]
    return sizes


def _tag(tif: tifffile.TiffFile, name: str) -> Any:
    tag = tif.pages.first.tags.get(name)
    return None if tag is None else tag.value
