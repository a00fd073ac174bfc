"""One input, many ways: does every run write the same pixels?

    python tools/same_bytes.py [--blocks 1024 2048 4096] [--workers 1 2 4] [--models edsr unet_sim sr3] [--size Y X]
                               [--json out.json]

For a small EDSR, U-Net for SIM and SR3 (one sample) with random weights, on the CPU, one input is restored in blocks of
each size, by each number of worker processes, and in a run that is killed (SIGKILL) half-way and resumed. All must have
the same CRC32C of every array of the store (all levels); with the same blocks, the same files byte for byte.
Exits 1 where one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import nn

from fluorsr.errors import NotFoundError
from fluorsr.io.open import open_image
from fluorsr.models.architectures import build
from fluorsr.models.reach import measure_module
from fluorsr.models.weights import save_weights
from fluorsr.pipeline import journal
from fluorsr.pipeline.run import infer
from fluorsr.restorer import RestorerSpec
from fluorsr.tiling.blend import crc32c

MODELS: dict[str, dict[str, Any]] = {
    "edsr": {"blocks": 2, "width": 8},
    "unet_sim": {"frames": 9, "widths": (8, 16), "scale": 2},
    "sr3": {"width": 8, "multipliers": (1, 2), "predicts": "v", "steps": 2},
}
STRIP = 1024
LONGEST_S = 600


@dataclass(frozen=True)
class Case:
    """A model and its input, and the options that all its runs share."""

    folder: Path
    name: str
    options: dict[str, Any]

    @classmethod
    def make(cls, folder: Path, name: str, height: int, width: int, stride: int) -> Case:
        """A network with random weights, and an image that it makes [height, width] of in tiles of that stride."""
        torch.manual_seed(0)
        network = build(name, MODELS[name]).eval()
        fill_zeros(network)
        measured = measure_module(network)
        spec = RestorerSpec(name, **vars(measured))
        save_weights(
            folder / f"{name}.safetensors", network, architecture=name, config=MODELS[name], spec=spec, notes={}
        )
        shape: tuple[int, ...] = (height // spec.scale, width // spec.scale)
        shape = (spec.frames, *shape) if spec.frames > 1 else shape
        pixels = np.random.default_rng(0).poisson(200, shape).astype(np.uint16)
        zarr.create_array(folder / f"{name}.zarr", data=pixels, chunks=(*[1] * (len(shape) - 2), 256, 256))
        tile = stride // spec.scale + 2 * spec.halo
        options = {"tile": tile, "device": "cpu", "precision": "fp32"}
        if spec.frames > 1:
            options |= {"frames_axis": "z", "check_frames": False}
        return cls(folder, name, options)

    def run(self, output: Path, **more: Any) -> None:
        source, model = self.folder / f"{self.name}.zarr", self.folder / f"{self.name}.safetensors"
        infer(source, output, model=model, **self.options, **more)

    def run_killed(self, output: Path, block: int) -> int:
        """Start a run in a process of its own, kill it when a third of the blocks is recorded, resume it."""
        words = json.dumps([str(self.folder), self.name, self.options, str(output), block])
        child = subprocess.Popen([sys.executable, __file__, "--child", words])
        ends, done, blocks = time.monotonic() + LONGEST_S, 0, 1
        while 3 * done < blocks:
            if child.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{self.name}: the run ended before it could be killed")
            time.sleep(0.05)
            if (output / journal.GROUP / "zarr.json").exists():
                record = journal.Journal.open(output)
                done, blocks = int(record.done.sum()), len(record)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        killed_at = int(journal.Journal.open(output).done.sum())
        self.run(output, block=block, resume=True)
        return killed_at


def fill_zeros(network: nn.Module) -> None:
    """A diffusion model's last layer begins as nothing: give it something to show."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.normal_(0, 0.05)


def child(words: str) -> None:
    """A run that records each block at once and waits a little after each, so that it can be killed."""
    folder, name, options, output, block = json.loads(words)
    journal.FLUSH_S = 0.0
    Case(Path(folder), name, options).run(Path(output), block=block, progress=lambda _: time.sleep(0.3))


def arrays(store: Path) -> dict[str, str]:
    """CRC32C of the pixels of every level."""
    found: dict[str, str] = {}
    while True:
        level = len(found)
        try:
            image = open_image(store, level=level)
        except NotFoundError:
            return found
        value = 0
        for plane in image.planes():
            for y in range(0, image.size("y"), STRIP):
                rows = slice(y, min(y + STRIP, image.size("y")))
                value = crc32c(image.read(plane, rows, slice(0, image.size("x"))), value)
        found[str(level)] = f"{value:08x}"


def files(store: Path) -> dict[str, str]:
    """Every file below a store, and the hash of its bytes."""
    names = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def compare(case: Case, blocks: list[int], workers: list[int], *, kill: bool = True) -> list[dict[str, Any]]:
    """One row a run: what it was, its arrays' checksums, and what is not as in the first run."""
    rows: list[dict[str, Any]] = []
    written: dict[int, dict[str, str]] = {}  # files by block

    def add(what: str, block: int, output: Path) -> None:
        row: dict[str, Any] = {"model": case.name, "run": what, "arrays": arrays(output), "faults": []}
        if rows and row["arrays"] != rows[0]["arrays"]:
            row["faults"].append("other pixels than the first run")
        if written.setdefault(block, files(output)) != files(output):
            row["faults"].append(f"other files than the first run in blocks of {block}")
        rows.append(row)
        state = "; ".join(row["faults"]) or "identical"
        print(f"{case.name:9s} {what:34s} {' '.join(row['arrays'].values())}  {state}", flush=True)

    for block in blocks:
        for count in workers if block == blocks[0] else workers[:1]:
            output = case.folder / f"{case.name}-{block}-{count}.zarr"
            case.run(output, block=block, workers=count)
            add(f"blocks of {block}, {count} workers", block, output)
    if kill:
        output = case.folder / f"{case.name}-killed.zarr"
        done = case.run_killed(output, blocks[0])
        add(f"killed after {done} blocks, resumed", blocks[0], output)
    return rows


def main() -> int:
    """Run all; the exit status."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1024, 2048, 4096], help="output pixels, rising")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--size", type=int, nargs=2, help="output pixels y x; by default a little more than one block")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    height, width = given.size or (max(given.blocks) + 104,) * 2
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="same-bytes-") as folder:
        for name in given.models:
            case = Case.make(Path(folder), name, height, width, min(given.blocks))
            rows += compare(case, given.blocks, given.workers)
    bad = [row for row in rows if row["faults"]]
    print(f"{len(rows) - len(bad)} of {len(rows)} runs are identical to the first of their model")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
