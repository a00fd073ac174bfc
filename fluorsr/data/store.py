"""Simulated images on disk, with their truths beside them: one field of any size, or a folder of pairs to train on.

    simulate_store    cells.ome.zarr [T, C, Y, X] uint16     cells_truth.ome.zarr [C, sY, sX] float32
                      T raw SIM frames and C structures, where there are several
    simulate_set      input/00000.tif  target/00000.tif ...  simulation.json, pairs.jsonl (what was drawn for each)

A field is written block by block, each by one task that draws the tiles it needs; so memory does not grow with the
field, and the pixels do not depend on how many processes write them.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from distributed import Client, LocalCluster, as_completed
from numpy.typing import NDArray

from fluorsr.data.scene import Scene
from fluorsr.data.simulate import Field, SimulationConfig, simulate_pair
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError, OutputExistsError, StorageError
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import ImageWriter, Layout

TRUTH_BLOCK_PX = 2048
AHEAD = 2
"""Tasks for each process that wait or run at a time."""

COLORS = {
    "microtubules": "00E5FF",
    "vesicles": "FF7A00",
    "nuclei": "4466FF",
    "actin": "FF3355",
    "mitochondria": "55DD33",
}
Progress = Callable[[int, int], None]


class Task(NamedTuple):
    """One block of one channel: its structure, and its first row and column in input pixels."""

    channel: int
    structure: str
    y: int
    x: int


def simulate_store(
    output: str | Path,
    config: SimulationConfig,
    structures: Sequence[str],
    seed: int,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[Path, Path]:
    """Simulate one field, a channel for each structure, all by one microscope: sample 0 of `seed`.

    Writes what the microscope shows to `output` and the truth to STEM_truth beside it, OME-Zarr or (small) TIFF by the
    suffix; returns both paths. workers  processes; 1 is this one;  progress  called with blocks done, and of how many

    Raises InputError for an unknown or repeated structure or a value out of range, OutputExistsError, StorageError.
    """
    if not structures or len(set(structures)) != len(structures) or set(structures) - set(STRUCTURES):
        raise InputError(f"structures must be some of {', '.join(STRUCTURES)}, each once; not {', '.join(structures)}")
    output = Path(output)
    paths = output, truth_path(output)
    pixel_um = _scene(config.model_dump_json(), seed, structures[0]).pixel_um
    provenance = {"simulated": {"structures": list(structures), "seed": seed, **config.model_dump(mode="json")}}
    layouts = _layouts(config, structures, pixel_um)
    image, truth = (
        create_image(path, layout, provenance=provenance, overwrite=overwrite)
        for path, layout in zip(paths, layouts, strict=True)
    )
    step = layouts[0].block[0]
    starts = range(0, config.size_px, step)
    tasks = [Task(c, name, y, x) for c, name in enumerate(structures) for y in starts for x in starts]
    write = functools.partial(write_block, config.model_dump_json(), seed, (image, truth))
    for done, _ in enumerate(run_tasks(write, tasks, workers), start=1):
        progress(done, len(tasks))
    _scene.cache_clear()
    for writer in (image, truth):
        for level in writer.tail:
            for block in writer.tail_blocks(level):
                writer.build_tail(level, block)
        writer.finish()
    return paths


def simulate_set(
    folder: str | Path,
    config: SimulationConfig,
    count: int,
    seed: int,
    *,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Write samples 0 to count - 1 of `seed` as pairs of TIFFs: what `fluorsr data check` and a recipe's `pairs` take.

    Raises OutputExistsError where the folder holds anything, StorageError where it cannot be written.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(f"{folder} is no empty folder; choose another one for the pairs")
    try:
        for side in ("input", "target"):
            (folder / side).mkdir(parents=True)
        made = {"seed": seed, "count": count, "config": config.model_dump(mode="json")}
        (folder / "simulation.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
        write = functools.partial(write_pair, str(folder), config.model_dump_json(), seed)
        with (folder / "pairs.jsonl").open("w", encoding="utf-8") as log:
            for done, drawn in enumerate(run_tasks(write, range(count), workers), start=1):
                log.write(json.dumps(drawn) + "\n")
                progress(done, count)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def run_tasks(work: Callable[[Any], Any], tasks: Sequence[Any], workers: int) -> Iterator[Any]:
    """What `work` returns for each task, in any order: here, or in processes that dask runs, few tasks in flight."""
    if workers == 1:
        yield from map(work, tasks)
        return
    rest = iter(tasks)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        running = as_completed(
            client.submit(work, task, pure=False) for task in itertools.islice(rest, AHEAD * workers)
        )
        for future in running:
            yield future.result()
            future.release()
            for task in itertools.islice(rest, 1):
                running.add(client.submit(work, task, pure=False))


def write_block(config: str, seed: int, writers: tuple[ImageWriter, ImageWriter], task: Task) -> None:
    """Simulate and write one block; what a process is asked for."""
    scene = _scene(config, seed, task.structure)
    size, scale, step = scene.config.size_px, scene.config.scale, writers[0].layout.block[0]
    y1, x1 = min(size, task.y + step), min(size, task.x + step)
    part = scene.read(task.y, y1, task.x, x1)
    for frame, pixels in enumerate(part.degraded):
        writers[0].write(PlaneIndex(t=frame, c=task.channel), task.y, task.x, pixels)
    writers[1].write(PlaneIndex(c=task.channel), scale * task.y, scale * task.x, part.target)


def write_pair(folder: str, config: str, seed: int, index: int) -> dict[str, Any]:
    """Simulate and write one pair; returns what was drawn."""
    made = simulate_pair(SimulationConfig.model_validate_json(config), seed, index)
    name = f"{index:05d}.tif"
    _write_tiff(Path(folder) / "input" / name, made, made.degraded, made.pixel_size_um)
    _write_tiff(Path(folder) / "target" / name, made, made.target[None], made.target_pixel_size_um)
    return {"name": name, "structure": made.structure, **made.drawn}


def truth_path(output: Path) -> Path:
    """Where the truth of `output` lies: cells.ome.zarr -> cells_truth.ome.zarr."""
    stem, dot, suffixes = output.name.partition(".")
    return output.with_name(f"{stem}_truth{dot}{suffixes}")


@functools.lru_cache(maxsize=2)
def _scene(config: str, seed: int, structure: str) -> Scene:
    """Kept by each process from one block to the next."""
    return Scene(SimulationConfig.model_validate_json(config), seed, 0, structure)


def _layouts(config: SimulationConfig, structures: Sequence[str], pixel_um: float) -> tuple[Layout, Layout]:
    """Of the image and of its truth. Both begin at the same corner, so the centres of their first pixels differ."""

    def layout(axes: str, leading: tuple[int, ...], dtype: str, scale: int) -> Layout:
        size, pixel, block = config.size_px * scale, pixel_um / scale, TRUTH_BLOCK_PX * scale // config.scale
        return Layout(
            axes=axes + "yx",
            shape=(*leading, size, size),
            dtype=dtype,
            pixel_size_um={"y": pixel, "x": pixel},
            translation_um={"y": pixel / 2, "x": pixel / 2},
            channels=tuple(Channel(name, COLORS.get(name, "FFFFFF")) for name in structures),
            name="simulated field",
            block=(block, block),
        )

    channels = (len(structures),)
    raw = config.frames > 1
    image = layout("tc" if raw else "c", (config.frames, *channels) if raw else channels, "uint16", 1)
    return image, layout("c", channels, "float32", config.scale)


def _write_tiff(path: Path, made: Field, planes: NDArray[Any], pixel_um: float) -> None:
    frames = len(planes)
    layout = Layout(
        axes="tyx" if frames > 1 else "yx",
        shape=planes.shape if frames > 1 else planes.shape[1:],
        dtype=planes.dtype.name,
        pixel_size_um={"y": pixel_um, "x": pixel_um},
        channels=(Channel(made.structure, COLORS.get(made.structure, "FFFFFF")),),
        block=planes.shape[1:],
    )
    writer = create_image(path, layout, provenance={})
    for frame, plane in enumerate(planes):
        writer.write(PlaneIndex(t=frame), 0, 0, np.ascontiguousarray(plane))
    writer.finish()
