"""Restore an image that fits in memory: the same plan, tiles and numbers as a run out of core, without files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.models.load import load
from fluorsr.models.symmetries import Symmetries
from fluorsr.pipeline.prepare import prepare
from fluorsr.pipeline.run import DEFAULT_MODEL
from fluorsr.predict import available_threads, tile_pool
from fluorsr.restorer import Restorer

AXES_BY_RANK = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


class Samples(NamedTuple):
    """What several samples of a stochastic model agree on, and how far they differ.

    mean        their mean, in the dtype asked for
    deviation   their standard deviation, float32, in the input's units: where it is large, the model does not know
    """

    mean: Image
    deviation: Image


class Options(TypedDict, total=False):
    """The options of `restore` but for `samples`; each means what it means in `fluorsr.infer`."""

    device: str
    precision: str
    engine: str
    steps: int | None
    sampler: str | None
    frames_axis: str | None
    frames: str | None
    frame_order: str
    check_frames: bool
    options: dict[str, Any] | None
    tta: bool
    skip_empty: str | float | None
    tile: int | None
    overlap: int | None
    batch: int | None
    dtype: str
    threads: int | None
    trust: bool
    seed: int


@overload
def restore(
    image: Image | NDArray[Any],
    model: str | Path | Restorer = ...,
    *,
    samples: None = None,
    **options: Unpack[Options],
) -> Image: ...


@overload
def restore(
    image: Image | NDArray[Any], model: str | Path | Restorer = ..., *, samples: int, **options: Unpack[Options]
) -> Samples: ...


def restore(
    image: Image | NDArray[Any],
    model: str | Path | Restorer = DEFAULT_MODEL,
    *,
    samples: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "torch",
    steps: int | None = None,
    sampler: str | None = None,
    frames_axis: str | None = None,
    frames: str | None = None,
    frame_order: str = "angle",
    check_frames: bool = True,
    options: dict[str, Any] | None = None,
    tta: bool = False,
    skip_empty: str | float | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    dtype: str = "same",
    threads: int | None = None,
    trust: bool = False,
    seed: int = 0,
) -> Image | Samples:
    """Restore an Image, or an array [y, x], [z, y, x], [c, z, y, x] or [t, c, z, y, x], in memory.

    samples   how many images to draw from a stochastic model, in pairs of mirrored noise from `seed` on: their mean and
              deviation

    Returns an Image whose data is a numpy array in canonical axis order, or Samples of two. The other options mean what
    they mean in `fluorsr.infer`. Raises InputError for arrays of other ranks, for samples of a model that gives the
    same image for every seed, and whatever `fluorsr.infer` raises.
    """
    if not isinstance(image, Image):
        if image.ndim not in AXES_BY_RANK:
            raise InputError(f"an array of {image.ndim} axes has no default meaning: give an Image with named axes")
        image = Image(image, AXES_BY_RANK[image.ndim])
    stored = image
    if isinstance(model, str | Path):
        model = load(
            model,
            device=device,
            precision=precision,
            engine=engine,
            trust=trust,
            steps=steps,
            sampler=sampler,
            options=options,
            pixel_size_um=stored.pixel_size_um.get("x"),
            tta=tta,
        )
    elif tta:
        model = Symmetries(model)
    prepared = prepare(
        stored,
        model,
        frames_axis=frames_axis,
        frames=frames,
        frame_order=frame_order,
        tile=tile,
        overlap=overlap,
        batch=batch,
        dtype=dtype,
        samples=samples,
        skip_empty=skip_empty,
        seed=seed,
    )
    threads = threads or available_threads()
    plan, layout = prepared.plan, prepared.plan.layout
    prepared, _ = prepared.measured(plan.input_planes, threads, check=check_frames)
    images = [np.empty((*plan.output_planes(), *layout.shape[-2:]), each.dtype) for each in plan.layouts]
    with tile_pool(threads) as pool:
        for block in (plan.block(i) for i in range(len(plan))):
            made = prepared.maker.make(block, prepared.image, model, pool)
            for whole, part in zip(images, made.images, strict=True):
                height, width = part.shape
                whole[block.output[:3]][block.y_out : block.y_out + height, block.x_out : block.x_out + width] = part
    found = [
        Image(
            pixels.reshape(each.shape),
            each.axes,
            each.pixel_size_um,
            each.translation_um,
            each.channels,
            each.name,
        )
        for pixels, each in zip(images, plan.layouts, strict=True)
    ]
    return Samples(*found) if samples is not None else found[0]
