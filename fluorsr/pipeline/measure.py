"""What is measured of raw SIM frames before a run: are they what was declared, and what does a MeasuringRestorer need.

Each plane (time point, channel, z) is measured once, on the part of it whose stripes are strongest among a few evenly
spread ones: the part whose first two frames differ most, as out-of-focus light does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluorsr.classical.sim_constants import REGION
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import NoStripesError
from fluorsr.classical.sim_region import contrast, places
from fluorsr.data.sim_frames import FrameOrder, check_frames, faulty_frames
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.chunk_cache import with_chunk_cache
from fluorsr.models.load import LoadedModel
from fluorsr.normalize import Normalization
from fluorsr.optics.microscope import Microscope
from fluorsr.pipeline.frames import Frames, find_frames
from fluorsr.predict import tile_pool
from fluorsr.restorer import MeasuringRestorer, Restorer

Facts = dict[str, Any]
Place = Callable[[PlaneIndex], tuple[int, int]]
"""Tells of a plane where the part of it begins that is measured."""


def measurer(restorer: Restorer) -> MeasuringRestorer | None:
    """The restorer inside, where it measures its planes."""
    inside = restorer.network if isinstance(restorer, LoadedModel) else restorer
    return inside if isinstance(inside, MeasuringRestorer) else None


def restorer_of(restorer: Restorer, facts: Mapping[PlaneIndex, Facts], plane: PlaneIndex) -> Restorer:
    """The restorer of one plane: `restorer` itself, or what it becomes with what was measured."""
    inside = measurer(restorer)
    return restorer if inside is None else inside.measured(facts[plane._replace(q=0)])


def view_of(
    stored: Image, restorer: Restorer, frames_axis: str | None, frames: str | None, frame_order: str
) -> tuple[Frames | None, Image]:
    """Which raw frames a restorer is given, if it takes several, and the image with these along q.

    Raises what `find_frames` raises. A series has three angles where the method was not told another number.
    """
    angles = int(getattr(measurer(restorer), "angles", 3))
    found = find_frames(stored, restorer.spec.name, restorer.spec.frames, frames_axis, frames, frame_order, angles)
    return found, found.view(stored) if found else with_chunk_cache(stored)


def before_run(
    stored: Image,
    image: Image,
    frames: Frames,
    restorer: Restorer,
    planes: Sequence[PlaneIndex],
    normalizations: Mapping[int, Normalization],
    *,
    threads: int,
    check: bool = True,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[dict[PlaneIndex, Facts], list[str]]:
    """Check the raw frames of `stored`, whose view is `image`, and measure its planes: facts by plane, and notes.

    Raises what `check_raw` and `measure_planes` raise.
    """
    place = cache(lambda plane: strongest_place(image, plane))  # looked for once, by checks and measurements together
    notes = check_raw(stored, frames, restorer, _some(planes), place) if check else []
    inside = measurer(restorer)
    if inside is None:
        return {}, notes
    with tile_pool(threads) as pool:
        facts, more = measure_planes(image, planes, inside, normalizations, pool, place, done)
    return facts, [*notes, *more]


def measure_planes(
    image: Image,
    planes: Sequence[PlaneIndex],
    restorer: MeasuringRestorer,
    normalizations: Mapping[int, Normalization],
    pool: ThreadPoolExecutor,
    place: Place,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[dict[PlaneIndex, Facts], list[str]]:
    """Measure every plane of an image with frames along q: facts by plane, and what the user should know.

    A plane without stripes above its noise is given the facts of the nearest one of its channel, and a note says so.
    Raises NoStripesError where a whole channel has none, InputError where they cannot be measured at all.
    """

    def measure(plane: PlaneIndex) -> Facts | InputError:
        origin = place(plane)
        frames = read_part(image, plane, range(image.size("q")), origin)
        fitted = normalizations[plane.c]
        try:
            return restorer.measure((frames - fitted.low) / fitted.scale, origin)
        except InputError as error:
            return error

    found: dict[PlaneIndex, Facts] = {}
    failed: dict[PlaneIndex, InputError] = {}
    for i, (plane, facts) in enumerate(zip(planes, pool.map(measure, planes), strict=True)):
        if isinstance(facts, InputError):
            failed[plane] = facts
        else:
            found[plane] = facts
        done(i + 1)
    measured = list(found)
    for plane, error in failed.items():
        others = [other for other in measured if other.c == plane.c]
        if not others:
            raise type(error)(f"{_where(image, plane)}: {error}") from error
        found[plane] = found[min(others, key=lambda other: abs(other.t - plane.t) + abs(other.z - plane.z))]
    if not failed:
        return found, []
    first, why = next(iter(failed.items()))
    return found, [
        f"{len(failed)} of {len(planes)} planes show no stripes above their noise (the first: {_where(image, first)}); "
        f"the nearest plane's stripes are taken for them. What was measured of the first: {why}"
    ]


def check_raw(
    stored: Image, frames: Frames, restorer: Restorer, planes: Sequence[PlaneIndex], place: Place
) -> list[str]:
    """Hold the raw frames of some planes against what was declared: notes on what could not be checked.

    Raises InputError, naming the plane and what was measured, where frames are blank, saturated or not finite, in
    another order than declared, or drifted apart.
    """
    image = replace(frames, chosen=tuple(range(frames.series))).view(stored)
    notes: dict[str, None] = {}
    for plane in planes:
        try:
            note = _check_plane(image, frames, restorer, plane, place(plane))
        except InputError as error:
            raise InputError(f"{_where(image, plane)}: {error}; --no-check-frames goes on all the same") from error
        if note:
            notes[note] = None
    return list(notes)


def _check_plane(image: Image, frames: Frames, restorer: Restorer, plane: PlaneIndex, place: tuple[int, int]) -> str:
    pixels = read_part(image, plane, range(frames.series), place)
    order, optics, beams = frames.order, *_expected(image, restorer, frames.order)
    if order is None or optics is None:
        faults = faulty_frames(pixels)
        if faults:
            raise InputError("; ".join(faults))
        why = "the image does not tell its pixel size" if order else f"{frames.series} are too few to tell them apart"
        return f"the order of the frames was not checked: {why}"
    failure = ""
    for count in beams:
        try:
            check_frames(pixels, order, optics, beams=count)
        except NoStripesError as error:
            failure = failure or str(error)
        else:
            return ""
    if measurer(restorer) is not None:
        return ""  # it measures every plane, and says where it cannot
    return f"the order of the frames could not be checked: {failure}"


def _expected(image: Image, restorer: Restorer, order: FrameOrder | None) -> tuple[SimOptics | None, tuple[int, ...]]:
    """The optics to look for stripes with, and with how many beams: what the method was told, or a usual microscope."""
    inside = measurer(restorer)
    told = getattr(inside, "optics", None)
    if isinstance(told, SimOptics):
        return told, (int(getattr(inside, "beams", 3)),)
    size = image.pixel_size_um.get("x") or restorer.spec.pixel_size_um
    if size is None or order is None:
        return None, ()
    return SimOptics(microscope=Microscope(), pixel_size_um=size), (3, 2) if order.phases >= 5 else (2,)


def _some(planes: Sequence[PlaneIndex]) -> list[PlaneIndex]:
    """Planes to check: in every channel the first and the last time point, in the middle slice."""
    chosen: dict[PlaneIndex, None] = {}
    for c in dict.fromkeys(plane.c for plane in planes):
        some = [plane for plane in planes if plane.c == c]
        slices = sorted({plane.z for plane in some})
        middle = [plane for plane in some if plane.z == slices[len(slices) // 2]]
        chosen |= {middle[0]: None, middle[-1]: None}
    return list(chosen)


def strongest_place(image: Image, plane: PlaneIndex) -> tuple[int, int]:
    """As `fluorsr.classical.sim_region.strongest_part`, part by part."""
    found = places(image.size("y"), image.size("x"))
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda place: contrast(*read_part(image, plane, (0, 1), place)))


def read_part(image: Image, plane: PlaneIndex, frames: Sequence[int], place: tuple[int, int]) -> Tensor:
    """The part of a plane that begins at a place: float32 [F, Y, X] in counts."""
    y, x = (slice(start, min(start + REGION, image.size(axis))) for start, axis in zip(place, "yx", strict=True))
    return torch.stack([torch.from_numpy(image.read(plane._replace(q=q), y, x).astype(np.float32)) for q in frames])


def _where(image: Image, plane: PlaneIndex) -> str:
    parts = [f"channel {image.channels[plane.c].name}"] if len(image.channels) > 1 else []
    parts += [f"{axis} {getattr(plane, axis)}" for axis in "tz" if axis in image.axes]
    return ", ".join(parts) or "the frames"
