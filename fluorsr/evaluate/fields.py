"""Evaluation: restorers x images x metrics -> one table.

    degraded --normalise--> restorer (whole field, reflected at the edges) --denormalise--> restored
                                       restored --linear intensity fit--> metrics against the truth

PSNR, SSIM and FRC are taken after a least-squares fit of the intensity, so that no method wins or loses by gain or
offset. `light` is taken before it: the restored image's mean above the background over the truth's. It is 1 where a
method makes an image sharper, and not brighter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.registry import METRICS
from fluorsr.normalize import fit
from fluorsr.predict import restore_region, tile_pool
from fluorsr.restorer import Restorer
from fluorsr.tiling.grid import Grid

Figures = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One image with its truth: degraded [Y, X], target [scale * Y, scale * X], in the same counts.

    group           cases of one group are averaged
    pixel_size_um   of the target
    """

    group: str
    degraded: NDArray[np.generic]
    target: NDArray[np.float32]
    pixel_size_um: float


def evaluate(restorers: Mapping[str, Restorer], cases: Sequence[Case]) -> dict[str, dict[str, Figures]]:
    """Group -> restorer's name -> metric -> mean over the group's cases, plus `light`.

    Raises InputError where a restorer's scale does not fit a target.
    """
    gathered: dict[str, dict[str, list[Figures]]] = {}
    for case in cases:
        for name, restorer in restorers.items():
            restored, low = restore_field(restorer, case.degraded)
            figures = score(restored, torch.from_numpy(case.target), case.pixel_size_um)
            figures["light"] = (float(restored.mean()) - low) / (float(case.target.mean()) - low)
            gathered.setdefault(case.group, {}).setdefault(name, []).append(figures)
    return {g: {n: _average(figures) for n, figures in names.items()} for g, names in gathered.items()}


def score(restored: Tensor, target: Tensor, pixel_size_um: float) -> Figures:
    """Every metric of one image [Y, X] against its truth, after a linear intensity fit; the range is the truth's."""
    if restored.shape != target.shape:
        raise InputError(f"restored {tuple(restored.shape)} and truth {tuple(target.shape)} must have one shape")
    fitted = fit_intensity(restored, target)
    data_range = float(target.max() - target.min())
    return {
        name: float(metric.function(fitted, target, data_range=data_range, pixel_size_um=pixel_size_um))
        for name, metric in METRICS.items()
    }


def restore_field(restorer: Restorer, degraded: NDArray[np.generic]) -> tuple[Tensor, float]:
    """Restore a small field [Y, X] whole: float32 [scale * Y, scale * X] in the field's counts, and its low percentile.

    It is one tile, reflected at its edges by the restorer's halo, so a restorer that is not exact shows no tiling.
    """
    spec, image = restorer.spec, Image(degraded, "yx")
    normalization = fit(image, percentiles=spec.percentiles)
    height, width = degraded.shape
    m = spec.multiple
    halo = -(-spec.halo // m) * m
    grid = Grid(
        shape=(1, height, width),
        tile=(1, -(-height // m) * m + 2 * halo, -(-width // m) * m + 2 * halo),
        halo=(0, halo, halo),
        multiple=(1, m, m),
        scale=(1, spec.scale, spec.scale),
    )
    with tile_pool(1) as pool:
        whole = restore_region(image, [PlaneIndex()], (0, height), (0, width), restorer, grid, normalization, pool)
    return torch.from_numpy(whole.pixels), normalization.low


def to_markdown(table: dict[str, dict[str, Figures]]) -> str:
    """The table as Markdown, one row a group and restorer."""
    headings = ["images", "method", *(metric.heading for metric in METRICS.values()), "light"]
    lines = ["| " + " | ".join(headings) + " |", "|---|---|" + "---:|" * (len(headings) - 2)]
    for group, names in table.items():
        for name, figures in names.items():
            values = [f"{figures[key]:.{metric.digits}f}" for key, metric in METRICS.items()]
            lines.append("| " + " | ".join([group, name, *values, f"{figures['light']:.2f}"]) + " |")
    return "\n".join(lines) + "\n"


def _average(figures: Sequence[Figures]) -> Figures:
    means = {name: metric.mean([f[name] for f in figures]) for name, metric in METRICS.items()}
    return {**means, "light": sum(f["light"] for f in figures) / len(figures)}
