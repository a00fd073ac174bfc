"""Chaos: runs that are killed, stopped and refused by the disk at random moments, then resumed.

    python tools/chaos.py [--runs 50] [--seed 0] [--folder DIR] [--json out.json]

Each run restores one small store in a process of its own. At random moments one thing happens to it:

    kill-coordinator   SIGKILL                                 kill-worker   SIGKILL to one worker process
    stop-coordinator   SIGSTOP; a second run must be refused   stop-worker   SIGSTOP for longer than its time to live
    enospc, eio        the store or the record refuses, before or after writing, at random calls

Afterwards nothing may be recorded as done that is not; then it is resumed, and disturbed again with one chance in two.
In the end the store must be, file by file, that of an undisturbed run, with nothing beside it and no process left.
Exits 1 where one is not.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import zarr
from torch import Tensor, nn
from torch.nn import functional as F

from fluorsr.errors import FluorsrError, InUseError
from fluorsr.io.disk import storage_error
from fluorsr.io.zarr_writer import OmeZarrWriter
from fluorsr.models.torchscript import quiet_jit
from fluorsr.pipeline.journal import GROUP, Journal
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.verify import verify

EVENTS = ("kill-coordinator", "kill-worker", "stop-coordinator", "stop-worker", "enospc", "eio")
TIME_TO_LIVE_S = 3
REFUSALS = 0.15
"""Share of writes that a failing store refuses."""

LONGEST_S = 180
BLOCK = 66
FAILED, REFUSED = 3, 4
"""Exit codes of a child: an error of fluorsr's; another run holds the output."""


class Slow(nn.Module):
    """Two convolutions and a sub-pixel tail, computed often enough for a run to last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(1)
        for _ in range(100):
            out = F.pixel_shuffle(self.second(torch.relu(self.first(x))), 2)
        return out


@dataclass
class Outcome:
    """What happened to one run, and what was wrong in the end."""

    events: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Bench:
    """The folder of the runs: one input, one model, and the files of the undisturbed output."""

    folder: Path
    expected: dict[str, str]

    @classmethod
    def make(cls, folder: Path) -> Bench:
        pixels = np.random.default_rng(0).poisson(200, (2, 60, 700)).astype(np.uint16)
        zarr.create_array(folder / "in.zarr", data=pixels, chunks=(1, 64, 64), dimension_names=("z", "y", "x"))
        with quiet_jit():
            torch.jit.script(Slow().eval()).save(str(folder / "slow.pt"))  # type: ignore[no-untyped-call]
        restore(folder, folder / "undisturbed.zarr", 1)
        return cls(folder, contents(folder / "undisturbed.zarr"))

    def start(self, output: Path, workers: int, fault: str = "", seed: int = 0) -> subprocess.Popen[bytes]:
        words = [sys.executable, __file__, "--child", str(self.folder), str(output), str(workers), fault, str(seed)]
        life = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TIME_TO_LIVE_S}s"}
        with (self.folder / f"{output.parent.name}.log").open("ab") as log:
            return subprocess.Popen(words, env={**os.environ, **life}, stderr=log, start_new_session=True)


def restore(folder: Path, output: Path, workers: int) -> None:
    """Begin the run of a bench, or go on with it."""
    infer(
        folder / "in.zarr",
        output,
        model=folder / "slow.pt",
        block=BLOCK,
        workers=workers,
        resume=True,
        trust=True,
        threads=2,
    )


def contents(store: Path) -> dict[str, str]:
    """Every file below a store, and the hash of its bytes."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def disturb(bench: Bench, outcome: Outcome, output: Path, event: str, dice: random.Random) -> None:
    """Start or resume the run, let one thing happen to it, and wait until it has ended."""
    outcome.events.append(event)
    fault = event if event in ("enospc", "eio") else ""
    workers = 1 if fault or (event.endswith("coordinator") and dice.random() < 0.5) else 2
    run = bench.start(output, workers, fault, dice.randrange(2**31))
    family = psutil.Process(run.pid)
    wait_for(lambda: (output / GROUP).is_dir() or run.poll() is not None, dice.choice([2.0, 60.0]))
    time.sleep(dice.uniform(0, 2.5))
    if run.poll() is None and event == "kill-coordinator":
        run.kill()
    elif run.poll() is None and event == "stop-coordinator":
        run.send_signal(signal.SIGSTOP)
        if (output / GROUP).is_dir():
            second = bench.start(output, 1)
            if second.wait(LONGEST_S) not in (REFUSED, 0) or (second.returncode == 0 and not verify(output).complete):
                outcome.faults.append(f"a second run beside a stopped one exited with {second.returncode}")
        run.send_signal(signal.SIGCONT)
    elif run.poll() is None and event.endswith("worker"):
        disturb_worker(family, event, dice)
    try:
        run.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        outcome.faults.append(f"{event}: still running after {LONGEST_S} s")
        run.kill()
        run.wait()
    if run.returncode not in (0, FAILED, -signal.SIGKILL):
        outcome.faults.append(f"{event}: exited with {run.returncode}")


