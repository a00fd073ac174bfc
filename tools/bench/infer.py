"""End to end on this machine: `fluorsr infer` against MONAI, a plain dask program, and the model alone.

    python tools/bench/infer.py [--size 4096] [--models edsr-confocal-sted-x2 16x64] [--rounds 3] [--json out.json]

One EDSR restores a uint16 zarr array, default chunks, at twice the size. Every part runs in a process of its own, in
turn, round after round; the figures are medians over the rounds, the ratios are taken within a round.

    monai         the EDSR as plain TorchScript, traced layer by layer as published, fp32: load the zarr whole,
                  normalise, sliding_window_inference with gaussian weights, save a zarr; its best tile and batch first
    monai export  the same, given a file of `fluorsr export`: in channels_last order, the last layers in one
    monai bf16    the same, given fluorsr's own channels_last bf16 callable
    dask          what one writes with dask.array alone: chunks of 1024 with the model's own margin from `overlap`, the
                  published network in `map_blocks`, margins cut off again, `to_zarr`, threads
    auto, fp32    `fluorsr infer` with that precision; it writes the pyramid too
    openvino ...  the same with `--engine openvino`, where that is installed
    ... model     the same model on as many tiles, nothing read or written: the rest is what the pipeline adds
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import psutil
import torch
import zarr
from numpy.typing import NDArray
from published import Published
from torch import Tensor

from fluorsr.errors import import_extra
from fluorsr.export.torchscript import export_torchscript
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.edsr import EDSR
from fluorsr.models.load import load, load_module
from fluorsr.models.measure import measure
from fluorsr.models.precision import filaments
from fluorsr.models.torchscript import freeze, quiet_jit
from fluorsr.models.weights import read_card, save_weights
from fluorsr.models.zoo_index import find, zoo
from fluorsr.pipeline.prepare import GPU_BATCH
from fluorsr.predict import tile_pool
from fluorsr.restorer import RestorerSpec

FLUORSR = {"auto": ("torch", "auto"), "fp32": ("torch", "fp32")}
"""Engine and precision of each part that is fluorsr."""
PEERS = ("monai", "monai export", "monai bf16", "dask")
OPENVINO = {"openvino auto": ("openvino", "auto"), "openvino fp32": ("openvino", "fp32")}
DASK_CHUNK = 1024


@dataclass
class Setting:
    """One model on one input. `roi` and `batch` are MONAI's best, `published` what peers are given for the network."""

    model: str
    weights: Path
    published: Path
    exported: Path
    source: Path
    folder: Path
    device: str = "cpu"
    roi: int = 0
    batch: int = 0


# --- parts: each runs in its own process, through `--part`, and prints one JSON object ---


def monai_part(
    model: Callable[[Tensor], Tensor], device: str, source: Path, output: Path, roi: int, batch: int, overlap: float
) -> dict[str, Any]:
    """What a careful MONAI user runs: the image in memory, of a GPU its own, the result in memory."""
    sliding_window_inference = import_extra("monai.inferers", "bench").sliding_window_inference
    started = time.perf_counter()
    image = read_array(source)
    low, high = np.percentile(image, (0.1, 99.9))
    pixels = torch.from_numpy((image.astype(np.float32) - np.float32(low)) / np.float32(high - low))
    with torch.inference_mode():
        given = pixels[None, None].to(device)
        restored = sliding_window_inference(given, (roi, roi), batch, model, overlap, mode="gaussian")
    write_array(output, to_uint16(restored[0, 0].cpu().numpy(), low, high))
    return {"seconds": time.perf_counter() - started}


def dask_part(program: Path, source: Path, output: Path, halo: int, scale: int, threads: int) -> dict[str, Any]:
    """What a careful dask user runs: `map_overlap` in its two halves, since the model changes the size."""
    started = time.perf_counter()
    model = scripted(program, "cpu")
    image = dask.array.from_zarr(source, chunks=(DASK_CHUNK, DASK_CHUNK))
    low, high = np.percentile(read_array(source), (0.1, 99.9))

    def restore(block: NDArray[Any]) -> NDArray[Any]:
        pixels = torch.from_numpy((block.astype(np.float32) - np.float32(low)) / np.float32(high - low))
        with torch.inference_mode():
            restored = model(pixels[None, None])[0, 0].numpy()
        inner = slice(scale * halo, -scale * halo)
        return to_uint16(restored[inner, inner], low, high)

    chunks = tuple(tuple(scale * length for length in axis) for axis in image.chunks)
    margins = dask.array.overlap.overlap(image, depth=halo, boundary="reflect")
    restored = margins.map_blocks(restore, dtype=np.uint16, chunks=chunks, meta=np.empty((0, 0), np.uint16))
    torch.set_num_threads(1)
    with dask.config.set(scheduler="threads", num_workers=threads):
        restored.to_zarr(str(output), overwrite=True)
    return {"seconds": time.perf_counter() - started}


