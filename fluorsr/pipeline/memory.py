"""Restore an image that fits in memory: the same plan, tiles and numbers as a run out of core, without files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.models.load import load
from fluorsr.pipeline.measure import Facts, before_run, view_of
from fluorsr.pipeline.plan import Plan, make_plan, whole
from fluorsr.pipeline.run import DEFAULT_MODEL, fit_channels
from fluorsr.pipeline.worker import compute
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
    steps: int | None
    sampler: str | None
    frames_axis: str | None
    frames: str | None
    frame_order: str
    check_frames: bool
    options: dict[str, Any] | None
    tile: int | None
    overlap: int | None
    batch: int
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
    steps: int | None = None,
    sampler: str | None = None,
    frames_axis: str | None = None,
    frames: str | None = None,
    frame_order: str = "angle",
    check_frames: bool = True,
    options: dict[str, Any] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int = 1,
    dtype: str = "same",
    threads: int | None = None,
    trust: bool = False,
    seed: int = 0,
) -> Image | Samples:
    """Restore an Image, or an array [y, x], [z, y, x], [c, z, y, x] or [t, c, z, y, x], in memory.

    samples   how many images to draw from a stochastic model, with seeds from `seed` on: their mean and deviation

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
            trust=trust,
            steps=steps,
            sampler=sampler,
            options=options,
            pixel_size_um=stored.pixel_size_um.get("x"),
        )
    restorer: Restorer = model
    if samples is not None and (samples < 2 or not restorer.spec.stochastic):
        raise InputError(
            f"samples is {samples}; a deviation takes at least 2"
            if samples < 2
            else f"{restorer.spec.name} gives the same image for every seed; leave out samples"
        )
    series, image = view_of(stored, restorer, frames_axis, frames, frame_order)
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
    facts: Mapping[PlaneIndex, Facts] = {}
    threads = threads or available_threads()
    if series:
        planes = plan.input_planes
        facts, _ = before_run(
            stored, image, series, restorer, planes, normalizations, threads=threads, check=check_frames
        )
    layout = plan.layout

    def run(pool: ThreadPoolExecutor, plan: Plan, seed: int) -> NDArray[Any]:
        pixels = np.empty((*plan.output_planes(), *layout.shape[-2:]), plan.layout.dtype)
        for block in (plan.block(i) for i in range(len(plan))):
            restored = compute(block, image, restorer, plan, normalizations, pool, seed, facts).pixels
            height, width = restored.shape
            pixels[block.output[:3]][block.y_out : block.y_out + height, block.x_out : block.x_out + width] = restored
        return pixels.reshape(layout.shape)

    def described(pixels: NDArray[Any]) -> Image:
        return Image(pixels, layout.axes, layout.pixel_size_um, layout.translation_um, layout.channels, layout.name)

    with tile_pool(threads) as pool:
        if samples is None:
            return described(run(pool, plan, seed))
        unrounded = replace(plan, layout=replace(layout, dtype="float32"))
        return _agree((run(pool, unrounded, seed + n) for n in range(samples)), layout.dtype, described)


def _agree(images: Iterator[NDArray[Any]], dtype: str, described: Callable[[NDArray[Any]], Image]) -> Samples:
    """Mean and standard deviation (of a sample: N - 1), one image at a time (Welford 1962)."""
    mean: NDArray[Any] = np.zeros(())
    squares: NDArray[Any] = np.zeros(())
    count = 0
    for count, pixels in enumerate(images, 1):
        difference = pixels - mean
        mean = mean + difference / count
        squares = squares + difference * (pixels - mean)
    deviation = np.sqrt(squares / (count - 1)).astype(np.float32)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        mean = np.clip(np.rint(mean), limits.min, limits.max)
    return Samples(described(mean.astype(dtype)), described(deviation))
