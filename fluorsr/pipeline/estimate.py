"""What a run will take, before it is begun: blocks, tiles, bytes, memory, and the time by a trial of some seconds."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.open import create_image, open_image
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel, load
from fluorsr.normalize import Normalization
from fluorsr.pipeline.measure import before_run, restorer_of, view_of
from fluorsr.pipeline.plan import Block, Plan, make_plan
from fluorsr.pipeline.run import DEFAULT_MODEL, fit_channels
from fluorsr.pipeline.select import select
from fluorsr.pipeline.space import compressed_share, raw_bytes
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, compute
from fluorsr.predict import available_threads, tile_pool
from fluorsr.restorer import Restorer
from fluorsr.tiling.grid import Box

CALIBRATION_S = 20.0


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    halo_overhead_percent   pixels that the model computes beyond those that are kept
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
    steps: int | None = None,
    sampler: str | None = None,
    trust: bool = False,
    level: int = 0,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
    frames_axis: str | None = None,
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
    pixel_size = stored.pixel_size_um.get("x")
    loaded = load(
        model,
        device=device,
        precision=precision,
        trust=trust,
        steps=steps,
        sampler=sampler,
        pixel_size_um=pixel_size,
    )
    series, image = view_of(stored, loaded, frames_axis, None, "angle")
    plan = make_plan(
        image,
        loaded.spec,
        select(image, channels, z, t, region),
        tile=tile,
        overlap=overlap,
        batch=batch or (1 if loaded.device == "cpu" else 8),
        dtype=dtype,
        block=block,
    )
    normalizations = fit_channels(image, plan, loaded.spec)
    count = threads or available_threads()
    middle = plan.block(len(plan) // 2)
    facts, _ = (
        before_run(stored, image, series, loaded, middle.planes[:1], normalizations, threads=count, check=False)
        if series
        else ({}, [])
    )
    restorer = restorer_of(loaded, facts, middle.planes[0])
    tiles = count_tiles(plan)
    seconds, trial = _trial(image, loaded, restorer, plan, normalizations, tiles, count, calibration_s)
    raw = raw_bytes(plan.layout)
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
        output_bytes_raw=raw,
        output_bytes=int(raw * compressed_share(image, plan)),
        memory_bytes=_peak_bytes(),
        seconds={n: seconds / n for n in sorted({1, workers})},
        trial=trial,
    )


def count_tiles(plan: Plan) -> int:
    """Tiles that all blocks compute together; rows times columns, since blocks and tiles both lie on grids."""
    (y0, y1), (x0, x1) = plan.selection.y, plan.selection.x
    by, bx = plan.block_input
    rows = sum(plan.grid.tiles(Box((0, y, x0), (1, min(y + by, y1), x0 + 1))).counts[1] for y in range(y0, y1, by))
    columns = sum(plan.grid.tiles(Box((0, y0, x), (1, y0 + 1, min(x + bx, x1)))).counts[2] for x in range(x0, x1, bx))
    return rows * columns * int(np.prod(plan.output_planes(), dtype=np.int64))


def _trial(
    image: Image,
    loaded: LoadedModel,
    restorer: Restorer,
    plan: Plan,
    normalizations: dict[int, Normalization],
    tiles: int,
    threads: int,
    longest_s: float,
) -> tuple[float, str]:
    """(seconds that the whole run would take here, what was timed)."""
    frames, (_, height, width) = loaded.spec.frames, plan.grid.tile
    batch = torch.rand(plan.batch, frames, height, width)
    origin = torch.zeros(plan.batch, 2, dtype=torch.int64)
    with tile_pool(threads) as pool:
        for _ in range(2):  # the first call is slower: memory is fetched, kernels are chosen
            began = time.perf_counter()
            list(pool.map(lambda seed: restorer.restore(batch, origin, seed), range(threads)))
            tile_s = (time.perf_counter() - began) / threads / plan.batch
        if BLOCKS_AT_ONCE * tile_s * tiles / len(plan) > longest_s:
            return tile_s * tiles, f"{threads * plan.batch} tiles; reading and writing not counted"
        with _blocks_here(image, loaded, restorer, plan, normalizations, pool) as work:
            began, done, middle = time.perf_counter(), 0, len(plan) // 2
            with ThreadPoolExecutor(BLOCKS_AT_ONCE) as hands:
                while done < len(plan) and time.perf_counter() - began < longest_s / 2:
                    chosen = [plan.block((middle + done + i) % len(plan)) for i in range(BLOCKS_AT_ONCE)]
                    done += len(list(hands.map(work, chosen[: len(plan) - done])))
            spent = time.perf_counter() - began
    return spent / done * len(plan), f"{done} blocks in {spent:.1f} s"


@contextmanager
def _blocks_here(
    image: Image,
    loaded: LoadedModel,
    restorer: Restorer,
    plan: Plan,
    normalizations: dict[int, Normalization],
    pool: ThreadPoolExecutor,
) -> Iterator[Any]:
    """A function that restores and writes one block as a worker does, to a place that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="fluorsr-plan-") as folder:
        writer = create_image(Path(folder) / "trial.zarr", plan.layout, provenance={})

        def work(block: Block) -> None:
            pixels = compute(block, image, restorer, plan, normalizations, pool, 0, {}).pixels
            writer.write(block.output, block.y_out, block.x_out, pixels)

        yield work


def _input_pixels(plan: Plan) -> int:
    (y0, y1), (x0, x1) = plan.selection.y, plan.selection.x
    return (y1 - y0) * (x1 - x0) * int(np.prod(plan.output_planes(), dtype=np.int64))


def _peak_bytes() -> int:
    """Most memory that this process has had: ru_maxrss counts KiB, on macOS bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
