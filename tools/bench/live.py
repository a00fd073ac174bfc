"""Live restoration: fluorsr-host on a long stream from a simulated camera, beside a plain Python loop.

    bash tools/host.sh && python tools/bench/live.py [--model M] [--frames 1000] [--size 512] [--threads 1 2]

The camera gives frames of the simulator's usual structures, uint16. fluorsr-host restores the stream from its standard
input with the export in fp32 and in bf16; more than one thread works on tiles of half the frame. The plain loop is what
one writes first: the eager float32 network of the same model, each frame normalised by its percentiles, restored whole,
rounded; of it `--loop-frames` are timed. A row is milliseconds from when a frame is taken up to its restored pixels
(the host's `restore_ms`), frames a second, and by how many MiB the host's resident memory grew from the stream's first
tenth to its half, in which the allocator settles, and from there to the end. `--device cuda` runs both on a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.export.source import TAKES, noise_fixed, open_source
from fluorsr.export.torchscript import export_torchscript
from fluorsr.pipeline.run import DEFAULT_MODEL

HOST = Path(__file__).parents[2] / "build/host/fluorsr-host"
SCENES = 16


@dataclass(frozen=True)
class Figures:
    """Of one way to restore a stream: milliseconds a frame, frames a second, MiB gained (empty where not measured)."""

    frames: int
    p50: float
    p99: float
    per_second: float
    gained_mib: tuple[float, ...] = ()

    def row(self, name: str, threads: int, against: Figures) -> str:
        """A line of the table."""
        gained = ", ".join(f"{each:.1f}" for each in self.gained_mib)
        return (
            f"| {name} | {threads} | {self.frames} | {self.p50:.1f} | {self.p99:.1f} | {against.p99 / self.p99:.2f} | "
            f"{self.per_second:.2f} | {gained} |"
        )


def camera(size: int, frames: int) -> list[NDArray[np.uint16]]:
    """What the camera sees, over and over: SCENES simulated recordings, each [frames, size, size]."""
    modality = {1: "confocal-280", 3: "sim-3", 9: "sim-3x3", 15: "sim-3x5"}[frames]
    config = configure(modality, fixed=True, size_px=size)
    return [np.ascontiguousarray(simulate_pair(config, 2024, i).degraded) for i in range(SCENES)]


def plain_loop(model: str, scenes: list[NDArray[np.uint16]], frames: int, threads: int, device: str) -> Figures:
    """The loop one writes first."""
    network = noise_fixed(open_source(model)).module.to(device)
    torch.set_num_threads(threads)
    times = []
    with torch.inference_mode():
        for number in range(frames + 2):  # two to warm up
            frame = scenes[number % len(scenes)]
            began = time.perf_counter()
            low, high = np.percentile(frame, (0.1, 99.9))
            x = torch.from_numpy((frame.astype(np.float32) - low) / (high - low)).float()[None].to(device)
            y = network(x)[0, 0].cpu().numpy() * (high - low) + low
            y.round().clip(0, 65535).astype(np.uint16)
            times.append(1e3 * (time.perf_counter() - began))
    times = times[2:]
    p50, p99 = np.percentile(times, (50, 99))
    return Figures(frames, float(p50), float(p99), 1e3 * len(times) / sum(times))


def host(
    program: Path, scenes: list[NDArray[np.uint16]], frames: int, threads: int, device: str, tile: int | None
) -> Figures:
    """The stream through fluorsr-host, which is watched while it runs."""
    side = scenes[0].shape[-1]
    command = [
        str(HOST),
        str(program),
        "--in",
        "-",
        "--out",
        "/dev/null",
        "--size",
        f"{side}x{side}",
        "--device",
        device,
    ]
    command += ["--threads", str(threads), *(["--tile", str(tile)] if tile else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        watched = psutil.Process(process.pid)
        resident = []
        payloads = [scene.tobytes() for scene in scenes]
        for number in range(frames):
            process.stdin.write(payloads[number % len(payloads)])
            resident.append(watched.memory_info().rss)
        process.stdin.close()
        said = process.stderr.read().decode()
    if process.returncode:
        raise SystemExit(f"fluorsr-host failed: {said}")
    report = json.loads(said)
    assert report["frames"] == frames
    gained = tuple((b - a) / 2**20 for a, b in pairwise((resident[frames // 10], resident[frames // 2], resident[-1])))
    return Figures(
        frames, report["restore_ms"]["p50"], report["restore_ms"]["p99"], report["frames_per_second"], gained
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--loop-frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    source, device = open_source(arguments.model), arguments.device
    spec = source.spec
    if TAKES in source.notes:
        raise SystemExit(f"{spec.name} takes {source.notes[TAKES]}: no camera gives those")
    scenes = camera(arguments.size, spec.frames)
    print(f"{spec.name}, {arguments.size} x {arguments.size}, {device}\n")
    print("| way | threads | frames | p50 ms | p99 ms | p99: times lower | frames/s | MiB gained, then |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for threads in arguments.threads:
            loop = plain_loop(arguments.model, scenes, arguments.loop_frames, threads, device)
            print(loop.row("plain Python loop, fp32", threads, loop), flush=True)
            half = -(-arguments.size // (2 * spec.multiple)) * spec.multiple + 2 * spec.halo
            for precision in ("fp32", "bf16"):
                program = Path(folder) / f"{precision}.ts"
                if not program.exists():
                    export_torchscript(arguments.model, program, precision=precision)
                tile = half if threads > 1 and spec.exact else None
                found = host(program, scenes, arguments.frames, threads, device, tile)
                print(found.row(f"fluorsr-host, {precision}", threads, loop), flush=True)


if __name__ == "__main__":
    main()
