"""How fast the simulator is: python tools/bench/simulate.py [--pairs 64] [--processes 2] [--field 16384] [--out DIR]

Pairs a second of 128 x 128 targets for every preset, by so many processes, after each has computed its microscopes; and
the seconds of CPU that a pair takes, which other work on the machine does not change. --field writes one field of so
many pixels to --out instead: wall time, CPU time and the greatest memory of all processes together.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import torch

from fluorsr.data.simulate import PRESETS, configure, simulate_pair
from fluorsr.data.store import simulate_store


def run(preset: str, start: int, count: int) -> float:
    """CPU seconds of `count` pairs."""
    torch.set_num_threads(1)
    config = configure(preset, size_px=64)
    began = time.process_time()
    for index in range(start, start + count):
        simulate_pair(config, 1, index)
    return time.process_time() - began


def pairs(count: int, processes: int) -> None:
    print("| preset | frames | pairs/s | ms of CPU a pair |\n|---|---|---|---|")
    with ProcessPoolExecutor(processes) as pool:
        for preset in PRESETS:
            each = [(preset, i * count, count) for i in range(processes)]
            list(pool.map(run, *zip(*each, strict=True)))  # the same pairs first, so that their microscopes are known
            began = time.perf_counter()
            spent = sum(pool.map(run, *zip(*each, strict=True)))
            wall, total = time.perf_counter() - began, count * processes
            print(
                f"| {preset} | {PRESETS[preset].frames} | {total / wall:.1f} | {1e3 * spent / total:.0f} |", flush=True
            )


def field(size: int, out: Path, processes: int, scale: int) -> None:
    me, peak, stop = psutil.Process(), 0, threading.Event()
    spent: dict[int, float] = {}

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.2):
            memory = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    memory += process.memory_info().rss
                    spent[process.pid] = sum(process.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, memory)

    watcher = threading.Thread(target=watch)
    watcher.start()
    config = configure("confocal-280", fixed=True, size_px=size, scale=scale)
    began = time.perf_counter()
    simulate_store(out / "field.ome.zarr", config, ["microtubules"], 1, workers=processes, overwrite=True)
    wall = time.perf_counter() - began
    stop.set()
    watcher.join()
    for path in out.glob("field*.ome.zarr"):
        shutil.rmtree(path)
    print(f"{size} x {size}, scale {scale}: {wall:.0f} s, {sum(spent.values()):.0f} s of CPU, {peak / 2**30:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64, help="by each process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--field", type=int, help="pixels of a side")
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    if arguments.field:
        arguments.out.mkdir(parents=True, exist_ok=True)
        field(arguments.field, arguments.out, arguments.processes, arguments.scale)
    else:
        pairs(arguments.pairs, arguments.processes)


if __name__ == "__main__":
    main()
