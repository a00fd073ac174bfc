"""Validation: the same fields every time, restored by what would be shipped, as figures and as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.registry import METRICS
from fluorsr.train.log import make_folder
from fluorsr.train.pictures import draw_curves, draw_fields
from fluorsr.train.sources import HeldOut

EDGE_PX = 16
"""Input pixels at the edges that do not count: the network had to guess what lies outside."""


class Validation:
    """Called with the step, it gives the metrics; `draw` then writes the picture, validation/step-N.png.

    restore   [1, F, Y, X] -> [1, 1, sY, sX], at the time of the call
    Figures are means over all fields, and over those of each group (`psnr_nuclei`) where there are several.
    """

    def __init__(self, fields: Sequence[HeldOut], restore: Callable[[Tensor], Tensor], folder: Path) -> None:
        self.fields, self.restore, self.folder = fields, restore, folder / "validation"
        self._picture: Callable[[], None] = lambda: None

    def __call__(self, step: int) -> dict[str, float]:
        restored = [self.restore(field.pixels[None])[0, 0] for field in self.fields]
        scored = [_score(field, image) for field, image in zip(self.fields, restored, strict=True)]
        groups = list(dict.fromkeys(field.group for field in self.fields))
        figures = {}
        for group in ("", *(groups if len(groups) > 1 else ())):
            members = [one for one, field in zip(scored, self.fields, strict=True) if group in ("", field.group)]
            for name, metric in METRICS.items():
                figures[f"{name}_{group}" if group else name] = metric.mean([one[name] for one in members])
        first = [[field.group for field in self.fields].index(group) for group in groups]
        rows = [(self.fields[i], restored[i], f"PSNR {scored[i]['psnr']:.1f} dB") for i in first]
        self._picture = lambda: draw_fields(rows, f"step {step}", self.folder / f"step-{step:07d}.png")
        return figures

    def draw(self) -> None:
        """Draw one field of each group as it was validated last, once. Raises StorageError where the disk refuses."""
        make_folder(self.folder)
        self._picture()
        self._picture = lambda: None


def _score(field: HeldOut, restored: Tensor) -> dict[str, float]:
    """Every short metric within the edges, after a linear fit of the intensity; the range is the target's."""
    scale = field.target.shape[-1] // field.pixels.shape[-1]
    edge = scale * min(EDGE_PX, field.pixels.shape[-1] // 4)
    inner = (slice(edge, -edge), slice(edge, -edge))
    target = field.target[inner]
    fitted = fit_intensity(restored.float()[inner], target)
    data_range = float(target.max() - target.min())
    pixel_um = field.pixel_size_um or 1.0
    return {
        name: float(metric.function(fitted, target, data_range=data_range, pixel_size_um=pixel_um))
        for name, metric in METRICS.items()
    }


def draw_log(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """Draw curves.png: the loss of every line, and each metric where it was validated."""
    curves = {"loss": "loss", **{name: metric.heading for name, metric in METRICS.items()}}
    drawn = {}
    for name, heading in curves.items():
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if points and all(math.isfinite(value) for _, value in points):
            drawn[heading] = points
    if drawn:
        draw_curves(drawn, folder / "curves.png", logarithmic=("loss",))
