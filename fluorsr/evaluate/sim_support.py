"""Nothing invented? A restored SIM image held against its raw frames: files or images in, fluorsr.sim_support."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fluorsr.classical.registry import make_method
from fluorsr.classical.sim_parameters import estimate_parameters
from fluorsr.classical.sim_support import Support, sim_support
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.pipeline.frames import find_frames

SIDE = 1024
"""Camera pixels along y and x that are judged at most: the middle of larger fields."""


def support_of(
    raw: str | Path | Image,
    restored: str | Path | Image,
    *,
    frames_axis: str,
    frame_order: str = "angle",
    plane: PlaneIndex | None = None,
    options: Mapping[str, Any] | None = None,
) -> Support:
    """Measure how much of a restored image's structure its raw frames support (fluorsr.classical.sim_support).

    raw         the whole series that was taken, also where the image was restored from some of its frames
    restored    of the same field: a whole multiple of the camera's pixels
    plane       which image of a time-lapse, channel or stack; the first by default
    options     of wiener-sim: angles, phases, beams, numerical_aperture, emission_nm, pixel_size_nm, period_nm, stripes

    Raises InputError where the two do not fit together, and NoStripesError where the frames show no stripes: then
    nothing can be said.
    """
    first, second = (open_image(each) if not isinstance(each, Image) else each for each in (raw, restored))
    method = make_method("wiener-sim", dict(options or {})).make(first.pixel_size_um.get("x"))
    assert isinstance(method, WienerSim)
    series = find_frames(first, "a series", method.spec.frames, frames_axis, None, frame_order, method.angles)
    assert series is not None
    view, at = series.view(first), plane or PlaneIndex()
    height, width = view.size("y"), view.size("x")
    scale = second.size("x") // width
    if (second.size("y"), second.size("x")) != (scale * height, scale * width) or scale < 1:
        raise InputError(
            f"the restored image has {second.size('y')} x {second.size('x')} pixels and the raw frames {height} x "
            f"{width}; it must be a whole multiple of them: restore the whole field, or cut the frames alike"
        )
    y, x = ((max(0, (n - SIDE) // 2), min(n, (n - SIDE) // 2 + SIDE) if n > SIDE else n) for n in (height, width))
    frames = [view.read(at._replace(q=q), slice(*y), slice(*x)).astype("float32") for q in range(series.series)]
    pixels = second.read(at, slice(scale * y[0], scale * y[1]), slice(scale * x[0], scale * x[1])).astype("float32")
    stack = torch.stack([torch.from_numpy(each) for each in frames])
    arranged = stack.reshape(method.angles, method.phases, *stack.shape[-2:])
    found = estimate_parameters(
        arranged, method.optics, beams=method.beams, period_um=method.period_um, wave_per_um=method.wave_per_um
    )
    return sim_support(torch.from_numpy(pixels), arranged, found, method.optics)
