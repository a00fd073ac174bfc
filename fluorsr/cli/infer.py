"""`fluorsr infer` (`fluorsr-infer`): restore an image of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import fluorsr.pipeline.run as library
import fluorsr.pipeline.summary as told
from fluorsr.cli.settings import parse_settings
from fluorsr.errors import InputError
from fluorsr.models.samplers import SAMPLERS
from fluorsr.pipeline.cluster import read_slurm, slurm_script

Text = typer.Option


def infer(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="OME-Zarr (0.4, 0.5), zarr array, TIFF or OME-TIFF; or the address of a zarr: s3://, gs://, https://.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="OME-Zarr; or .tif for a small image.")],
    model: Annotated[
        str,
        Text(help="A shipped model or a classical method (`fluorsr models`), or a file: .safetensors, TorchScript."),
    ] = library.DEFAULT_MODEL,
    device: Annotated[str, Text(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, Text(help="auto, fp32 or bf16. auto takes bf16 where it is fast and true.")] = "auto",
    engine: Annotated[
        str, Text(help="torch, or openvino (`pip install 'fluorsr[cpu]'`): `fluorsr plan` tells which is faster here.")
    ] = "torch",
    steps: Annotated[int | None, Text(help="Network evaluations of a diffusion model. Default the model's.")] = None,
    sampler: Annotated[
        str | None, Text(help=f"Of a diffusion model: {', '.join(SAMPLERS)}. Default the model's.")
    ] = None,
    channels: Annotated[str | None, Text(help="Channel names or indices: `tubulin,2`. Default all.")] = None,
    z: Annotated[str | None, Text(help="Slices: `3`, `2:8` or `0,4:6`. Default all.")] = None,
    t: Annotated[str | None, Text(help="Time points, like --z. Default all.")] = None,
    region: Annotated[str | None, Text(help="Input pixels `y0:y1,x0:x1`. Default the whole image.")] = None,
    level: Annotated[int, Text(help="Resolution level of an OME-Zarr to read.")] = 0,
    frames_axis: Annotated[str | None, Text(help="Axis that holds a SIM model's raw frames: z, c, t or q.")] = None,
    frames: Annotated[str | None, Text(help="Which frames a SIM model is given: `0,5,10 of 15`. Default all.")] = None,
    frame_order: Annotated[str, Text(help="angle or phase: which of them changes slowest along it.")] = "angle",
    check_frames: Annotated[bool, Text(help="Look whether the frames are what was declared.")] = True,
    setting: Annotated[
        list[str] | None,
        Text(
            "--set",
            metavar="KEY=VALUE",
            help="Option of a classical method: `iterations=20`. Of raw SIM frames, for dark ones: `stripes=FILE` of "
            "`fluorsr info --save-stripes`.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        Text(help="Draw N samples of a diffusion model: OUT is their mean, OUT/deviation their standard deviation."),
    ] = None,
    tta: Annotated[
        bool, Text("--tta", help="The mean over the 8 symmetries of the square; takes 8 times as long.")
    ] = False,
    skip_empty: Annotated[
        str | None,
        Text(
            metavar="auto|COUNTS",
            help="Leave out tiles in which no mean over 4 x 4 pixels is above so many counts: they become flat "
            "background. auto: 6 noises of such a mean above the image's background. The rule is printed.",
        ),
    ] = None,
    tile: Annotated[int | None, Text(help="Tile in input pixels. Default chosen.")] = None,
    overlap: Annotated[int | None, Text(help="Cross-fade between tiles. Default 0 where the model is exact.")] = None,
    batch: Annotated[int | None, Text(help="Tiles a model call. Default 1 on a CPU, 8 on a GPU.")] = None,
    workers: Annotated[int, Text(help="Processes on this machine.")] = 1,
    scheduler: Annotated[str | None, Text(help="Run on a dask cluster: `tcp://node1:8786`.")] = None,
    gpus: Annotated[str | None, Text(help="One process a GPU: `all`, or numbers, `0,1`.")] = None,
    slurm: Annotated[Path | None, Text(help="Run as Slurm jobs: a YAML file of cores, memory, jobs, ...")] = None,
    dry_run: Annotated[bool, Text("--dry-run", help="With --slurm: print the jobs' script only.")] = False,
    threads: Annotated[int | None, Text(help="Tiles at a time over all workers. Default the CPU cores.")] = None,
    dtype: Annotated[str, Text(help="same, uint8, uint16 or float32.")] = "same",
    ngff: Annotated[str, Text(help="Version of OME-Zarr to write: 0.5 or 0.4.")] = "0.5",
    seed: Annotated[int, Text(help="Of the noise, for models that draw samples.")] = 0,
    trust: Annotated[bool, Text("--trust", help="Run a TorchScript file, a program, from elsewhere.")] = False,
    resume: Annotated[bool, Text("--resume", help="Go on with an interrupted run.")] = False,
    verify: Annotated[
        bool, Text("--verify", help="With --resume: re-read all that is done, redo the damaged.")
    ] = False,
    overwrite: Annotated[bool, Text("--overwrite", help="Replace an existing output.")] = False,
    as_json: Annotated[bool, Text("--json", help="Print the closing summary as one JSON object.")] = False,
) -> None:
    """Restore IN into OUT with a super-resolution model.

    Everything has a default that needs no thought: `fluorsr-infer cells.ome.zarr restored.zarr`.
    Channels, slices and time points are restored plane by plane, tile by tile, without seams. A run that was
    killed goes on where it was with --resume. OUT keeps the pixel size, channel names and colours.

    A diffusion model gives another image for every --seed. `--samples 8` shows what its images agree on, and where
    they differ: open OUT/deviation beside OUT.
    """
    console = Console(stderr=True)
    if dry_run:
        if slurm is None:
            raise InputError("--dry-run shows the script of Slurm jobs, so it goes with --slurm FILE")
        print(slurm_script(read_slurm(slurm)))
        return
    try:
        with Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as bar:
            summary = library.infer(
                source,
                output,
                model=model,
                device=device,
                precision=precision,
                engine=engine,
                steps=steps,
                sampler=sampler,
                level=level,
                channels=channels,
                z=z,
                t=t,
                region=region,
                frames_axis=frames_axis,
                frames=frames,
                frame_order=frame_order,
                check_frames=check_frames,
                options=parse_settings(setting),
                samples=samples,
                tta=tta,
                skip_empty=skip_empty,
                tile=tile,
                overlap=overlap,
                batch=batch,
                dtype=dtype,
                ngff=ngff,
                workers=workers,
                scheduler=scheduler,
                gpus=gpus,
                slurm=slurm,
                threads=threads,
                seed=seed,
                trust=trust,
                resume=resume,
                verify=verify,
                overwrite=overwrite,
                tell=lambda note: console.print(f"[yellow]note:[/] {note}", soft_wrap=True, highlight=False),
                progress=_Bars(bar),
            )
    except KeyboardInterrupt:
        console.print("interrupted; the blocks that are done are safe: run the same command with --resume to go on")
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(summary.to_json()))
    else:
        _print_summary(Console(), summary)


class _Bars:
    """Draws the library's progress: one bar a stage, with the throughput in input pixels."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.stages: dict[str, int] = {}

    def __call__(self, at: told.Progress) -> None:
        if at.stage not in self.stages:
            self.stages[at.stage] = self.bar.add_task(at.stage, total=at.total, speed="")
        task = self.bar.tasks[self.stages[at.stage]]
        speed = f"{at.pixels / 1e6 / task.elapsed:.2f} Mpx/s" if at.pixels and task.elapsed else ""
        self.bar.update(task.id, completed=at.done, total=at.total, speed=speed)


