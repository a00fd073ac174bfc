"""Pictures of a run: what the held-out fields look like by now, and the curves of loss and metrics."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from fluorsr.metrics.fit import fit_intensity
from fluorsr.models.weights import write_atomically
from fluorsr.train.sources import HeldOut


def draw_fields(rows: Sequence[tuple[HeldOut, Tensor, str]], title: str, path: Path) -> None:
    """Input (the mean of its frames), restored (fitted to the target) and target beside each other, a row a field.

    The panels of a row have the target's contrast. Raises StorageError where the disk refuses.
    """
    figure = Figure(figsize=(7.2, 2.45 * len(rows) + 0.35), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for row, (field, restored, caption) in zip(panels, rows, strict=True):
        target = field.target
        scale = target.shape[-1] // field.pixels.shape[-1]
        seen = field.pixels.mean(0).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
        window = np.percentile(target.numpy(), (0.5, 99.7))
        images = fit_intensity(seen, target), fit_intensity(restored.float(), target), target
        for axes, image, name in zip(row, images, ("input", f"restored, {caption}", "target"), strict=True):
            axes.imshow(image.numpy(), vmin=window[0], vmax=window[1], cmap="magma", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(name, fontsize=8, pad=3)
        row[0].set_ylabel(field.group, fontsize=8)
    figure.suptitle(title, fontsize=9)
    _save(figure, path)


def draw_curves(
    curves: Mapping[str, Sequence[tuple[int, float]]], path: Path, *, logarithmic: Sequence[str] = ()
) -> None:
    """One plot for each of `curves`, name -> (step, value); those in `logarithmic` have such an axis.

    Raises StorageError where the disk refuses.
    """
    figure = Figure(figsize=(3.2 * len(curves), 2.5), dpi=110, facecolor="white", layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linewidth=1.2, color="#8c2981", marker="." if len(points) < 30 else None)
        if name in logarithmic and min(values) > 0:
            axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7, which="both")
        axes.grid(alpha=0.25, which="both", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    payload = io.BytesIO()
    figure.savefig(payload, format="png")
    write_atomically(path, payload.getvalue())
