"""Does a gigapixel run stay in bounded memory, and cost the same per pixel as a small one?

    python tools/bench/gigapixel.py --folder /tmp/gigapixel [--sizes 4096 32768] [--json out.json]

Runs `fluorsr infer` on square uint16 images with a model that costs next to nothing (nearest 2x), so that what is
measured is the pipeline, and sums the resident memory of the whole process tree every 20 ms.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout

BLOCK = 2048


class Nearest2x(torch.nn.Module):
    """[B, 1, Y, X] -> [B, 1, 2Y, 2X]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def make_input(path: Path, size: int) -> None:
    """A noisy image: shot noise on smooth stripes, so that it compresses as camera images do."""
    writer = create_image(
        path, Layout("yx", (size, size), "uint16", {"y": 0.06, "x": 0.06}, block=(BLOCK, BLOCK)), provenance={}
    )
    rng = np.random.default_rng(0)
    tile = rng.poisson(100 + 50 * np.sin(np.arange(BLOCK) / 40), (BLOCK, BLOCK)).astype(np.uint16)
    for y in range(0, size, BLOCK):
        for x in range(0, size, BLOCK):
            part = np.roll(tile, (y // 7 + x // 5) % BLOCK, axis=0)[: size - y, : size - x]
            writer.write(PlaneIndex(), y, x, np.ascontiguousarray(part))
    writer.finish()


def run(command: list[str]) -> tuple[dict[str, float], float]:
    """Run `fluorsr infer --json`; returns its summary and the process tree's peak resident memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    tree = psutil.Process(process.pid)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(_resident(p) for p in [tree, *_children(tree)]) / 2**20)
        time.sleep(0.02)
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return json.loads(output), peak


def _children(tree: psutil.Process) -> list[psutil.Process]:
    try:
        return list(tree.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder; needs about 8 GB for 32768")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 32768])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each size up to 8192; larger ones run once")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = options.folder / "nearest2x.pt"
    torch.jit.save(torch.jit.script(Nearest2x()), str(model))
    rows = []
    for size in options.sizes:
        source, output = options.folder / f"in-{size}.zarr", options.folder / f"out-{size}.zarr"
        if not source.exists():
            make_input(source, size)
        for _ in range(options.repeats if size <= 8192 else 1):
            command = [sys.executable, "-m", "fluorsr", "infer", str(source), str(output), "--model", str(model)]
            summary, peak = run([*command, "--overwrite", "--json"])
            rows.append(
                {
                    "size": size,
                    "wall_s": summary["seconds"],
                    "restore_s": summary["restore_seconds"],
                    "restore_ns_per_pixel": 1e9 * summary["restore_seconds"] / size**2,
                    "wall_ns_per_pixel": 1e9 * summary["seconds"] / size**2,
                    "peak_mib": peak,
                }
            )
            print(rows[-1], flush=True)
        shutil.rmtree(output)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
