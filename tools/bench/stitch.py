"""Stitching alone: fluorsr's extract and blend beside MONAI's sliding_window_inference, paired in one run.

Two models that cost next to nothing (identity, nearest neighbour x 2), so that cutting and blending are what is timed.
Runs alternate, so that a busy machine hurts all alike. Every method restores the same image with the same tiles.

    total           wall time of one image
    stitching       total less the time inside the model
    stitching CPU   the same in processor time, which neighbours on a shared machine disturb least
    memory          peak resident memory beyond the image and the output, each in a process of its own (Linux)

"fluorsr" writes block by block into an output that exists, with buffers that live as long as the run, as fluorsr-infer
does; "fluorsr, fresh" allocates the output and its buffers within the time, as MONAI must. Both fade overlapping tiles
into each other, as MONAI does. "fluorsr, exact" is what fluorsr-infer does with models whose reach is known: as many
tiles, each of which gives up half of the overlap on every side, and no fading. MONAI's result is float32: for uint16
the conversion of input and output is part of its time.

    python tools/bench/stitch.py [--size 8192] [--repeats 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.errors import MissingDependencyError, import_extra
from fluorsr.tiling.blend import blend, extract
from fluorsr.tiling.grid import Box, Grid

OURS, FRESH, EXACT = "fluorsr", "fluorsr, fresh", "fluorsr, exact"
MONAI = {f"MONAI {mode}, batch {batch}": (mode, batch) for mode in ("constant", "gaussian") for batch in (1, 4, 16)}
MEMORY = (OURS, "MONAI constant, batch 4", "MONAI gaussian, batch 4")
FIGURES = ("total", "stitching", "stitching CPU")


@dataclass(frozen=True)
class Task:
    """One image and how to cut it; lengths in input pixels."""

    scale: int
    dtype: str
    size: int
    tile: int
    overlap: int
    block: int
    threads: int

    def image(self) -> NDArray[Any]:
        """[1, Y, X] noise over most of uint16's range."""
        noise = np.random.default_rng(0).integers(100, 60000, (1, self.size, self.size), np.uint16)
        return noise.astype(self.dtype)

    @property
    def out_shape(self) -> tuple[int, int, int]:
        return 1, self.size * self.scale, self.size * self.scale


class Model:
    """Identity or nearest neighbour x scale, [B, 1, Y, X] -> [B, 1, sY, sX]; knows how long it took."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.wall_s = 0.0
        self.cpu_s = 0.0

    def __call__(self, tiles: Tensor, out: Tensor | None = None) -> Tensor:
        if self.scale == 1 and out is not None:
            return tiles
        wall, cpu = time.perf_counter(), time.process_time()
        size = [n * self.scale for n in tiles.shape[-2:]]
        if self.scale == 1:
            out = tiles.clone()  # MONAI weighs in place what a model returns, which at batch 1 is the image itself
        elif out is None:
            out = torch.nn.functional.interpolate(tiles, size=size, mode="nearest")
        else:
            torch.ops.aten.upsample_nearest2d.out(tiles, size, out=out)
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        return out


class Blockwise:
    """fluorsr's way: block by block into a view of the output, with the same buffers for every block."""

    def __init__(self, task: Task, *, exact: bool = False) -> None:
        n, s = task.size, task.scale
        self.task = task
        halo, overlap = (task.overlap // 2, 0) if exact else (0, task.overlap)
        self.grid = Grid((1, n, n), (1, task.tile, task.tile), (0, halo, halo), (0, overlap, overlap), scale=(1, s, s))
        edges = [*range(0, n, task.block), n]
        spans = list(pairwise(edges))
        self.blocks = [Box((0, y0, x0), (1, y1, x1)) for y0, y1 in spans for x0, x1 in spans]
        most = max(len(self.grid.tiles(block).starts) for block in self.blocks)
        self.tiles = np.empty((most, 1, task.tile, task.tile), np.float32)
        self.restored = np.empty((most, 1, s * task.tile, s * task.tile), np.float32) if s > 1 else self.tiles

    def run(self, image: NDArray[Any], out: NDArray[Any], model: Model) -> None:
        s, threads = self.task.scale, self.task.threads
        for block in self.blocks:
            needed = self.grid.tiles(block)
            n = len(needed.starts)
            tiles = extract(
                image[needed.source.slices],
                needed.source.start,
                self.grid.shape,
                needed.starts,
                self.grid.tile,
                subtract=0.0,
                multiply=1.0,
                fill=0.0,
                out=self.tiles[:n],
                threads=threads,
            )
            restored = model(torch.from_numpy(tiles), torch.from_numpy(self.restored[:n])).numpy()
            (_, y0, x0), (_, y1, x1) = block.start, block.stop
            view = out[:, y0 * s : y1 * s, x0 * s : x1 * s]
            blend(restored, self.grid, needed, block, view, multiply=1.0, add=0.0, threads=threads)


def monai_run(task: Task, method: str, image: NDArray[Any], model: Model) -> NDArray[Any]:
    sliding_window_inference = import_extra("monai.inferers", "bench").sliding_window_inference
    mode, batch = MONAI[method]
    inputs = torch.from_numpy(image.astype(np.float32, copy=False))[None]
    out = sliding_window_inference(
        inputs, (task.tile, task.tile), batch, model, overlap=task.overlap / task.tile, mode=mode
    )
    pixels: NDArray[Any] = out[0].numpy()
    if task.dtype == "uint16":
        pixels = np.rint(pixels, out=pixels).clip(0, 65535, out=pixels).astype(np.uint16)
    return pixels


def prepare(task: Task, method: str, image: NDArray[Any]) -> Callable[[Model], NDArray[Any]]:
    """What is done once, outside the time; the function returned is one run."""
    if method in (OURS, EXACT):
        blockwise, out = Blockwise(task, exact=method == EXACT), np.ones(task.out_shape, task.dtype)

        def reused(model: Model) -> NDArray[Any]:
            blockwise.run(image, out, model)
            return out

        return reused
    if method == FRESH:

        def fresh(model: Model) -> NDArray[Any]:
            out = np.empty(task.out_shape, task.dtype)
            Blockwise(task).run(image, out, model)
            return out

        return fresh
    return lambda model: monai_run(task, method, image, model)


def check(task: Task, method: str, image: NDArray[Any], result: NDArray[Any]) -> None:
    """Both models are known, so is the result: exactly for us, to float rounding for MONAI."""
    expected = image.repeat(task.scale, 1).repeat(task.scale, 2)
    if method in (OURS, FRESH, EXACT):
        assert np.array_equal(result, expected), f"{method} is not exact"
    else:
        assert np.allclose(result, expected, rtol=1e-5, atol=1), f"{method} is wrong"


def time_all(task: Task, methods: list[str], repeats: int) -> dict[str, dict[str, float]]:
    """Medians in seconds, after one run of each that is checked and not counted."""
    image = task.image()
    runs = {method: prepare(task, method, image) for method in methods}
    seen: dict[str, list[tuple[float, float, float]]] = {method: [] for method in methods}
    for repeat in range(repeats + 1):
        for method, run in runs.items():
            model = Model(task.scale)
            wall, cpu = time.perf_counter(), time.process_time()
            result = run(model)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            taken = wall, wall - model.wall_s, cpu - model.cpu_s
            if repeat == 0:
                check(task, method, image, result)
            else:
                seen[method].append(taken)
            del result
    return {
        method: dict(zip(FIGURES, map(median, zip(*taken, strict=True)), strict=True)) for method, taken in seen.items()
    }


def peak_extra(task: Task, method: str) -> float:
    """MiB beyond the image and the output, both allocated here and buffers too; call it in a process of its own.

    Linux only: the kernel's high-water mark is reset before the run, so that what imports took does not count.
    """
    image = task.image()
    small = replace(task, size=2 * task.tile)
    allocating = FRESH if method == OURS else method
    prepare(small, allocating, small.image())(Model(task.scale))  # code and thread pools are in memory now
    run = prepare(task, allocating, image)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib("VmRSS")
    result = run(Model(task.scale))
    return (resident_kib("VmHWM") - before) / 2**10 - result.nbytes / 2**20


def resident_kib(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(entry)).split()[1])


