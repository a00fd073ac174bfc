"""Latency of live restoration: fluorsr-host beside a plain Python loop with the same model and the same frames.

    bash tools/host.sh && python tools/bench/live.py [--frames 100] [--size 512] [--threads 1]

The plain loop is what one writes first: the eager float32 network, each frame normalised by its percentiles, restored
whole, rounded. fluorsr-host runs the export in bf16 and in fp32. A line of JSON each: milliseconds from when a frame is
taken up to its restored pixels; for the host that is `restore_ms`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.export.torchscript import export_torchscript
from fluorsr.models.load import load_module
from fluorsr.pipeline.run import DEFAULT_MODEL

HOST = Path(__file__).parents[2] / "build/host/fluorsr-host"


def camera(count: int, size: int) -> NDArray[np.uint16]:
    """Frames of one scene under shot noise: uint16 [count, size, size]."""
    rng = np.random.default_rng(0)
    scene = rng.gamma(0.5, 60, (size, size))
    return np.stack([rng.poisson(scene) for _ in range(count)]).astype(np.uint16)


def plain_loop(model: str, frames: NDArray[np.uint16], threads: int) -> dict[str, float]:
    """The loop one writes first."""
    module, _ = load_module(model)
    torch.set_num_threads(threads)
    latencies = []
    with torch.inference_mode():
        for frame in frames:
            began = time.perf_counter()
            low, high = np.percentile(frame, (0.1, 99.9))
            x = torch.from_numpy((frame.astype(np.float32) - low) / (high - low)).float()[None, None]
            y = module(x)[0, 0].numpy() * (high - low) + low
            y.round().clip(0, 65535).astype(np.uint16)
            latencies.append(1e3 * (time.perf_counter() - began))
    return {f"p{p}": float(np.percentile(latencies, p)) for p in (50, 90, 99)}


def host(model: str, frames: NDArray[np.uint16], threads: int, precision: str) -> dict[str, Any]:
    """The same frames through fluorsr-host's standard input."""
    side = frames.shape[-1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ts"
        export_torchscript(model, path, precision=precision)
        done = subprocess.run(
            [HOST, path, "--in", "-", "--out", "/dev/null", "--size", f"{side}x{side}", "--threads", str(threads)],
            input=frames.tobytes(),
            capture_output=True,
            check=True,
        )
    report: dict[str, Any] = json.loads(done.stderr)
    return report


def main() -> None:
    """Print a line of JSON for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    frames = camera(arguments.frames, arguments.size)
    print(json.dumps({"plain Python loop, fp32": plain_loop(arguments.model, frames, arguments.threads)}))
    for precision in ("fp32", "bf16"):
        print(json.dumps({f"fluorsr-host, {precision}": host(arguments.model, frames, arguments.threads, precision)}))


if __name__ == "__main__":
    main()
