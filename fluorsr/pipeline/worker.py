"""What one process needs to restore blocks: the image, the model, the writer, and a pool of tile threads.

A Job is small and picklable; every process builds its own Workshop from it once and keeps it for the whole run.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, NamedTuple

from distributed import get_worker

from fluorsr.errors import FluorsrError, InUseError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.chunk_cache import with_chunk_cache
from fluorsr.io.open import open_image
from fluorsr.io.writer import Block as TailBlock
from fluorsr.io.writer import ImageWriter
from fluorsr.models.load import LoadedModel, load
from fluorsr.normalize import Normalization
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.journal import GROUP, BlockFacts
from fluorsr.pipeline.lease import read_holder
from fluorsr.pipeline.measure import Facts, restorer_of
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Block, Plan
from fluorsr.predict import Restored, available_threads, restore_region, tile_pool
from fluorsr.restorer import Restorer
from fluorsr.tiling.blend import crc32c

BLOCKS_AT_ONCE = 3
"""Blocks a process works on at a time: one in the model, others reading or writing, so that the model never waits."""


def open_frames(source: str, level: int, frames: Frames | None) -> Image:
    """Open an image as its run sees it: with its raw frames along q."""
    image = open_image(source, level=level)
    return frames.view(image) if frames else with_chunk_cache(image)


@dataclass(frozen=True)
class Job:
    """A run, as a worker process is told of it.

    normalizations   what was fitted, by input channel
    threads          tiles at a time in each worker; 0: as many as the worker has threads
    lease            the holder's name in the output's lease, without which no worker writes; None for a TIFF
    """

    name: str
    source: str
    level: int
    plan: Plan
    writer: ImageWriter
    model: str
    device: str
    precision: str
    trust: bool
    steps: int | None
    sampler: str | None
    normalizations: dict[int, Normalization]
    seed: int
    threads: int
    frames: Frames | None = None
    facts: Mapping[PlaneIndex, Facts] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    lease: str | None = None


class Result(NamedTuple):
    """What a task returns: small facts only, the pixels stay with the worker."""

    facts: BlockFacts
    pixels: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """What a task that failed returns: the error itself where it is one of fluorsr's, and words for the end report."""

    row: int
    worker: str
    where: str
    why: str
    traceback: str
    error: FluorsrError | None = None
    errno: int | None = None


class Workshop:
    """Everything open that a block needs; `close` waits for the blocks in work and ends the tile threads."""

    def __init__(
        self, job: Job, image: Image | None = None, model: LoadedModel | None = None, threads: int | None = None
    ) -> None:
        self.job = job
        self.places = Places(job.plan.layout) if job.lease else None
        self.image = image or open_frames(job.source, job.level, job.frames)
        self.model = model or load(
            job.model,
            device=job.device,
            precision=job.precision,
            trust=job.trust,
            steps=job.steps,
            sampler=job.sampler,
            options=dict(job.options),
            pixel_size_um=self.image.pixel_size_um.get("x"),
        )
        self._slots = BoundedSemaphore(BLOCKS_AT_ONCE)
        self._closed = False
        self._open = ExitStack()
        pool = tile_pool(threads or job.threads or available_threads())
        self.pool: ThreadPoolExecutor = self._open.enter_context(pool)

    def close(self) -> None:
        self._closed = True
        for _ in range(BLOCKS_AT_ONCE):
            self._slots.acquire()
        self._open.close()
        self._slots.release(BLOCKS_AT_ONCE)

    def work(self, row: int) -> Result:
        """Make one row of the record and write it; durable on return. Doing it again writes the same bytes."""
        with self._slots:
            if self._closed:
                raise RuntimeError(f"block {row} came after its run had ended")
            started = time.perf_counter()
            facts, pixels = self._restore(row) if row < len(self.job.plan) else self._build_tail(row)
            return Result(facts, pixels, time.perf_counter() - started)

    def _restore(self, index: int) -> tuple[BlockFacts, int]:
        job = self.job
        block = job.plan.block(index)
        restored = compute(block, self.image, self.model, job.plan, job.normalizations, self.pool, job.seed, job.facts)
        self._check_lease()
        job.writer.write(block.output, block.y_out, block.x_out, restored.pixels)
        counts = (restored.nonfinite, restored.saturated, restored.diverged)
        pixels = (block.y[1] - block.y[0]) * (block.x[1] - block.x[0])
        return BlockFacts(index, crc32c(restored.pixels), restored.source, *counts), pixels

    def _build_tail(self, row: int) -> tuple[BlockFacts, int]:
        assert self.places is not None  # a TIFF has no tail
        place = self.places[row]
        self._check_lease()
        pixels = self.job.writer.build_tail(place.level, TailBlock(place.plane, place.y[0], place.x[0]))
        return BlockFacts(row, crc32c(pixels)), 0

    def _check_lease(self) -> None:
        """A worker that outlives its coordinator must not write into the output of the next run."""
        if self.job.lease is None:
            return
        holder = read_holder(self.job.writer.path / GROUP)
        if holder is None or holder.holder != self.job.lease:
            raise InUseError(f"{self.job.writer.path} is no longer held by this run, so its worker writes nothing more")


def compute(
    block: Block,
    image: Image,
    restorer: Restorer,
    plan: Plan,
    normalizations: Mapping[int, Normalization],
    pool: ThreadPoolExecutor,
    seed: int,
    facts: Mapping[PlaneIndex, Facts],
) -> Restored:
    """The pixels of one block; in memory and out of core alike."""
    return restore_region(
        image,
        block.planes,
        block.y,
        block.x,
        restorer_of(restorer, facts, block.planes[0]),
        plan.grid,
        normalizations[block.planes[0].c],
        pool,
        dtype=plan.layout.dtype,
        batch=plan.batch,
        seed=seed,
    )


_workshops: dict[str, Workshop] = {}
"""Open workshops of this process by job name: tasks arrive as (job name, block) and must find their model loaded."""


def open_workshop(workshop: Workshop) -> None:
    _workshops[workshop.job.name] = workshop


def close_workshop(name: str) -> None:
    workshop = _workshops.pop(name, None)
    if workshop is not None:
        workshop.close()


def work(name: str, row: int) -> Result | Failure:
    """The task: make one row of the job `name`. Failures are returned: any error can be told, not all can be sent."""
    try:
        workshop = _workshops.get(name)
        if workshop is None:
            raise RuntimeError("this worker has not opened the run: did it fail to load the model or the image?")
        return workshop.work(row)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told at the end and the run goes on)
        known = error if isinstance(error, FluorsrError) else None
        return Failure(
            row,
            get_worker().address,
            f"{socket.gethostname()}, process {os.getpid()}",
            f"{type(error).__name__}: {error}",
            "".join(traceback.format_exception(error)),
            known,
            getattr(error, "errno", None),
        )