def _print_summary(console: Console, done: told.Summary) -> None:
    def sizes(shape: dict[str, int]) -> str:
        return ", ".join(f"{axis} {length}" for axis, length in shape.items())

    size = ", ".join(f"{axis} {1000 * um:.4g} nm" for axis, um in done.pixel_size_um.items()) or "unknown"
    resumed = f", {done.blocks_resumed} of them by an earlier run" if done.blocks_resumed else ""
    table = Table(show_header=False, box=None, padding=(0, 1))
    for what, value in (
        ("restored", f"{done.source} -> {done.output}"),
        ("model", f"{done.model} on {done.device}, {done.precision}"),
        ("input", sizes(done.input_shape)),
        ("output", f"{sizes(done.output_shape)}, {done.dtype}; pixels {size}"),
        ("deviation", f"of {done.samples} samples, in {done.output}/deviation" if done.samples else ""),
        ("blocks", f"{done.blocks}{resumed}; tiles of {done.tile[0]} x {done.tile[1]}"),
        ("time", f"{done.seconds:.1f} s, of which {done.restore_seconds:.1f} s restoring"),
        ("speed", f"{done.megapixels_per_second:.3f} million input pixels a second"),
        ("NaN or infinite", f"{done.nonfinite_input} input pixels"),
        ("clipped", f"{done.saturated_output} output pixels"),
    ):
        if value:
            table.add_row(f"[bold]{what}[/]", value)
    console.print(table, highlight=False)
    for note in done.notes:
        console.print(f"[yellow]note:[/] {note}", soft_wrap=True, highlight=False)
