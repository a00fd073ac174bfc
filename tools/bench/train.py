"""Training steps per second on this machine, against a plain PyTorch loop, and how long data are waited for.

    python tools/bench/train.py [--rounds 5] [--steps 10] [--threads 1] [--blocks 8] [--width 32] [--json out.json]

EDSR, batches of 16 patches of 64 x 64. The kinds of training run in processes of their own, a few steps each in turn,
round after round; ratios are taken within a round, so that what else the machine does falls on all alike. Where much
else runs, steps per CPU second tell more than steps per second.

    plain        float32, eager, contiguous tensors, layer by layer, torch's Adam, no averaging of weights: what one
                 writes first
    fp32, bf16   fluorsr's Learner in that precision: channels_last, tuned allocator, clipping, averaged weights
    data_wait    of a whole `train` run (bf16) on simulated fields: the share of its time that the loop waited
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from accelerate import Accelerator
from published import Published
from torch.nn import functional

from fluorsr.models.allocator import tune_allocator
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.train.log import METRICS, read_metrics
from fluorsr.train.objectives.base import Setup
from fluorsr.train.objectives.regression import Regression, RegressionOptions
from fluorsr.train.recipe import read_recipe
from fluorsr.train.run import train

KINDS = ("plain", "fp32", "bf16")
LOG_EVERY, FILLING = 10, 2
"""Steps between lines of the log; its first lines, while the pool of fields fills, do not count."""
FEWEST = LOG_EVERY * (FILLING + 1)


def work(kind: str, model: dict[str, int], threads: int, steps: int, pipe: Connection) -> None:
    """In its own process: train `steps` steps whenever asked, and tell the seconds and CPU seconds they took."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = EDSR(EDSRConfig(**model, scale=2))
    inputs, targets = torch.rand(16, 1, 64, 64), torch.rand(16, 1, 128, 128)
    if kind == "plain":
        published = Published(network)
        adam = torch.optim.Adam(network.parameters(), lr=1e-4)

        def step() -> None:
            adam.zero_grad()
            functional.l1_loss(published(inputs), targets).backward()  # type: ignore[no-untyped-call]
            adam.step()
    else:
        tune_allocator()
        setup = Setup(network, functional.l1_loss, bf16=kind == "bf16", accelerator=Accelerator(cpu=True))
        objective = Regression(setup, RegressionOptions())

        def step() -> None:
            objective.step(inputs, targets, 1.0)

    step()
    pipe.send(None)
    while pipe.recv():
        begun = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        pipe.send((time.perf_counter() - begun[0], time.process_time() - begun[1]))


def speeds(model: dict[str, int], threads: int, steps: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Steps per second and per CPU second of every kind, one pair a round."""
    context = multiprocessing.get_context("spawn")
    ends = {}
    for kind in KINDS:
        ends[kind], there = context.Pipe()
        context.Process(target=work, args=(kind, model, threads, steps, there), daemon=True).start()
        ends[kind].recv()
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, end in ends.items():
            end.send(True)
            wall, cpu = end.recv()
            found[kind].append((steps / wall, steps / cpu))
    for end in ends.values():
        end.send(False)
    return found


def waiting(model: dict[str, int], threads: int, steps: int) -> float:
    """The share of a run's time spent on waiting for simulated data, without the first lines, while the pool fills."""
    torch.set_num_threads(threads)
    changes = {
        "model": {**model, "scale": 2},
        "steps": steps,
        "log_every": LOG_EVERY,
        "validate_every": steps,
        "batch": 16,
    }
    recipe = read_recipe("edsr-confocal-sted-x2", changes)
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, folder)
        lines = read_metrics(Path(folder) / METRICS)[FILLING:]
    return statistics.median(float(line["data_wait"]) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="per round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--wait-steps", type=int, default=200, help="of the run that is asked how long it waits")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if 0 < given.wait_steps < FEWEST:
        parser.error(f"--wait-steps {given.wait_steps} must be 0, for none, or {FEWEST} at least")
    model = {"blocks": given.blocks, "width": given.width}
    found = speeds(model, given.threads, given.steps, given.rounds)
    print(f"EDSR {given.blocks} x {given.width}, batch 16, patch 64, {given.threads} threads, {given.rounds} rounds")
    for kind in KINDS:
        told = []
        for which, unit in enumerate(("s", "CPU s")):
            ratios = [a[which] / b[which] for a, b in zip(found[kind], found["plain"], strict=True)]
            speed, middle = statistics.median(pair[which] for pair in found[kind]), statistics.median(ratios)
            told.append(f"{speed:6.2f} steps/{unit}, {middle:.2f} times plain ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"{kind:6} {'   '.join(told)}")
    wait = waiting(model, given.threads, given.wait_steps) if given.wait_steps else None
    if wait is not None:
        print(f"waiting for data: {wait:.1%} of the time")
    if given.json:
        given.json.write_text(json.dumps({"steps_per_s": found, "data_wait": wait}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
