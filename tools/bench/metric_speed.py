"""Time and memory of every metric: python tools/bench/metric_speed.py [--size 4096] [--threads 2] [--metrics a,b]

Each runs in a process of its own on one pair of images [size, size] float32; peak memory is above the images and what
torch takes to start. On a busy machine read the CPU seconds of one thread. LPIPS runs with random weights: they cost
what the true ones do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from unittest import mock

import torch

from fluorsr.evaluate.band import band_kept
from fluorsr.evaluate.cost import measured
from fluorsr.evaluate.noise import measure_noise
from fluorsr.evaluate.seams import find_seams
from fluorsr.evaluate.support import judge_support
from fluorsr.metrics import lpips
from fluorsr.metrics.decorrelation import decorrelation
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.frc_single import frc_single
from fluorsr.metrics.registry import ALL_METRICS
from fluorsr.metrics.spectrum import power_kept
from fluorsr.metrics.squirrel import squirrel
from fluorsr.models.allocator import tune_allocator

Pair = tuple[torch.Tensor, torch.Tensor]


def pair(size: int) -> Pair:
    """Smooth structure under noise, twice."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(1, 1, size // 8, size // 8, generator=generator) ** 4
    clean = 1000 * torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear")[0, 0] + 100
    first, second = (clean + 10 * torch.randn(size, size, generator=generator) for _ in range(2))
    return first, second


def one_metric(name: str, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ALL_METRICS[name].function(prediction, target, data_range=1000.0, pixel_size_um=0.03)


def calls() -> dict[str, Callable[[torch.Tensor, torch.Tensor], object]]:
    return {
        **{name: partial(one_metric, name) for name in ALL_METRICS},
        "least-squares fit": fit_intensity,
        "one-image FRC": lambda p, t: frc_single(p, pixel_size_um=0.03),
        "decorrelation": lambda p, t: decorrelation(p, pixel_size_um=0.03),
        "SQUIRREL": lambda p, t: squirrel(p, t, pixel_size_um=0.03),
        "power kept": power_kept,
        "check: support": lambda p, t: judge_support(p, t, measure_noise(t)),
        "check: over-smoothing": band_kept,
        "check: seams": lambda p, t: find_seams(p),
    }


def random_lpips(name: lpips.Name) -> lpips.Lpips:
    torch.manual_seed(1)
    network = lpips.Lpips(name)
    for parameter in network.parameters():
        parameter.copy_(0.05 * torch.randn_like(parameter))
    return network


def one(name: str, size: int, threads: int) -> None:
    """Measure a metric in this process and print it."""
    tune_allocator()
    torch.set_num_threads(threads)
    with mock.patch.object(lpips, "load_lpips", lru_cache(random_lpips)):
        call = calls()[name]
        call(*pair(256))
        images = pair(size)
        before = time.process_time()
        _, cost = measured(lambda: call(*images))
        busy = time.process_time() - before
    print(json.dumps([cost.seconds, busy, cost.memory_mib]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--metrics", default=",".join(calls()))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.size, arguments.threads)
        return
    print(f"{arguments.size} x {arguments.size}, threads: {arguments.threads}\n")
    print("| metric | seconds | CPU seconds | peak MiB |\n|---|---:|---:|---:|")
    for name in arguments.metrics.split(","):
        command = [sys.executable, __file__, "--one", name]
        command += ["--size", str(arguments.size), "--threads", str(arguments.threads)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, busy, memory = json.loads(run.stdout.splitlines()[-1])
        print(f"| {name} | {seconds:.2f} | {busy:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
