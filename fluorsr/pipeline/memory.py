"""Restore an image that fits in memory: the same plan, tiles and numbers as a run out of core, without files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.models.load import load
from fluorsr.pipeline.frames import find_frames
from fluorsr.pipeline.plan import make_plan, whole
from fluorsr.pipeline.run import DEFAULT_MODEL, fit_channels
from fluorsr.pipeline.worker import compute
from fluorsr.predict import available_threads, tile_pool
from fluorsr.restorer import Restorer

AXES_BY_RANK = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


def restore(
    image: Image | NDArray[Any],
    model: str | Path | Restorer = DEFAULT_MODEL,
    *,
    device: str = "auto",
    precision: str = "auto",
    frames_axis: str | None = None,
    frames: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int = 1,
    dtype: str = "same",
    threads: int | None = None,
    trust: bool = False,
    seed: int = 0,
) -> Image:
    """Restore an Image, or an array [y, x], [z, y, x], [c, z, y, x] or [t, c, z, y, x], in memory.

    Returns an Image whose data is a numpy array in canonical axis order. The options mean what they mean in
    `fluorsr.infer`. Raises InputError for arrays of other ranks and whatever `fluorsr.infer` raises.
    """
    if not isinstance(image, Image):
        if image.ndim not in AXES_BY_RANK:
            raise InputError(f"an array of {image.ndim} axes has no default meaning: give an Image with named axes")
        image = Image(image, AXES_BY_RANK[image.ndim])
    restorer = model
    if isinstance(restorer, str | Path):
        restorer = load(restorer, device=device, precision=precision, trust=trust)
    series = find_frames(image, restorer.spec.name, restorer.spec.frames, frames_axis, frames)
    image = series.view(image) if series else image
    plan = make_plan(
        image,
        restorer.spec,
        whole(image),
        tile=tile,
        overlap=overlap,
        batch=batch,
        dtype=dtype,
    )
    normalizations = fit_channels(image, plan, restorer.spec)
    layout = plan.layout
    pixels = np.empty((*plan.output_planes(), *layout.shape[-2:]), layout.dtype)
    with tile_pool(threads or available_threads()) as pool:
        for block in (plan.block(i) for i in range(len(plan))):
            restored = compute(block, image, restorer, plan, normalizations, pool, seed).pixels
            height, width = restored.shape
            pixels[block.output[:3]][block.y_out : block.y_out + height, block.x_out : block.x_out + width] = restored
    return Image(
        pixels.reshape(layout.shape),
        layout.axes,
        layout.pixel_size_um,
        layout.translation_um,
        layout.channels,
        layout.name,
    )