def measured_memory(task: Task, method: str) -> float:
    command = [sys.executable, __file__, "--peak-of", json.dumps([asdict(task), method])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(task: Task, rows: dict[str, dict[str, float]]) -> str:
    """Markdown: one row a method, each ratio against fluorsr's own row."""
    ours = rows[OURS]
    lines = [
        f"\n### scale {task.scale}, {task.dtype}, {task.size} x {task.size}, tile {task.tile}, "
        f"overlap {task.overlap}, {task.threads} thread(s), blocks of {task.block}\n",
        f"| method | {' | '.join(f'{key}, s' for key in FIGURES)} "
        f"| {' | '.join(f'{key}, times fluorsr' for key in FIGURES)} | extra MiB |",
        "|" + "---|" * (2 * len(FIGURES) + 2),
    ]
    for method, row in rows.items():
        seconds = " | ".join(f"{row[key]:.3f}" for key in FIGURES)
        ratios = " | ".join(f"{row[key] / ours[key]:.1f}" for key in FIGURES)
        memory = f"{row['extra_mib']:.0f}" if "extra_mib" in row else ""
        lines.append(f"| {method} | {seconds} | {ratios} | {memory} |")
    for key in FIGURES:
        best = min(MONAI, key=lambda method: rows[method][key])
        times, exact = (rows[best][key] / rows[method][key] for method in (OURS, EXACT))
        lines.append(f"\n{key}: {times:.1f} times as fast as MONAI at its best ({best}), exact {exact:.1f} times")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--block", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "uint16"])
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory runs")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        fields, method = json.loads(args.peak_of)
        torch.set_num_threads(fields["threads"])
        print(peak_extra(Task(**fields), method))
        return
    try:
        monai = import_extra("monai", "bench")
    except MissingDependencyError as error:
        raise SystemExit(str(error)) from None

    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, torch {torch.__version__}, MONAI {monai.__version__}, numpy {np.__version__}")
    figures = []
    for dtype in args.dtypes:
        for scale in args.scales:
            task = Task(scale, dtype, args.size, args.tile, args.overlap, args.block, args.threads)
            rows = time_all(task, [OURS, FRESH, EXACT, *MONAI], args.repeats)
            for method in () if args.no_memory else MEMORY:
                rows[method]["extra_mib"] = measured_memory(task, method)
            print(table(task, rows), flush=True)
            figures.append({"task": asdict(task), "methods": rows})
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
