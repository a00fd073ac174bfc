"""Pairs of an input and a target image, opened lazily and read as tensors.

Axes t, c and z that the target has pair it with the input plane by plane; those that it lacks are the input's frames:

    input  z 15         target  -        one pair of 15 frames (raw SIM frames, as pages of a TIFF)
    input  z 30         target  z 30     30 pairs of 1 frame
    input  t 8, c 9     target  t 8      8 pairs of 9 frames
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fluorsr.data.listing import Listing, find_pairs
from fluorsr.errors import FluorsrError, InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image

SCALES = (1, 2, 4)
"""Target pixels per input pixel along y and x that a model may have."""


@dataclass(frozen=True)
class Pair:
    """One input of `frames` planes and one target plane of the same field, opened lazily."""

    name: str
    split: str
    fov: str
    scale: int
    input: Image
    target: Image
    input_planes: tuple[PlaneIndex, ...]
    target_plane: PlaneIndex
    input_path: Path
    target_path: Path

    @property
    def frames(self) -> int:
        return len(self.input_planes)

    @property
    def size(self) -> tuple[int, int]:
        """(y, x) input pixels."""
        return self.input.size("y"), self.input.size("x")

    @property
    def pixel_size_um(self) -> float | None:
        """Of the input, along x; None where neither file tells."""
        own, other = self.input.pixel_size_um.get("x"), self.target.pixel_size_um.get("x")
        return own if own is not None else other * self.scale if other is not None else None

    def read(self, shrink: int = 1) -> tuple[Tensor, Tensor]:
        """Input [F, Y, X] and target [scale * Y, scale * X], float32, in counts.

        shrink   both become the means of shrink x shrink pixels; what is left over at the far edges is cut off

        Raises InputError where nothing is left, FormatError on damaged files.
        """
        height, width = (n // shrink * shrink if shrink > 0 else 0 for n in self.size)
        if not height or not width:
            raise InputError(
                f"pair {self.name} of {self.size} pixels cannot be shrunk by {shrink}; use 1 to {min(self.size)}"
            )
        pixels, target = self.cut(0, 0, height, width)
        if shrink > 1:
            pixels, target = F.avg_pool2d(pixels, shrink), F.avg_pool2d(target[None], shrink)[0]
        return pixels, target

    def cut(self, y: int, x: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Read only a part, in input pixels: [F, height, width] and [scale * height, scale * width], float32."""
        s = self.scale
        frames = [read_plane(self.input, p, slice(y, y + height), slice(x, x + width)) for p in self.input_planes]
        large = slice(s * y, s * (y + height)), slice(s * x, s * (x + width))
        return torch.stack(frames), read_plane(self.target, self.target_plane, *large)


@dataclass(frozen=True)
class PairSet:
    """Pairs of one scale and one number of frames, in the order of their names."""

    pairs: tuple[Pair, ...]
    scale: int
    frames: int

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def split(self, name: str) -> PairSet:
        """The pairs of one split. Raises InputError where there are none."""
        chosen = tuple(pair for pair in self.pairs if pair.split == name)
        if not chosen:
            there = ", ".join(sorted({pair.split or "(not split)" for pair in self.pairs}))
            raise InputError(f"there are no pairs in the split {name!r}; there are {there}")
        return PairSet(chosen, self.scale, self.frames)


def read_plane(image: Image, plane: PlaneIndex, y: slice, x: slice) -> Tensor:
    """Part of a plane as float32 [y, x]."""
    return torch.from_numpy(image.read(plane, y, x).astype("float32"))


def open_listing(listing: Listing) -> list[Pair]:
    """Open a pair of files: one Pair for each target plane. Reads nothing but metadata.

    Raises what `open_image` raises, and InputError where a partner is missing or the axes or sizes do not fit.
    """
    if listing.fault or listing.input is None or listing.target is None:
        raise InputError(listing.fault)
    first, second = open_image(listing.input), open_image(listing.target)
    scale = _scale(listing, first, second)
    for axis in "tczq":
        if second.size(axis) not in (1, first.size(axis)):
            raise InputError(
                f"{listing.target} has {second.size(axis)} planes along {axis} and {listing.input} {first.size(axis)}; "
                "a target has either one plane or as many as its input: are the two swapped?"
            )
    pairs = []
    for number, plane in enumerate(second.planes()):
        spans: list[Any] = [
            (at,) if second.size(axis) > 1 else range(first.size(axis)) for axis, at in zip("tczq", plane, strict=True)
        ]
        frames = tuple(PlaneIndex(*at) for at in itertools.product(*spans))
        many = math.prod(second.size(axis) for axis in "tczq") > 1
        name = f"{listing.name}#{number}" if many else listing.name
        pairs.append(
            Pair(name, listing.split, listing.fov, scale, first, second, frames, plane, listing.input, listing.target)
        )
    return pairs


def open_pairs(path: str | Path, *, scale: int | None = None) -> PairSet:
    """Open all pairs at `path`; looks at metadata only (`fluorsr.data.check.check_pairs` looks at the pixels).

    scale   what every pair must have; that of the first where None

    Raises one InputError that names every file at fault.
    """
    pairs, faults = [], []
    for listing in find_pairs(path):
        try:
            pairs += open_listing(listing)
        except FluorsrError as error:
            faults.append(str(error))
    if pairs:
        scale = scale or pairs[0].scale
        frames = pairs[0].frames
        for pair in pairs:
            if (pair.scale, pair.frames) != (scale, frames):
                faults.append(
                    f"{pair.input_path} has scale {pair.scale} and {pair.frames} frames; the set {scale} and {frames}"
                )
    if faults or scale is None:
        raise InputError(f"{path}: {len(faults)} pairs cannot be used:\n  " + "\n  ".join(faults))
    return PairSet(tuple(pairs), scale, frames)


def _scale(listing: Listing, first: Image, second: Image) -> int:
    """Target pixels per input pixel. Raises InputError unless it is one of SCALES along both axes."""
    small, large = ((image.size("y"), image.size("x")) for image in (first, second))
    for scale in SCALES:
        if large == (scale * small[0], scale * small[1]):
            return scale
    if any(small == (scale * large[0], scale * large[1]) for scale in SCALES):
        hint = "the target is the smaller one: input and target may be swapped"
    else:
        hint = "crop both to the same field"
    raise InputError(
        f"{listing.target} has {large[0]} x {large[1]} pixels and {listing.input} {small[0]} x {small[1]}; "
        f"a target has {', '.join(map(str, SCALES[:-1]))} or {SCALES[-1]} times its input's along y and x: {hint}"
    )
