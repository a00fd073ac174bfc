"""What a run will take, before it is begun: blocks, tiles, bytes, memory, and the time by a trial of some seconds."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fluorsr.errors import InputError
from fluorsr.io.open import create_image, open_image
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import load
from fluorsr.pipeline.measure import restorer_of
from fluorsr.pipeline.plan import Block, Plan
from fluorsr.pipeline.prepare import Prepared, prepare
from fluorsr.pipeline.run import DEFAULT_MODEL
from fluorsr.pipeline.space import output_bytes, raw_bytes
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE
from fluorsr.predict import available_threads, tile_pool

CALIBRATION_S = 20.0


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    halo_overhead_percent   pixels of all tiles beyond those that are kept; of them a diffusion model computes a part
    output_bytes_raw        all levels, not compressed; output_bytes is what they compress to, by samples of the input
    memory_bytes            of one worker: the peak of this process during the trial, which is a worker's work
    seconds                 by number of machines like this one, a worker on each with all its threads
    trial                   what was timed
    """

    source: str
    model: str
    device: str
    precision: str
    output_shape: dict[str, int]
    dtype: str
    block: tuple[int, int]
    blocks: int
    tile: tuple[int, int]
    tiles: int
    halo_overhead_percent: float
    output_bytes_raw: int
    output_bytes: int
    memory_bytes: int
    seconds: dict[int, float]
    trial: str

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)


def estimate(
    source: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "torch",
    steps: int | None = None,
    sampler: str | None = None,
    trust: bool = False,
    level: int = 0,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
    frames_axis: str | None = None,
    options: dict[str, Any] | None = None,
    samples: int | None = None,
    tta: bool = False,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    block: int | None = None,
    dtype: str = "same",
    workers: int = 1,
    threads: int | None = None,
    calibration_s: float = CALIBRATION_S,
) -> Estimate:
    """Plan a run of `fluorsr.infer` with these options and time a trial of it of at most about `calibration_s`.

    Whole blocks from the middle of the run are read, restored and written to a temporary place, as many at a time as a
    worker has in work; where one block would take too long, single tiles are timed. Raises what `fluorsr.infer` raises.
    """
    if workers < 1:
        raise InputError(f"workers {workers} must be at least 1")
    tune_allocator()
    stored = open_image(source, level=level)
    loaded = load(
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
    prepared = prepare(
        stored,
        loaded,
        channels=channels,
        z=z,
        t=t,
        region=region,
        frames_axis=frames_axis,
        tile=tile,
        overlap=overlap,
        batch=batch,
        dtype=dtype,
        block=block,
        samples=samples,
    )
    plan = prepared.plan
    count = threads or available_threads()
    middle = plan.block(len(plan) // 2)
    prepared, _ = prepared.measured(middle.planes[:1], count, check=False)
    tiles = plan.tiles
    seconds, trial = _trial(prepared, middle, tiles, count, calibration_s)
    return Estimate(
        source=str(source),
        model=loaded.spec.name,
        device=loaded.device,
        precision=loaded.precision,
        output_shape=dict(zip(plan.layout.axes, plan.layout.shape, strict=True)),
        dtype=plan.layout.dtype,
        block=plan.layout.block,
        blocks=len(plan),
        tile=plan.grid.tile[1:],
        tiles=tiles,
        halo_overhead_percent=100 * (tiles * plan.grid.tile[1] * plan.grid.tile[2] / _input_pixels(plan) - 1),
        output_bytes_raw=sum(map(raw_bytes, plan.layouts)),
        output_bytes=output_bytes(prepared.image, plan),
        memory_bytes=_peak_bytes(),
        seconds={n: seconds / n for n in sorted({1, workers})},
        trial=trial,
    )


def _trial(prepared: Prepared, middle: Block, tiles: int, threads: int, longest_s: float) -> tuple[float, str]:
    """(seconds of the whole run here, what was timed): blocks from `middle` on, whose plane is measured."""
    plan = prepared.plan
    restorer = restorer_of(prepared.model, prepared.maker.facts, middle.planes[0])
    batch = torch.rand(plan.batch, plan.frames, *plan.grid.tile[1:])
    origin = torch.zeros(plan.batch, 2, dtype=torch.int64)
    with tile_pool(threads) as pool:
        for _ in range(2):  # the first call is slower: memory is fetched, kernels are chosen
            began = time.perf_counter()
            list(pool.map(lambda seed: restorer.restore(batch, origin, seed), range(threads)))
            tile_s = (time.perf_counter() - began) / threads / plan.batch * (plan.samples or 1)
        if BLOCKS_AT_ONCE * tile_s * tiles / len(plan) > longest_s:
            return tile_s * tiles, f"{threads * plan.batch} tiles; reading and writing not counted"
        with _blocks_here(prepared, middle, pool) as work:
            began, done, first = time.perf_counter(), 0, len(plan) // 2
            with ThreadPoolExecutor(BLOCKS_AT_ONCE) as hands:
                while done < len(plan) and time.perf_counter() - began < longest_s / 2:
                    chosen = [plan.block((first + done + i) % len(plan)) for i in range(BLOCKS_AT_ONCE)]
                    done += len(list(hands.map(work, chosen[: len(plan) - done])))
            spent = time.perf_counter() - began
    return spent / done * len(plan), f"{done} blocks in {spent:.1f} s"


@contextmanager
def _blocks_here(prepared: Prepared, middle: Block, pool: ThreadPoolExecutor) -> Iterator[Callable[[Block], None]]:
    """A function that restores and writes one block as a worker does, to a place that is removed afterwards."""
    measured = prepared.maker.facts.get(middle.planes[0])
    facts = dict.fromkeys(prepared.plan.input_planes, measured) if measured else {}  # one plane's stripes do for all
    maker = replace(prepared.maker, facts=facts)
    with tempfile.TemporaryDirectory(prefix="fluorsr-plan-") as folder:
        writers = [
            create_image(Path(folder) / f"trial{i}.zarr", layout, provenance={})
            for i, layout in enumerate(maker.plan.layouts)
        ]

        def work(block: Block) -> None:
            for writer, pixels in zip(
                writers, maker.make(block, prepared.image, prepared.model, pool).images, strict=True
            ):
                writer.write(block.output, block.y_out, block.x_out, pixels)

        yield work


def _input_pixels(plan: Plan) -> int:
    (y0, y1), (x0, x1) = plan.selection.y, plan.selection.x
    return (y1 - y0) * (x1 - x0) * int(np.prod(plan.output_planes(), dtype=np.int64))


def _peak_bytes() -> int:
    """Most memory that this process has had: ru_maxrss counts KiB, on macOS bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