def disturb_worker(family: psutil.Process, event: str, dice: random.Random) -> None:
    workers = [child for child in family.children() if "spawn_main" in " ".join(child.cmdline())]
    if not workers:
        return
    chosen = dice.choice(workers)
    if event == "kill-worker":
        chosen.kill()
        return
    chosen.suspend()
    time.sleep(TIME_TO_LIVE_S * 2)
    if chosen.is_running():
        chosen.resume()


def one_run(bench: Bench, number: int, dice: random.Random, event: str) -> Outcome:
    """Disturb one run, resume it to its end, and compare."""
    began = time.monotonic()
    outcome = Outcome()
    place = bench.folder / f"run{number}"
    place.mkdir()
    output = place / "out.zarr"
    disturb(bench, outcome, output, event, dice)
    check_record(output, outcome)
    if dice.random() < 0.5:
        disturb(bench, outcome, output, dice.choice(EVENTS), dice)
        check_record(output, outcome)
    last = bench.start(output, 1)
    if last.wait(LONGEST_S) != 0:
        outcome.faults.append(f"the last, undisturbed resumption exited with {last.returncode}")
    found = contents(output) if output.exists() else {}
    wrong = sorted(name for name in found.keys() | bench.expected.keys() if found.get(name) != bench.expected.get(name))
    if wrong:
        outcome.faults.append(f"differs from the undisturbed store in {', '.join(wrong[:5])}")
    beside = sorted(path.name for path in place.iterdir() if path != output)
    if beside:
        outcome.faults.append(f"left beside it: {', '.join(beside)}")
    if not wait_for(lambda: not left_running(output), 60):
        outcome.faults.append("a process was left running")
    outcome.seconds = time.monotonic() - began
    if not outcome.faults:
        shutil.rmtree(place)
        (bench.folder / f"{place.name}.log").unlink(missing_ok=True)
    return outcome


def check_record(output: Path, outcome: Outcome) -> None:
    """Whatever is recorded as done must be there. Rows that a dead worker still writes are not yet recorded."""
    if not (output / GROUP / "zarr.json").exists():
        return
    found = verify(output)
    outcome.faults += [f"recorded as done: {fault}" for fault in found.faults if "not built" not in fault]


def left_running(output: Path) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(output) in (p.info["cmdline"] or [])]


def wait_for(ready: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so, at most so long; was it?"""
    ends = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def child(folder: str, output: str, workers: str, fault: str, seed: str) -> int:
    """One run, in a process of its own; with a fault, its store and its record refuse now and then."""
    if fault:
        refuse_now_and_then(errno.ENOSPC if fault == "enospc" else errno.EIO, random.Random(int(seed)))
    try:
        restore(Path(folder), Path(output), int(workers))
    except InUseError:
        return REFUSED
    except FluorsrError:
        return FAILED
    return 0


def refuse_now_and_then(code: int, dice: random.Random) -> None:
    write, flush = OmeZarrWriter._write, Journal.flush

    def failing(kind: Callable[..., None], path: Callable[..., Path]) -> Callable[..., None]:
        def call(self: Any, *words: Any) -> None:
            drawn = dice.random()
            if drawn > REFUSALS / 2:
                kind(self, *words)
            if drawn < REFUSALS:
                raise storage_error(path(self), "writing", OSError(code, os.strerror(code)))

        return call

    OmeZarrWriter._write = failing(write, lambda writer: writer.path)  # type: ignore[method-assign]
    Journal.flush = failing(flush, lambda journal: journal.group)  # type: ignore[method-assign]


def chaos(folder: Path, runs: int, seed: int, events: tuple[str, ...] = EVENTS) -> list[Outcome]:
    """So many runs; the first events in turn, so that each happens."""
    dice = random.Random(seed)
    bench = Bench.make(folder)
    outcomes = []
    for number in range(runs):
        outcomes.append(one_run(bench, number, dice, events[number % len(events)]))
        done = outcomes[-1]
        state = "; ".join(done.faults) or "identical"
        print(f"{number + 1:3d}/{runs}  {', '.join(done.events):40s} {done.seconds:5.0f} s  {state}", flush=True)
    return outcomes


def main() -> int:
    """Run the chaos; the exit status."""
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary one")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = chaos(folder, given.runs, given.seed)
    bad = [outcome for outcome in outcomes if outcome.faults]
    counts = Counter(event for outcome in outcomes for event in outcome.events)
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} runs ended identical; events: {dict(counts)}")
    if given.json:
        summary = {"runs": len(outcomes), "bad": len(bad), "events": counts, "outcomes": [vars(o) for o in outcomes]}
        given.json.write_text(json.dumps(summary, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
