"""How many steps SR3 needs: python tools/sr3_steps.py [MODEL] [--fields 8] [--size 96] [--out docs]

One sample of every held-out field by every sampler with 2 to 50 network evaluations, beside 200 steps of its own
ancestral sampling: PSNR and FRC against the truth. Writes OUT/sr3_steps.png and .md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fluorsr.data.simulate import SimulationConfig
from fluorsr.evaluate.cases import TEST_SEED, Case, simulated_case
from fluorsr.evaluate.restore import measure
from fluorsr.metrics.prepare import prepare
from fluorsr.metrics.registry import METRICS
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import load_module
from fluorsr.models.network import channels_last
from fluorsr.models.samplers import SAMPLERS

STEPS = (2, 4, 6, 8, 10, 15, 25, 50)
REFERENCE = ("ddpm", 200)
LABELS = {
    "ddpm": "ancestral (DDPM)",
    "ddim": "DDIM",
    "dpm_solver_pp_2m": "DPM-Solver++(2M)",
    "sde_dpm_solver_pp_2m": "SDE-DPM-Solver++(2M)",
}
STRUCTURES = ("microtubules", "actin", "mitochondria", "vesicles")


@dataclass(frozen=True)
class Point:
    """Means over the fields."""

    sampler: str
    steps: int
    psnr: float
    frc_nm: float

    def cells(self) -> str:
        return f"| {LABELS[self.sampler]} | {self.steps} | {self.psnr:.2f} | {self.frc_nm:.0f} |"


def cases(fields: int, size: int) -> list[Case]:
    config = SimulationConfig(
        size_px=size, pixel_size_um=(0.06, 0.06), density=(1.0, 2.0), photons=(100.0, 100.0), structures={"actin": 1.0}
    )
    return [simulated_case(config, TEST_SEED, 50 + n, STRUCTURES[n % len(STRUCTURES)], "steps") for n in range(fields)]


def judge(network: torch.nn.Module, chosen: list[Case], sampler: str, steps: int) -> Point:
    """A sample of each case, in bfloat16 where the network's convolutions are."""
    scores = []
    for case in chosen:
        low, high = np.percentile(case.degraded, (0.1, 99.9))
        pixels = torch.from_numpy((case.degraded.astype(np.float32) - low) / (high - low)).float()[None]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            restored = network(channels_last(pixels), steps=steps, sampler=sampler)[0, 0].float()
        ready = prepare(restored, torch.from_numpy(case.target), intensity="least-squares", crop_px=32)
        scores.append(measure(ready, METRICS, case.pixel_size_um))
    psnr, frc = (METRICS[name].mean([one[name] for one in scores]) for name in ("psnr", "frc"))
    point = Point(sampler, steps, psnr, frc)
    print(point.cells(), flush=True)
    return point


def draw(points: list[Point], reference: Point, path: Path) -> None:
    figure = Figure(figsize=(8.4, 3.4), dpi=130, facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, name, heading in zip(panels, ("psnr", "frc_nm"), ("PSNR (dB)", "FRC (nm)"), strict=True):
        for sampler, colour in zip(SAMPLERS, ("#4c72b0", "#dd8452", "#2a9d6f", "#8b5fa8"), strict=True):
            own = [point for point in points if point.sampler == sampler]
            axes.plot([p.steps for p in own], [getattr(p, name) for p in own], "o-", ms=4, lw=1.5, color=colour,
                      label=LABELS[sampler])  # fmt: skip
        axes.axhline(getattr(reference, name), color="0.35", lw=1, ls="--", label=f"ancestral, {reference.steps} steps")
        axes.set_xscale("log")
        axes.set_xticks(STEPS, [str(n) for n in STEPS], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("network evaluations")
        axes.set_title(heading, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0].legend(frameon=False, fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sr3-confocal-sted-x2")
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--size", type=int, default=96, help="input pixels of a field")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    tune_allocator()
    network, spec = load_module(arguments.model)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chosen = cases(arguments.fields, arguments.size)
    reference = judge(network, chosen, *REFERENCE)
    points = [judge(network, chosen, sampler, steps) for sampler in reversed(SAMPLERS) for steps in STEPS]
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(points, reference, arguments.out / "sr3_steps.png")
    ten = next(p for p in points if p.sampler == network.config.sampler and p.steps == network.config.steps)
    lines = [
        f"# Steps of {spec.name} against quality",
        "",
        f"One sample of {arguments.fields} held-out fields of {arguments.size} x {arguments.size} pixels "
        f"({', '.join(STRUCTURES[: arguments.fields])} in turn; 100 photons), PSNR and FRC after a linear intensity "
        f"fit, edges of 32 pixels left out. With {ten.steps} evaluations of {LABELS[ten.sampler]} the sample is "
        f"{ten.psnr - reference.psnr:+.2f} dB and {100 * (ten.frc_nm / reference.frc_nm - 1):+.1f} % in FRC from "
        f"{reference.steps} steps of ancestral sampling. `python tools/sr3_steps.py`",
        "",
        "![PSNR and FRC against the number of network evaluations](sr3_steps.png)",
        "",
        "| sampler | evaluations | PSNR (dB) | FRC (nm) |",
        "|---|---:|---:|---:|",
        *(point.cells() for point in [reference, *points]),
    ]
    (arguments.out / "sr3_steps.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[2])


if __name__ == "__main__":
    main()
