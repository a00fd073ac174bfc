"""Where a run's time goes: processor seconds of each step of the pipeline, and what is left over.

    python tools/bench/infer_profile.py IN.zarr [--model edsr-confocal-sted-x2] [--precision auto] [--threads 2]

Restores IN.zarr into a scratch folder in this process, its steps timed by the processor clock of the thread that runs
them. "the rest" is the process's time outside them: scheduling, the record, the store's own threads, fitting the range.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import fluorsr.pipeline.worker as worker_module
import fluorsr.predict as predict_module
from fluorsr.io.zarr_writer import OmeZarrWriter
from fluorsr.models.load import LoadedModel
from fluorsr.pipeline.run import infer

STEPS: tuple[tuple[str, Any, str], ...] = (
    ("read, decode", predict_module, "read_source"),
    ("checksum of the input", predict_module, "source_crc32c"),
    ("cut and normalise", predict_module, "extract"),
    ("model", LoadedModel, "restore"),
    ("blend, denormalise, round", predict_module, "blend"),
    ("encode, write, fsync", OmeZarrWriter, "write"),
    ("checksum of the output", worker_module, "_checksums"),
    ("upper levels", OmeZarrWriter, "build_tail"),
)


class Clock:
    """Processor seconds by step, over all threads."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                with self._lock:
                    self.seconds[step] += time.thread_time() - started
                    self.calls[step] += 1

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--model", default="edsr-confocal-sted-x2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    options = parser.parse_args()
    clock = Clock()
    for step, owner, name in STEPS:
        setattr(owner, name, clock.timed(step, getattr(owner, name)))
    used, started = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.source.parent) as folder:
        done = infer(
            options.source,
            Path(folder) / "out.zarr",
            model=options.model,
            device="cpu",
            engine=options.engine,
            precision=options.precision,
            threads=options.threads,
        )
    wall, used = time.perf_counter() - started, time.process_time() - used
    print(f"{wall:.1f} s, of which {done.restore_seconds:.1f} s restoring; {used:.1f} processor seconds\n")
    print("| step | calls | processor seconds | share |\n|---|---:|---:|---:|")
    rest = used - sum(clock.seconds.values())
    for step, seconds in (*sorted(clock.seconds.items(), key=lambda item: -item[1]), ("the rest", rest)):
        print(f"| {step} | {clock.calls[step] or ''} | {seconds:.2f} | {100 * seconds / used:.1f} % |")


if __name__ == "__main__":
    main()
