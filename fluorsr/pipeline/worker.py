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
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, NamedTuple

from distributed import get_worker
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, InUseError
from fluorsr.image import Image
from fluorsr.io.chunk_cache import with_chunk_cache
from fluorsr.io.open import open_image
from fluorsr.io.writer import Block as TailBlock
from fluorsr.io.writer import ImageWriter
from fluorsr.models.load import LoadedModel, load
from fluorsr.pipeline.block import Maker
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.journal import GROUP, BlockFacts
from fluorsr.pipeline.lease import read_holder
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan
from fluorsr.predict import available_threads, tile_pool
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

    writers          of the images that the run writes: what is restored, and with samples their deviation
    loading          the options of fluorsr.models.load.load
    threads          tiles at a time in each worker; 0: as many as the worker has threads
    lease            the holder's name in the output's lease, without which no worker writes; None for a TIFF
    """

    name: str
    source: str
    level: int
    maker: Maker
    writers: tuple[ImageWriter, ...]
    model: str
    loading: Mapping[str, Any]
    threads: int
    frames: Frames | None = None
    lease: str | None = None

    @property
    def plan(self) -> Plan:
        return self.maker.plan

    @property
    def output(self) -> Path:
        return self.writers[0].path


class Result(NamedTuple):
    """What a task returns: small facts only, the pixels stay with the worker. `note`: something to tell the user."""

    facts: BlockFacts
    pixels: int
    seconds: float
    note: str = ""


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
        self.model = model or load(job.model, **job.loading)
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
            return Result(facts, pixels, time.perf_counter() - started, self._note())

    def _note(self) -> str:
        limit = self.model.batch_limit
        if limit is None:
            return ""
        return (
            f"{self.model.device} of {socket.gethostname()} has too little memory for batches of {self.job.plan.batch} "
            f"tiles, so it takes {limit} at a time; on a GPU that may change the last bits of a pixel"
        )

    def _restore(self, index: int) -> tuple[BlockFacts, int]:
        job = self.job
        block = job.plan.block(index)
        made = job.maker.make(block, self.image, self.model, self.pool)
        self._check_lease()
        for writer, image in zip(job.writers, made.images, strict=True):
            writer.write(block.output, block.y_out, block.x_out, image)
        met = made.met
        counts = {name: getattr(met, name) for name in ("nonfinite", "saturated", "diverged", "skipped")}
        pixels = (block.y[1] - block.y[0]) * (block.x[1] - block.x[0])
        return BlockFacts(index, input_crc32c=met.source, **_checksums(made.images), **counts), pixels

    def _build_tail(self, row: int) -> tuple[BlockFacts, int]:
        assert self.places is not None  # a TIFF has no tail
        place = self.places[row]
        self._check_lease()
        block = TailBlock(place.plane, place.y[0], place.x[0])
        built = tuple(writer.build_tail(place.level, block) for writer in self.job.writers)
        return BlockFacts(row, **_checksums(built)), 0

    def _check_lease(self) -> None:
        """A worker that outlives its coordinator must not write into the output of the next run."""
        if self.job.lease is None:
            return
        holder = read_holder(self.job.output / GROUP)
        if holder is None or holder.holder != self.job.lease:
            raise InUseError(f"{self.job.output} is no longer held by this run, so its worker writes nothing more")


def _checksums(images: tuple[NDArray[Any], ...]) -> dict[str, int]:
    return dict(zip(("crc32c", "deviation_crc32c"), map(crc32c, images), strict=False))


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
