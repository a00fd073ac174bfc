"""The shipped models on a GPU: python tools/bench/gpu.py [MODEL ...] [--device cuda] [--size 4096] [--json out.json]

Each restores a simulated field of SIZE x SIZE pixels (its raw frames, where it takes several) twice: the first time
prepares kernels. Of the second:

    Mpx/s      million input pixels a second of `fluorsr.infer`, OME-Zarr in and out, start-up left out
    alone      the same of the model by itself, given as many tiles by as many threads: what the device could do
    share      the first over the second: 1 where the device never waits (goal 0.95)
    TFLOP/s    of the model by itself, by count of its convolutions and products
    of peak    those over what the product of two large matrices reaches in bf16

Beside MONAI on the same GPU: tools/bench/infer.py --device cuda. Frames a second of a camera: tools/bench/live.py
--device cuda. `--device cpu --size 512` runs anywhere, to try it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fluorsr.data.simulate import configure
from fluorsr.data.store import simulate_store
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.models.load import LoadedModel, find_device, load
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.pipeline.measure import measurer
from fluorsr.pipeline.prepare import GPU_BATCH
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.summary import Summary
from fluorsr.predict import available_threads, tile_pool
from fluorsr.restorer import Restorer

PRESETS = {1: "confocal-sted", 3: "sim-3", 9: "sim-3x3", 15: "sim-3x5"}
SEED = 2**32 + 3
PEAK_SIDE = {"cuda": 8192, "cpu": 2048}


def make_input(folder: Path, frames: int, size: int) -> Path:
    """A field that any model of so many frames takes, simulated by all processors."""
    source = folder / f"in-{frames}-{size}.zarr"
    if not source.exists():
        sparse = {"thickness": 0.5, "haze": 0.2}
        config = configure(PRESETS[frames], fixed=True, size_px=size, photons=1000, **(sparse if frames > 1 else {}))
        simulate_store(source, config, ["microtubules"], SEED, workers=os.cpu_count() or 1)
    return source


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ready(loaded: LoadedModel, tile: Tensor) -> Restorer:
    """The model as it restores tiles of an image whose stripes, if any, have been measured."""
    inside = measurer(loaded)
    return loaded if inside is None else inside.measured(inside.measure(tile, (0, 0)))


def alone(name: str, source: Path, done: Summary, device: torch.device, threads: int) -> dict[str, float]:
    """The model by itself on as many tiles as the run had, in batches of the run's size."""
    image = open_image(source)
    loaded = load(name, device=str(device), precision=done.precision, pixel_size_um=image.pixel_size_um["x"])
    spec, (height, width) = loaded.spec, done.tile
    batch = GPU_BATCH if device.type == "cuda" else 1
    rows = [image.read(PlaneIndex(t, 0, 0), slice(0, height), slice(0, width)) for t in range(spec.frames)]
    tile = torch.stack([torch.from_numpy(row.astype("float32")) for row in rows])
    low, high = tile.min(), tile.max()
    tiles = ((tile - low) / (high - low)).expand(batch, -1, -1, -1).contiguous()
    restorer, origin = ready(loaded, tiles[0]), torch.zeros(batch, 2, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        restorer.restore(tiles, origin, 0)
    inner = [side - 2 * spec.halo - overlap for side, overlap in zip(done.tile, done.overlap, strict=True)]
    size = done.input_shape["y"], done.input_shape["x"]
    count = -(-size[0] // inner[0]) * -(-size[1] // inner[1])
    batches = -(-count // batch)
    with tile_pool(threads) as pool:
        list(pool.map(lambda _: restorer.restore(tiles, origin, 0), range(threads)))
        wait(device)
        began = time.perf_counter()
        list(pool.map(lambda _: restorer.restore(tiles, origin, 0), range(batches)))
        wait(device)
        seconds = time.perf_counter() - began
    flops = counter.get_total_flops() * batches
    return {"alone_mpx_s": size[0] * size[1] / seconds / 1e6, "tflop_s": flops / seconds / 1e12, "tiles": count}


def peak_tflop_s(device: torch.device) -> float:
    """Of bf16: the best of ten products."""
    side = PEAK_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        wait(device)
        began = time.perf_counter()
        a @ b
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best / 1e12


def measure(name: str, folder: Path, size: int, device: torch.device, threads: int, peak: float) -> dict[str, Any]:
    """One line of the table."""
    frames = describe(name).spec.frames
    source, output = make_input(folder, frames, size), folder / "out.zarr"
    options: dict[str, Any] = {"frames_axis": "t"} if frames > 1 else {}
    for _ in range(2):
        done = infer(source, output, model=name, device=str(device), threads=threads, overwrite=True, **options)
    rate = size * size / done.restore_seconds / 1e6
    own = alone(name, source, done, device, threads)
    share = {"share": rate / own["alone_mpx_s"], "of_peak": own["tflop_s"] / peak}
    return {"precision": done.precision, "tile": done.tile, "mpx_s": rate, **own, **share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="shipped names; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=4096, help="input pixels along each side")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--folder", type=Path, help="keep the inputs here")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = find_device(options.device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chip = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        found: dict[str, Any] = {"device": chip, "peak_tflop_s": peak_tflop_s(device), "size": options.size}
        print(f"{chip}: {found['peak_tflop_s']:.3g} TFLOP/s in bf16; {options.size} x {options.size} input pixels\n")
        print("| model | precision | Mpx/s | alone | share | TFLOP/s | of peak |\n|---|---|---:|---:|---:|---:|---:|")
        for name in options.models or zoo():
            row = measure(name, folder, options.size, device, options.threads, found["peak_tflop_s"])
            found[name] = row
            cells = [f"{row[key]:.3g}" for key in ("mpx_s", "alone_mpx_s", "share", "tflop_s", "of_peak")]
            print(f"| {name} | {row['precision']} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