def scripted(program: Path, device: str) -> Callable[[Tensor], Tensor]:
    """The TorchScript file, as everybody loads it."""
    with quiet_jit():
        model: Callable[[Tensor], Tensor] = torch.jit.load(str(program), map_location=device).eval()  # type: ignore[no-untyped-call]
    return model


def own_callable(weights: str, device: str) -> Callable[[Tensor], Tensor]:
    """fluorsr's own: channels_last, bfloat16."""
    tune_allocator()
    model = load(weights, device=device, precision="bf16")
    return lambda tiles: model.restore(tiles, torch.zeros(len(tiles), 2, dtype=torch.int64), 0)


def to_uint16(restored: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    scaled = restored * np.float32(high - low) + np.float32(low)
    return np.asarray(np.rint(scaled).clip(0, 65535), np.uint16)


def model_part(
    weights: str, device: str, engine: str, precision: str, tile: int, count: int, threads: int
) -> dict[str, Any]:
    """The model on `count` tiles, from `threads` threads, in a run's batches: no reading, blending or writing."""
    tune_allocator()
    model = load(weights, device=device, precision=precision, engine=engine)
    batch = 1 if device == "cpu" else GPU_BATCH
    tiles = filaments(model.spec.frames, tile).expand(batch, -1, -1, -1).contiguous()
    origin = torch.zeros(batch, 2, dtype=torch.int64)
    count = -(-count // batch)
    with tile_pool(threads) as pool:
        list(pool.map(lambda _: model.restore(tiles, origin, 0), range(threads)))  # the first call prepares kernels
        started = time.perf_counter()
        list(pool.map(lambda _: model.restore(tiles, origin, 0), range(count)))
        return {"seconds": time.perf_counter() - started, "precision": model.precision}


def run_part(part: str, arguments: list[str]) -> dict[str, Any]:
    if part.startswith("monai"):
        model, device, source, output, roi, batch, overlap = arguments
        callable_ = own_callable(model, device) if part == "monai bf16" else scripted(Path(model), device)
        return monai_part(callable_, device, Path(source), Path(output), int(roi), int(batch), float(overlap))
    if part == "dask":
        program, source, output, halo, scale, threads = arguments
        return dask_part(Path(program), Path(source), Path(output), int(halo), int(scale), int(threads))
    weights, device, engine, precision, tile, count, threads = arguments
    return model_part(weights, device, engine, precision, int(tile), int(count), int(threads))


def read_array(path: Path) -> NDArray[Any]:
    return np.asarray(zarr.open_array(path, mode="r")[:])


def write_array(path: Path, pixels: NDArray[Any]) -> None:
    zarr.create_array(store=path, data=pixels, overwrite=True)


# --- the driver ---


def watch(command: list[str]) -> dict[str, Any]:
    """Run a command that prints one JSON object: its object, with wall and CPU seconds and the tree's peak in MiB."""
    started, cpu = time.perf_counter(), _children_cpu()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    with ThreadPoolExecutor(1) as reader:
        output = reader.submit(process.communicate)
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.02)
        printed, errors = output.result()
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors}")
    return {
        **json.loads(printed.strip().splitlines()[-1]),
        "wall": wall,
        "cpu": _children_cpu() - cpu,
        "peak_mib": peak / 2**20,
    }


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(pid: int) -> int:
    try:
        tree = psutil.Process(pid)
        return sum(int(process.memory_info().rss) for process in (tree, *tree.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def part_command(part: str, *arguments: object) -> list[str]:
    return [sys.executable, __file__, "--part", part, *map(str, arguments)]


def make_input(path: Path, size: int) -> None:
    """Filaments and noise as uint16, different in every 1024-pixel field; zarr's default chunks."""
    field = (200 + 3000 * filaments(1, 1024)[0, 0].numpy()).astype(np.float32)
    rng = np.random.default_rng(0)
    image = np.empty((size, size), np.uint16)
    for y in range(0, size, 1024):
        for x in range(0, size, 1024):
            turned = np.rot90(np.roll(field, (y + 3 * x) // 7, axis=0), (y + x) // 1024)
            image[y : y + 1024, x : x + 1024] = rng.poisson(turned)[: size - y, : size - x]
    write_array(path, image)


def make_weights(model: str, folder: Path) -> Path:
    """A shipped model's or the user's file; or, for "16x64", an untrained EDSR of 16 blocks of 64 features."""
    if model in zoo():
        return find(model)
    blocks, _, width = model.partition("x")
    if not (blocks.isdecimal() and width.isdecimal()):
        return Path(model)
    config = {"blocks": int(blocks), "width": int(width), "scale": 2, "residual_scaling": 0.1}
    torch.manual_seed(0)
    module = build("edsr", config).eval()
    path = folder / f"edsr-{model}.safetensors"
    spec = RestorerSpec(f"edsr-{model}", **vars(measure(module)))
    save_weights(path, module, architecture="edsr", config=config, spec=spec, notes={})
    return path


def save_published(weights: Path, path: Path) -> None:
    """The network layer by layer as plain TorchScript: traced, frozen, saved, with nothing of fluorsr's around it."""
    module, spec = load_module(weights)
    plain = Published(module).eval() if isinstance(module, EDSR) else module
    program = freeze(plain, torch.rand(1, spec.frames, 64, 64))
    with quiet_jit():
        torch.jit.save(program, path)


def tune_monai(setting: Setting, overlap: float) -> None:
    """Find MONAI's fastest tile and batch on a crop of 1024."""
    crop = setting.folder / "crop.zarr"
    write_array(crop, read_array(setting.source)[:1024, :1024])
    found = {}
    for roi, batch in ((256, 1), (256, 4), (512, 1), (512, 4), (1024, 1)):
        output = setting.folder / "crop-out.zarr"
        part = part_command("monai", setting.published, setting.device, crop, output, roi, batch, overlap)
        found[roi, batch] = min(watch(part)["seconds"] for _ in range(2))
    setting.roi, setting.batch = min(found, key=lambda key: found[key])
    print(f"MONAI on a crop, seconds by (tile, batch): {found}", file=sys.stderr)


def bench_round(setting: Setting, size: int, threads: int, overlap: float, *, backwards: bool) -> dict[str, Any]:
    """Every part once. The order alternates, so that a machine that grows slower favours nobody."""
    results: dict[str, Any] = {}
    spec = read_card(setting.weights).spec
    parts = (*PEERS, *FLUORSR)
    for part in parts[::-1] if backwards else parts:
        output = setting.folder / f"{part.replace(' ', '-')}.zarr"
        shutil.rmtree(output, ignore_errors=True)
        if part == "dask":
            arguments = (setting.published, setting.source, output, spec.halo, spec.scale, threads)
            results[part] = watch(part_command(part, *arguments))
            continue
        if part in PEERS:
            given = {"monai": setting.published, "monai export": setting.exported}.get(part, setting.weights)
            tiles = (setting.roi, setting.batch, overlap)
            results[part] = watch(part_command(part, given, setting.device, setting.source, output, *tiles))
            continue
        command = [sys.executable, "-m", "fluorsr", "infer", str(setting.source), str(output)]
        engine, precision = FLUORSR[part]
        options = ["--model", str(setting.weights), "--device", setting.device, "--engine", engine]
        options += ["--precision", precision, "--threads", str(threads), "--json"]
        results[part] = watch([*command, *options])
        tile = int(results[part]["tile"][0])
        stride = tile - 2 * spec.halo - int(results[part]["overlap"][0])
        count = math.ceil(size / stride) ** 2
        kind = results[part]["precision"]
        model = part_command("model", setting.weights, setting.device, engine, kind, tile, count, threads)
        results[f"{part} model"] = watch(model)
    return results


def compare(setting: Setting) -> dict[str, float]:
    """PSNR in dB of each output against fluorsr's fp32, over that one's range."""
    exact = read_array(setting.folder / "fp32.zarr" / "0").astype(np.float64)
    found = {}
    for part in (*PEERS, *FLUORSR):
        if part == "fp32":
            continue
        path = f"{part.replace(' ', '-')}.zarr" + ("" if part in PEERS else "/0")
        error = np.mean((read_array(setting.folder / path) - exact) ** 2)
        found[part] = math.inf if error == 0 else float(10 * np.log10(np.ptp(exact) ** 2 / error))
    return found


def table(setting: Setting, rounds: list[dict[str, Any]], psnr: dict[str, float], size: int) -> str:
    """A Markdown table of medians; the ratios are medians of the ratios within a round."""

    def median(part: str, key: str) -> float:
        return float(statistics.median(one[part][key] for one in rounds))

    def ratio(part: str, key: str) -> float:
        return float(statistics.median(one["monai"][key] / one[part][key] for one in rounds))

    lines = [
        f"### {setting.model}: {size} x {size} to {2 * size} x {2 * size}, MONAI tile {setting.roi}, "
        f"batch {setting.batch}; medians of {len(rounds)}",
        "",
        "| part | s with start-up | times MONAI | s without start-up | times MONAI | CPU s | peak MiB | dB from fp32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in (*PEERS, *FLUORSR, *(f"{part} model" for part in FLUORSR)):
        name = f"{part} ({rounds[0][part]['precision']})" if part.endswith("auto") else part
        cells = [f"{median(part, 'wall'):.2f}", f"{ratio(part, 'wall'):.2f}", f"{median(part, 'seconds'):.2f}"]
        cells += [f"{ratio(part, 'seconds'):.2f}", f"{median(part, 'cpu'):.1f}", f"{median(part, 'peak_mib'):.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {f'{psnr[part]:.1f}' if part in psnr else ''} |")
    for part in FLUORSR:
        added = statistics.median(one[part]["seconds"] / one[f"{part} model"]["seconds"] for one in rounds) - 1
        lines.append(f"\nThe pipeline adds {100 * added:.1f} % to the time of the model alone ({part}).")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--models", nargs="+", default=["edsr-confocal-sted-x2"], help="names, files, or e.g. 16x64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cuda: MONAI and fluorsr on a GPU; dask stays on the CPU")
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    parser.add_argument(
        "--overlap", type=float, default=0.25, help="MONAI's, as a part of the tile; 0.25 is its default"
    )
    parser.add_argument("--openvino", action=argparse.BooleanOptionalAction, default=find_spec("openvino") is not None)
    parser.add_argument("--monai", type=int, nargs=2, metavar=("TILE", "BATCH"), help="instead of searching the best")
    parser.add_argument("--folder", type=Path, default=Path("bench-infer"), help="scratch folder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(run_part(options.part[0], options.part[1:])))
        return
    if options.openvino and options.device == "cpu":
        FLUORSR.update(OPENVINO)
    import_extra("monai.inferers", "bench")
    options.folder.mkdir(parents=True, exist_ok=True)
    source = options.folder / f"in-{options.size}.zarr"
    if not source.exists():
        make_input(source, options.size)
    found = {}
    for model in options.models:
        weights = make_weights(model, options.folder)
        published, exported = (options.folder / f"{weights.stem}{suffix}.ts" for suffix in ("-published", ""))
        setting = Setting(model, weights, published, exported, source, options.folder, options.device)
        export_torchscript(weights, exported)
        save_published(weights, published)
        if options.monai:
            setting.roi, setting.batch = options.monai
        else:
            tune_monai(setting, options.overlap)
        rounds = []
        for at in range(options.rounds):
            rounds.append(bench_round(setting, options.size, options.threads, options.overlap, backwards=at % 2 == 1))
            seconds = {part: round(rounds[-1][part]["wall"], 2) for part in (*PEERS, *FLUORSR)}
            print(f"round {at + 1}: {seconds}", file=sys.stderr)
        psnr = compare(setting)
        found[model] = {"rounds": rounds, "psnr_db": psnr, "tile": setting.roi, "batch": setting.batch}
        print(table(setting, rounds, psnr, options.size), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
