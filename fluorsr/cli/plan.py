"""`fluorsr plan`: what a run would take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import fluorsr.pipeline.estimate as library
from fluorsr.cli.settings import parse_settings
from fluorsr.pipeline.run import DEFAULT_MODEL

Text = typer.Option


def plan(
    source: Annotated[Path, typer.Argument(metavar="IN", help="As for `fluorsr infer`.")],
    model: Annotated[str, Text(help="As for `fluorsr infer`.")] = DEFAULT_MODEL,
    device: Annotated[str, Text(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, Text(help="auto, fp32 or bf16.")] = "auto",
    engine: Annotated[str, Text(help="torch or openvino.")] = "torch",
    steps: Annotated[int | None, Text(help="Of a diffusion model.")] = None,
    trust: Annotated[bool, Text("--trust", help="As for `fluorsr infer`.")] = False,
    channels: Annotated[str | None, Text(help="As for `fluorsr infer`; so are the next three.")] = None,
    z: Annotated[str | None, Text()] = None,
    t: Annotated[str | None, Text()] = None,
    region: Annotated[str | None, Text()] = None,
    level: Annotated[int, Text(help="Resolution level of an OME-Zarr to read.")] = 0,
    frames_axis: Annotated[str | None, Text(help="Axis that holds a SIM model's raw frames.")] = None,
    setting: Annotated[list[str] | None, Text("--set", metavar="KEY=VALUE", help="As for `fluorsr infer`.")] = None,
    samples: Annotated[int | None, Text(help="As for `fluorsr infer`; so is --tta.")] = None,
    tta: Annotated[bool, Text("--tta")] = False,
    tile: Annotated[int | None, Text(help="Tile in input pixels.")] = None,
    batch: Annotated[int | None, Text(help="Tiles a model call.")] = None,
    dtype: Annotated[str, Text(help="same, uint8, uint16 or float32.")] = "same",
    workers: Annotated[int, Text(help="Machines like this one, for the time.")] = 1,
    threads: Annotated[int | None, Text(help="Tiles at a time. Default the CPU cores.")] = None,
    seconds: Annotated[float, Text(help="How long the trial may take.")] = library.CALIBRATION_S,
    as_json: Annotated[bool, Text("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what restoring IN would take: blocks, tiles, disk, memory, time. Nothing is kept.

    The time comes from a trial of at most about 20 seconds: some blocks are restored for real and thrown away.
    """
    found = library.estimate(
        source,
        model=model,
        device=device,
        precision=precision,
        engine=engine,
        steps=steps,
        trust=trust,
        channels=channels,
        z=z,
        t=t,
        region=region,
        level=level,
        frames_axis=frames_axis,
        options=parse_settings(setting),
        samples=samples,
        tta=tta,
        tile=tile,
        batch=batch,
        dtype=dtype,
        workers=workers,
        threads=threads,
        calibration_s=seconds,
    )
    if as_json:
        print(json.dumps(found.to_json()))
        return
    table = Table(show_header=False, box=None, padding=(0, 1))
    shape = ", ".join(f"{axis} {length}" for axis, length in found.output_shape.items())
    machines = [f"{_duration(s)} on {n} machine{'s' if n > 1 else ''} like this" for n, s in found.seconds.items()]
    for what, value in (
        ("model", f"{found.model} on {found.device}, {found.precision}"),
        ("output", f"{shape}, {found.dtype}"),
        ("blocks", f"{found.blocks:,} of {found.block[0]} x {found.block[1]} output pixels"),
        ("tiles", f"{found.tiles:,} of {found.tile[0]} x {found.tile[1]} input pixels"),
        ("halo overhead", f"{found.halo_overhead_percent:.0f} % more pixels in tiles than kept"),
        ("disk", f"about {found.output_bytes / 1e9:.3g} GB ({found.output_bytes_raw / 1e9:.3g} GB not compressed)"),
        ("memory", f"{found.memory_bytes / 2**30:.2f} GiB a worker"),
        ("time", "; ".join(machines)),
        ("trial", found.trial),
    ):
        table.add_row(f"[bold]{what}[/]", value)
    Console().print(table, highlight=False)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
