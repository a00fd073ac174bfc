"""`fluorsr compare`: which of several methods is better, by how much, how surely, and at what cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fluorsr.evaluate.compare import DEFAULT_RANK
from fluorsr.evaluate.compare import compare as library_compare
from fluorsr.evaluate.methods import BASELINES
from fluorsr.evaluate.results import Comparison
from fluorsr.evaluate.tables import claim, figure, heading, warning_lines, write_tables
from fluorsr.metrics.registry import METRICS
from fluorsr.models.allocator import tune_allocator
from fluorsr.pipeline.run import DEFAULT_MODEL
from fluorsr.report.html import write_report

Text = typer.Option


def compare(
    data: Annotated[
        str,
        Text(
            help="A folder of pairs (input/ and target/, in test/ where there is one, or one folder a structure); "
            "or `simulated:images=8,photons=400+30`."
        ),
    ] = "simulated:",
    models: Annotated[
        str, Text(help="Shipped models, classical methods such as wiener-sim, and files, joined by commas.")
    ] = DEFAULT_MODEL,
    baselines: Annotated[str, Text(help=f"Some of {', '.join(BASELINES)}; or none.")] = ",".join(BASELINES),
    metrics: Annotated[str, Text(help="Metrics, joined by commas; that of --rank is added.")] = ",".join(METRICS),
    rank: Annotated[str, Text(help="The metric that orders the methods: psnr, ssim, lpips, frc, ...")] = DEFAULT_RANK,
    protocol: Annotated[
        str, Text(help="standard; or wang2019-256, the setting of published tables, and what is wrong with it.")
    ] = "standard",
    intensity: Annotated[str | None, Text(help="raw, minmax, percentile or fit (least squares). Default fit.")] = None,
    crop: Annotated[int | None, Text(help="Target pixels cut off each edge. Default 0.")] = None,
    pixel_size_um: Annotated[float | None, Text(help="Of the inputs, where the files do not tell.")] = None,
    spot_um: Annotated[float | None, Text(help="The microscope's spot (FWHM), for Richardson-Lucy.")] = None,
    out: Annotated[Path, Text(help="Folder for the report, tables and pictures.")] = Path("comparison"),
    pictures: Annotated[int, Text(min=0, help="Cases to keep pictures of.")] = 4,
    device: Annotated[str, Text(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, Text(help="auto, fp32 or bf16.")] = "auto",
    threads: Annotated[int, Text(min=1, help="Tiles at a time.")] = 1,
    overwrite: Annotated[bool, Text("--overwrite", help="Replace an earlier comparison in --out.")] = False,
    as_json: Annotated[bool, Text("--json", help="Print the comparison as one JSON object.")] = False,
) -> None:
    """Compare models and baselines on images whose truth is known.

    Every method restores every image whole. Means come with bootstrap intervals over images, differences with paired
    tests. A report (HTML), tables (CSV, JSON, Markdown) and pictures are written to --out.
    """
    tune_allocator()
    claim(out, overwrite=overwrite)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("comparing")
        found = library_compare(
            data,
            names(models),
            baselines=[] if baselines == "none" else names(baselines),
            metrics=names(metrics),
            rank=rank,
            protocol_name=protocol,
            intensity=intensity,
            crop_px=crop,
            pixel_size_um=pixel_size_um,
            spot_um=spot_um,
            device=device,
            precision=precision,
            threads=threads,
            pictures=pictures,
            out=out,
            progress=lambda what, done, of: bar.update(task, description=escape(what), completed=done, total=of),
        )
    write_tables(found, out)
    write_report(found, out / "report.html")
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found, out)


def names(text: str) -> list[str]:
    """Names joined by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _show(found: Comparison, out: Path) -> None:
    console = Console()
    for group in found.groups if len(found.groups) > 2 else found.groups[:1]:
        cases = sum(group in ("all", case.group) for case in found.cases)
        table = Table(title=escape(f"{group}: {cases} images"), title_justify="left", box=None, padding=(0, 1, 0, 0))
        table.add_column("method", no_wrap=True)
        for metric in found.metrics:
            table.add_column(heading(metric), justify="right")
        for method in found.ranked(group):
            cells = (figure(found, group, method, metric).replace(" [", "\n[") for metric in found.metrics)
            table.add_row(escape(method.name), *map(escape, cells))
        console.print(table, highlight=False)
    for fault in found.protocol.faults:
        console.print(f"[yellow]about this protocol:[/] {escape(fault)}", soft_wrap=True, highlight=False)
    for line in warning_lines(found):
        console.print(f"[yellow]warning:[/] {escape(line[2:].replace('**', ''))}", soft_wrap=True, highlight=False)
    console.print(f"report.html, tables and pictures are in {escape(str(out))}", soft_wrap=True, highlight=False)
