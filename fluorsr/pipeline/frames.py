"""Raw SIM frames: the axis of a file that holds them becomes an axis of its own, q, of as many frames as a model takes.

    along t   f0 f1 .. f14 | f0 f1 .. f14 | ...       series of 15 frames, one after the other
    becomes   t 0            t 1                      and q 0 .. 14 in each

So everything after it (selection, normalisation, blocks, the record) counts images, not frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluorsr.data.sim_frames import FrameOrder
from fluorsr.errors import InputError
from fluorsr.image import Image, LazyArray

FRAMES_AXES = ("z", "c", "t", "q")
FEW = 3
"""Models of so few frames are also fed a part of a longer series: which, along z, c and q, must be said."""


@dataclass(frozen=True)
class Frames:
    """Which axis of a file holds raw frames, and which of them a model is given.

    axis     z, c, t or q, of the file
    series   frames of one image in the file
    chosen   which of these the model takes, in this order
    group    axis along which further series lie; the same as `axis`, but t for q
    order    which of the series' frames are of one angle; None where they are too few for angles times phases
    """

    axis: str
    series: int
    chosen: tuple[int, ...]
    group: str
    order: FrameOrder | None = None

    def view(self, image: Image) -> Image:
        """`image` with an axis q of the chosen frames; `axis` then counts series, and is gone where there is one."""
        position = image.axes.index(self.axis)
        count = image.size(self.axis) // self.series
        channels = image.channels[:: self.series] if self.axis == "c" else image.channels
        axes = image.axes.replace(self.axis, "q" if count == 1 else self.group + "q")
        return Image(
            _Series(image.data, position, count, self.series, self.chosen),
            axes,
            {axis: size for axis, size in image.pixel_size_um.items() if axis in axes},
            {axis: start for axis, start in image.translation_um.items() if axis in axes},
            channels,
            image.name,
        )

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {"axis": self.axis, "series": self.series, "chosen": list(self.chosen)}

    def notes(self, image: Image) -> list[str]:
        """What was made of the axis, in words; nothing where it is one whole series."""
        count = image.size(self.axis) // self.series
        some = "" if len(self.chosen) == self.series else f", of which {', '.join(map(str, self.chosen))} are used"
        if count == 1 and not some:
            return []
        images = "1 image" if count == 1 else f"{count} images"
        return [
            f"the {image.size(self.axis)} frames along {self.axis} make {images} of {self.series} frames each{some}"
        ]


def find_frames(
    image: Image,
    name: str,
    wanted: int,
    axis: str | None,
    frames: str | None = None,
    slowest: str = "angle",
    angles: int = 3,
) -> Frames | None:
    """Decide which frames of `image` the model `name`, which takes `wanted`, is given; None where it takes one plane.

    axis     z, c, t or q: an axis called q or, where there is none, the only one besides y and x
    frames   `0,5,10` or `0,5,10 of 15`: these of every series of that length; by default all of every `wanted` frames
    slowest  angle or phase: how the file orders a series; models are given whole series angle by angle

    Raises InputError, with what was found and what would fit, where the axis does not hold whole series.
    """
    if wanted == 1:
        _refuse_frames(image, name, axis, frames)
        return None
    offered = _offered(image)
    if axis is None:
        raise InputError(
            f"{name} turns {wanted} raw frames into one image: say which axis holds them with --frames-axis "
            f"(this image's axes: {offered})"
        )
    found = _find_axis(image, axis)
    count = image.size(found)
    chosen, series = _parse(frames, name, wanted, count) if frames is not None else (tuple(range(wanted)), wanted)
    group = "t" if found == "q" else found
    if count % series:
        nearest = max(1, round(count / series)) * series
        differ = abs(count - nearest)
        raise InputError(
            f"{name} takes {wanted} frames{'' if series == wanted else f' of every {series}'}, and {count} were found "
            f"along {found}, {differ} {'too many' if count > nearest else 'missing'} for {nearest // series} image"
            f"{'s' if nearest > series else ''}; give whole series of {series} (this image's axes: {offered})"
        )
    if count > series and found == "q" and "t" in image.axes:
        raise InputError(
            f"q holds {count} frames, {count // series} series of {series}, and t is there already; say which frames "
            f"of every {count} to take: --frames '{_evenly(wanted, count)} of {count}'"
        )
    if count > series and series <= FEW and found != "t" and frames is None:
        raise InputError(
            f"{name} takes {wanted} frames, and {count} were found along {found}; say what they are: for one image of "
            f"all give --frames '{_evenly(wanted, count)} of {count}', for {count // series} images of {series} each "
            f"--frames '{_evenly(wanted, wanted)} of {wanted}'"
        )
    order = _order(series, slowest, angles)
    if order and frames is None:
        chosen = tuple(order.where(angle, phase) for angle in range(order.angles) for phase in range(order.phases))
    return Frames(found, series, chosen, group, order)


def _order(series: int, slowest: str, angles: int) -> FrameOrder | None:
    if slowest not in ("angle", "phase"):
        raise InputError(f"the frame order {slowest!r} must be angle or phase: which of the two changes slowest")
    phases = series // angles
    if series % angles or phases < 3:
        if slowest == "phase":
            raise InputError(
                f"{series} frames are not {angles} angles of 3 phases or more, so they have no order to declare; name "
                "the frames with --frames, or leave out --frame-order"
            )
        return None
    return FrameOrder(angles=angles, phases=phases, slowest="angle" if slowest == "angle" else "phase")


def _refuse_frames(image: Image, name: str, axis: str | None, frames: str | None) -> None:
    if axis is not None or frames is not None:
        raise InputError(
            f"{name} takes 1 frame, so there is no axis of raw frames to name: leave out --frames-axis and --frames, "
            "or choose a SIM model"
        )
    if "q" in image.axes:
        raise InputError(
            f"this image has {image.size('q')} raw frames along q, and {name} takes 1 frame; choose a SIM model and "
            "give --frames-axis q"
        )


def _find_axis(image: Image, axis: str) -> str:
    if axis not in FRAMES_AXES:
        raise InputError(f"the frames axis {axis!r} must be one of {', '.join(FRAMES_AXES)}")
    if axis == "q" and "q" not in image.axes:
        others = [other for other in image.axes if other not in "yx"]
        if len(others) == 1:
            return others[0]
        raise InputError(f"this image has no axis q; name one of its own (this image's axes: {_offered(image)})")
    if "q" in image.axes and axis != "q":
        raise InputError(f"this image has an axis q, which holds its raw frames: give --frames-axis q, not {axis}")
    if axis not in image.axes:
        raise InputError(f"this image has no axis {axis} to hold frames (this image's axes: {_offered(image)})")
    return axis


def _parse(words: str, name: str, wanted: int, count: int) -> tuple[tuple[int, ...], int]:
    match = re.fullmatch(r"\s*(\d+(?:\s*,\s*\d+)*)\s*(?:of\s+(\d+)\s*)?", words)
    if match is None:
        raise InputError(f"--frames {words!r} must be like '0,5,10' or '0,5,10 of 15', counted from 0")
    chosen = tuple(int(word) for word in match[1].split(","))
    series = int(match[2]) if match[2] else count
    if len(chosen) != wanted or len(set(chosen)) != wanted:
        raise InputError(f"--frames {words}: {name} takes {wanted} different frames, and {len(set(chosen))} are named")
    if max(chosen) >= series:
        raise InputError(f"--frames {words}: frame {max(chosen)} is outside a series of {series}, counted from 0")
    return chosen, series


def _evenly(wanted: int, count: int) -> str:
    return ",".join(str(i * count // wanted) for i in range(wanted))


def _offered(image: Image) -> str:
    return ", ".join(f"{axis} {image.size(axis)}" for axis in image.axes if axis not in "yx") or "none but y and x"


class _Series:
    """An array whose axis `position` is cut into [count, chosen frames], or [chosen frames] where count is 1."""

    def __init__(self, data: LazyArray, position: int, count: int, series: int, chosen: tuple[int, ...]) -> None:
        self._data, self._series, self._chosen = data, series, chosen
        split = (len(chosen),) if count == 1 else (count, len(chosen))
        self.shape = (*data.shape[:position], *split, *data.shape[position + 1 :])
        self.dtype = data.dtype
        self._start, self._stop = position, position + len(split)

    def __getitem__(self, key: tuple[slice | int, ...], /) -> Any:
        for i in range(self._start, self._stop):
            cut = key[i]
            if isinstance(cut, slice):
                parts = [self[(*key[:i], at, *key[i + 1 :])] for at in range(*cut.indices(self.shape[i]))]
                return np.stack(parts, sum(isinstance(each, slice) for each in key[:i]))
        *group, frame = (int(each) for each in key[self._start : self._stop] if not isinstance(each, slice))
        index = sum(group) * self._series + self._chosen[frame]
        return self._data[(*key[: self._start], index, *key[self._stop :])]
