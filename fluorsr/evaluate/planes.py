"""One plane of a restored image and the part of the input that it was made from.

input  [.., Y, X]   -- crop, channel, slice, frames, as the output's record tells -->  image    [y, x]
output [.., sY, sX] -- of large planes the middle ----------------------------------> restored [sy, sx]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError, NotFoundError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.io.provenance import read_provenance
from fluorsr.models.weights import Card, read_card
from fluorsr.models.zoo_index import find, zoo
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.output import DEVIATION

LARGEST_PX = 4096
"""Input pixels, at most, along each axis of what is looked at."""
SMALLEST_PX = 32


@dataclass(frozen=True)
class Matched:
    """The two planes, float32, and what is known of them.

    borders, phase   of tiles, in output pixels along (y, x), as the record tells; borders None where it does not
    same_counts      whether the output is in the input's counts, as those of fluorsr are
    words            which plane, for the reader
    """

    image: Tensor = field(repr=False)
    restored: Tensor = field(repr=False)
    image_dtype: np.dtype[Any]
    restored_dtype: np.dtype[Any]
    scale: int
    pixel_size_um: float | None
    borders: tuple[int, int] | None
    phase: tuple[int, int]
    record: Mapping[str, Any]
    origin: tuple[int, int]
    words: str
    deviation: Tensor | None = field(default=None, repr=False)

    @property
    def same_counts(self) -> bool:
        return bool(self.record)

    def with_borders(self, period: tuple[int, int]) -> Matched:
        """Tile borders as told: at multiples of `period` of the output."""
        phase = tuple(-self.scale * o % p for o, p in zip(self.origin, period, strict=True))
        return replace(self, borders=period, phase=(phase[0], phase[1]))

    def model_card(self, model: str | Path | None) -> Card | None:
        """The card of the model named, or of the shipped one that the record names. Raises NotFoundError."""
        if model is not None:
            path = find(str(model)) if str(model) in zoo() else Path(model)
            if not path.is_file():
                raise NotFoundError(f"there is no model {model}; use {', '.join(zoo())} or a .safetensors file")
            return read_card(path)
        name = self.record.get("model")
        return read_card(find(name)) if name in zoo() else None


def match_planes(
    source: str | Path,
    output: str | Path,
    *,
    channel: int = 0,
    z: int | None = None,
    t: int = 0,
    pixel_size_um: float | None = None,
) -> Matched:
    """Read a plane of the output and its input. Raises InputError where they do not belong together."""
    made, record = open_image(output), read_provenance(output)
    own = _with_frames(open_image(source), record)
    z = made.size("z") // 2 if z is None else z
    at = PlaneIndex(t, channel, z)
    for axis, index in zip("tcz", at[:3], strict=True):
        if not 0 <= index < made.size(axis):
            raise InputError(f"{output} has {made.size(axis)} planes along {axis}; {index} is not one of them")
    (y0, y1), (x0, x1) = _crop(record, own)
    height, width = y1 - y0, x1 - x0
    scale = made.size("x") // width
    if scale < 1 or (made.size("y"), made.size("x")) != (scale * height, scale * width):
        raise InputError(
            f"{output} has {made.size('y')} x {made.size('x')} pixels and {source} {height} x {width}: a restored "
            "image has a whole multiple of its input's; are the two swapped, or is it another field?"
        )
    if min(height, width) < SMALLEST_PX:
        raise InputError(f"{source} has {height} x {width} pixels; at least {SMALLEST_PX} are needed along y and x")
    top, left = (max(0, (n - LARGEST_PX) // 2) for n in (height, width))
    high, wide = min(height, LARGEST_PX), min(width, LARGEST_PX)
    rows, columns = (slice(y0 + top, y0 + top + high), slice(x0 + left, x0 + left + wide))
    planes = _input_planes(record, own, made, at, source, output)
    image = sum(own.read(plane, rows, columns).astype(np.float64) for plane in planes) / len(planes)
    fine = [slice(scale * first, scale * (first + n)) for first, n in ((top, high), (left, wide))]
    restored = made.read(at, fine[0], fine[1]).astype(np.float32)
    size = pixel_size_um or own.pixel_size_um.get("x")
    if size is None and made.pixel_size_um.get("x"):
        size = scale * made.pixel_size_um["x"]
    middle = f", its middle {high} x {wide} input pixels" if (high, wide) != (height, width) else ""
    matched = Matched(
        torch.from_numpy(np.asarray(image, np.float32)),
        torch.from_numpy(restored),
        own.dtype,
        made.dtype,
        scale,
        size,
        None,
        (0, 0),
        record,
        (y0 + top, x0 + left),
        f"channel {channel}, slice {z}, time {t}{middle}",
        _deviation(output, at, fine) if record.get("samples") else None,
    )
    stride = _stride(record)
    return matched if stride is None else matched.with_borders((scale * stride[0], scale * stride[1]))


def _deviation(output: str | Path, at: PlaneIndex, fine: Sequence[slice]) -> Tensor:
    """The standard deviation of a diffusion model's samples, which lies beside their mean."""
    pixels = open_image(Path(output) / DEVIATION).read(at, fine[0], fine[1])
    return torch.from_numpy(pixels.astype(np.float32))


def _crop(record: Mapping[str, Any], image: Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """The part of the input that was restored, in its pixels along y and x."""
    spans = []
    for axis in "yx":
        span = record.get(axis)
        known = isinstance(span, list | tuple) and len(span) == 2
        spans.append((int(span[0]), int(span[1])) if known and span else (0, image.size(axis)))
    return spans[0], spans[1]


def _with_frames(image: Image, record: Mapping[str, Any]) -> Image:
    """The input with its raw frames along q, as they were for the run."""
    frames = record.get("frames")
    if not isinstance(frames, dict):
        return image
    axis = str(frames["axis"])
    return Frames(axis, int(frames["series"]), tuple(frames["chosen"]), "t" if axis == "q" else axis).view(image)


def _input_planes(
    record: Mapping[str, Any], own: Image, made: Image, at: PlaneIndex, source: str | Path, output: str | Path
) -> list[PlaneIndex]:
    """The input's planes that one output plane was made from: one, or the raw frames."""
    indices: list[range] = []
    for axis, index in zip("tcz", at[:3], strict=True):
        chosen = record.get(axis)
        if isinstance(chosen, list) and len(chosen) == made.size(axis):
            indices.append(range(int(chosen[index]), int(chosen[index]) + 1))
        elif own.size(axis) == made.size(axis):
            indices.append(range(index, index + 1))
        elif made.size(axis) == 1:  # another program's: what the output lacks are its frames
            indices.append(range(own.size(axis)))
        else:
            raise InputError(f"{output} has {made.size(axis)} planes along {axis} and {source} {own.size(axis)}")
    return [PlaneIndex(*each) for each in itertools.product(*indices, range(own.size("q")))]


def _stride(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Input pixels between the borders of tiles, along y and x; None where the record does not tell."""
    try:
        steps = [
            int(tile) - 2 * int(halo) - int(overlap)
            for tile, halo, overlap in zip(record["tile"], record["halo"], record["overlap"], strict=True)
        ]
    except (KeyError, TypeError, ValueError):
        return None
    return (steps[0], steps[1]) if len(steps) == 2 and min(steps) > 0 else None
