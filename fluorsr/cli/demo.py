"""`fluorsr demo`: what fluorsr does, on an image whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fluorsr.metrics.registry import METRICS
from fluorsr.pipeline.run import DEFAULT_MODEL
from fluorsr.pipeline.summary import Progress
from fluorsr.report.demo import DemoResult, run_demo


def demo(
    size: Annotated[int, typer.Option(help="Pixels along y and x of the simulated field.")] = 4096,
    out: Annotated[Path, typer.Option(help="Folder for what it makes: new, or an earlier demo's.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(help="Of the simulation; another seed is another field.")] = 0,
    model: Annotated[str, typer.Option(help="A shipped model or a file, as for `fluorsr infer`.")] = DEFAULT_MODEL,
) -> None:
    """Simulate a two-channel confocal field whose truth is known, restore it, and compare.

    Prints how close the input and the restored image come to the truth, and draws crops of all three side by side.
    Everything is kept in the folder; a second run uses the field that is there.
    """
    console = Console()
    with console.status("") as status:

        def tell(line: str) -> None:
            console.print(line, highlight=False, soft_wrap=True)
            status.update("")

        def progress(at: Progress) -> None:
            status.update(f"{at.stage}: {at.done} of {at.total} blocks")

        result = run_demo(out, size=size, seed=seed, model=model, tell=tell, progress=progress)
    _print(console, result)


def _print(console: Console, result: DemoResult) -> None:
    table = Table(title="Against the truth", title_justify="left", title_style="bold")
    table.add_column("channel", no_wrap=True)
    table.add_column("image", no_wrap=True)
    for heading in (*(metric.heading for metric in METRICS.values()), "light"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in result.scores:
        table.add_row(
            score.channel,
            score.image,
            *(f"{score.figures[name]:.{metric.digits}f}" for name, metric in METRICS.items()),
            f"{score.light:.2f}",
            end_section=score.image == "restored",
            style="bold" if score.image == "restored" else None,
        )
    console.print(table)
    console.print(
        "Input: interpolated. PSNR and SSIM: after a linear fit of intensity. FRC: the finest detail that agrees with "
        "the truth. Light: above the background, over the truth's; 1 where nothing was made brighter.",
        style="dim",
    )
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())
    console.print(f"[bold]picture[/]  {result.picture}", highlight=False, soft_wrap=True)
    console.print(
        f"[bold]images[/]   {result.folder}/{{input,restored,input_truth}}.ome.zarr", highlight=False, soft_wrap=True
    )
    console.print(f"[bold]time[/]     {times}", highlight=False)
