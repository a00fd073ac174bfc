"""Memory and overhead against size: is a run's memory flat, and what does a block cost the coordinator?

python tools/bench/memory.py [--pixels 7 8] [--block 1024] [--blocks 1000000] [--json out.json]

pixels   a zarr of 10^N uint16 pixels restored by a tiny model, each in a process of its own: its peak resident memory
blocks   a plan of 10^6 x 10^6 pixels and its record on disk, worked through the real window, scheduler and journal by
         a worker that does nothing: peak memory of the coordinator, and milliseconds a block, by the clock and of CPU
         (scheduler, worker and client together)
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import zarr
from torch import Tensor, nn

import fluorsr.pipeline.window as window_module
from fluorsr.image import Image
from fluorsr.models.torchscript import quiet_jit
from fluorsr.pipeline.cluster import Where, cluster
from fluorsr.pipeline.journal import BlockFacts, Journal
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import make_plan, whole
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.worker import Result
from fluorsr.restorer import RestorerSpec

MIB = 2**20
SIDE = 1_000_000


class Tiny(nn.Module):
    """One 3 x 3 convolution: what is measured is the pipeline."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.only = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.only(x)
        return made


class NoPixels:
    """An image of SIDE x SIDE pixels that nobody reads."""

    shape = (SIDE, SIDE)
    dtype = np.dtype(np.uint16)

    def __getitem__(self, key: tuple[slice | int, ...], /) -> Any:
        raise NotImplementedError("this image has no pixels; only its plan is used")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_input(exponent: int, folder: Path) -> dict[str, float]:
    """Write 10^exponent pixels and the model; in another process than the run, whose peak is wanted."""
    side = math.isqrt(10**exponent)
    array = zarr.create_array(folder / "in.zarr", shape=(side, side), dtype="uint16", chunks=(512, 512))
    noise = np.random.default_rng(0).poisson(200, (2048, 2048)).astype(np.uint16)
    for y in range(0, side, 2048):
        for x in range(0, side, 2048):
            array[y : y + 2048, x : x + 2048] = noise[: side - y, : side - x]
    with quiet_jit():
        torch.jit.script(Tiny().eval()).save(str(folder / "tiny.pt"))  # type: ignore[no-untyped-call]
    return {"pixels": side * side}


def pixels_part(block: int, folder: Path) -> dict[str, float]:
    """Restore the input in this process, in blocks of so many pixels; 0: the usual ones."""
    resident: list[float] = []
    done = infer(
        folder / "in.zarr",
        folder / "out.zarr",
        model=folder / "tiny.pt",
        trust=True,
        threads=1,
        precision="fp32",
        block=block or None,
        progress=lambda _: resident.append(psutil.Process().memory_info().rss / MIB),
    )
    found = {"blocks": done.blocks, "peak_mib": peak_mib(), "seconds": done.restore_seconds}
    return {**found, **{f"rss_at_{n}_tenths": resident[(len(resident) - 1) * n // 10] for n in (0, 1, 3, 5, 10)}}


def nothing(name: str, row: int) -> Result:
    """A worker's task that takes no time."""
    return Result(BlockFacts(row, row, row), 1024 * 1024, 0.0)


def blocks_part(limit: int, folder: Path) -> dict[str, float]:
    """Work through the first `limit` rows of a plan of SIDE x SIDE pixels."""
    image = Image(NoPixels(), "yx")
    plan = make_plan(image, RestorerSpec("nothing"), whole(image), block=1024)
    rows = min(limit, len(plan))
    before = psutil.Process().memory_info().rss / MIB
    journal = Journal.create(folder, {}, {}, len(Places(plan.layout)))
    setattr(window_module, "work", nothing)  # noqa: B010
    with cluster(Where()) as client:
        began, began_cpu = time.perf_counter(), time.process_time()
        for results in window_module.Window(client, "bench", print).run(range(rows), str):
            for result in results:
                journal.record(result.facts)
            journal.flush_when_due()
        journal.flush()
        spent, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        after = psutil.Process().memory_info().rss / MIB
    return {
        "planned_blocks": len(plan),
        "blocks": rows,
        "ms_a_block": 1000 * spent / rows,
        "cpu_ms_a_block": 1000 * cpu / rows,
        "rss_before_mib": before,
        "rss_after_mib": after,
        "peak_mib": peak_mib(),
    }


def in_processes(**parts: int) -> dict[str, float]:
    """Each part with its number in a process of its own, in one folder; their figures together."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        for part, number in parts.items():
            words = [sys.executable, __file__, "--part", part, str(number), folder]
            found |= json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return found


def main() -> None:
    """Measure and print the table."""
    if sys.argv[1:2] == ["--part"]:
        part, number, folder = sys.argv[2:]
        parts = {"input": make_input, "pixels": pixels_part, "blocks": blocks_part}
        print(json.dumps(parts[part](int(number), Path(folder))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, nargs="*", default=[7, 8, 9], help="powers of ten")
    parser.add_argument("--block", type=int, default=0, help="pixels along a block's side, in place of the usual")
    parser.add_argument("--blocks", type=int, default=1_000_000, help="0: leave out that part")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"pixels": [], "blocks": []}
    for exponent in given.pixels:
        row = in_processes(input=exponent, pixels=given.block)
        found["pixels"].append(row)
        print(f"{row['pixels']:>13,.0f} px {row['blocks']:>9,.0f} blocks {row['peak_mib']:7.0f} MiB", flush=True)
    for count in (given.blocks // 10, given.blocks) if given.blocks else ():
        row = in_processes(blocks=count)
        found["blocks"].append(row)
        print(
            f"{row['planned_blocks']:,.0f} planned, {row['blocks']:>9,.0f} done: {row['ms_a_block']:.2f} ms a block "
            f"({row['cpu_ms_a_block']:.2f} ms of CPU), peak {row['peak_mib']:.0f} MiB",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
