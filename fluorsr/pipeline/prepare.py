"""A run before its first block: image, model and options become a plan, its normalisation and what is measured.

The same for runs out of core (run.py), in memory (memory.py) and estimates (estimate.py), so all give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.models.load import LoadedModel
from fluorsr.normalize import Normalization, fit
from fluorsr.pipeline.block import Maker
from fluorsr.pipeline.empty import empty_rules
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.measure import before_run, view_of
from fluorsr.pipeline.plan import Plan, make_plan
from fluorsr.pipeline.select import select
from fluorsr.restorer import Restorer

GPU_BATCH = 8

Watch = Callable[[str, int, int], None]
"""Is told a stage's name, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Prepared:
    """What a run is made of.

    stored, image   the image as it is opened, and with its raw frames along q (the same where there are none)
    frames          which raw frames these are
    """

    stored: Image
    image: Image
    model: Restorer
    frames: Frames | None
    maker: Maker

    @property
    def plan(self) -> Plan:
        return self.maker.plan

    def measured(
        self, planes: Sequence[PlaneIndex], threads: int, *, check: bool, done: Callable[[int], None] = lambda _: None
    ) -> tuple[Prepared, list[str]]:
        """The same with raw frames checked and planes measured, and notes; raises what `before_run` raises."""
        if self.frames is None:
            return self, []
        facts, notes = before_run(
            self.stored,
            self.image,
            self.frames,
            self.model,
            planes,
            self.maker.normalizations,
            threads=threads,
            check=check,
            done=done,
        )
        return replace(self, maker=replace(self.maker, facts=facts)), notes


def prepare(
    stored: Image,
    model: Restorer,
    *,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
    frames_axis: str | None = None,
    frames: str | None = None,
    frame_order: str = "angle",
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    dtype: str = "same",
    block: int | None = None,
    samples: int | None = None,
    skip_empty: str | float | None = None,
    seed: int = 0,
    watch: Watch = lambda *_: None,
) -> Prepared:
    """Decide what needs no more than a look at the image. Options and errors are those of `fluorsr.infer`."""
    if samples is not None and seed < 0:
        raise InputError(f"seed is {seed}; samples begin at a seed of 0 or more, whose mirrors those below 0 are")
    series, image = view_of(stored, model, frames_axis, frames, frame_order)
    on_gpu = isinstance(model, LoadedModel) and model.device != "cpu"
    plan = make_plan(
        image,
        model.spec,
        select(image, channels, z, t, region),
        tile=tile,
        overlap=overlap,
        batch=batch or (GPU_BATCH if on_gpu else 1),
        dtype=dtype,
        block=block,
        samples=samples,
    )
    inputs = plan.selection.c
    normalizations: dict[int, Normalization] = {}
    for i, c in enumerate(inputs):
        watch("fit", i, len(inputs))
        normalizations[c] = fit(image, (c,), model.spec.percentiles)  # all raw frames of the channel together
    watch("fit", len(inputs), len(inputs))
    empty = empty_rules(image, inputs, skip_empty)
    return Prepared(stored, image, model, series, Maker(plan, normalizations, seed, empty=empty))
