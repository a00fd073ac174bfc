"""One image restored as `fluorsr infer` would restore it, brought to the pixels of its truth, and scored.

frames [F, Y, X] --pipeline's plan, tiles, normalisation--> restored [sY, sX] --binned--> target's pixels
                                                    one intensity scale, edges cropped --> metrics
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.metrics.prepare import Prepared, prepare
from fluorsr.metrics.registry import ALL_METRICS, METRICS, Metric
from fluorsr.normalize import fit
from fluorsr.pipeline.memory import restore
from fluorsr.restorer import Restorer

LIGHT = "light"
"""Not a metric of a pair, but what a method does to the sum of the light; best at 1."""


def restore_field(restorer: Restorer, degraded: NDArray[np.generic], *, threads: int = 1) -> Tensor:
    """Restore a field [Y, X] or raw frames [F, Y, X]: float32 [scale * Y, scale * X] in the field's counts.

    A restorer of one frame gets the mean of the frames: of a SIM recording that is the wide-field image.
    Raises InputError where a restorer takes another number of frames.
    """
    frames = degraded[None] if degraded.ndim == 2 else degraded
    if restorer.spec.frames == 1:
        plane = frames[0] if len(frames) == 1 else frames.mean(axis=0, dtype=np.float64).astype(np.float32)
        restored = restore(Image(plane, "yx"), restorer, dtype="float32", threads=threads)
    else:
        image = Image(np.ascontiguousarray(frames), "cyx")
        restored = restore(image, restorer, dtype="float32", frames_axis="c", threads=threads)
    return torch.from_numpy(np.ascontiguousarray(restored.to_numpy()))


def on_grid(restored: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bring [Y, X] to the truth's pixels: as it is, or averaged where it has a whole multiple of them.

    Raises InputError where it has fewer, or no multiple.
    """
    factor = restored.shape[0] // shape[0]
    if factor < 1 or tuple(restored.shape) != (factor * shape[0], factor * shape[1]):
        raise InputError(
            f"restored {tuple(restored.shape)} cannot be brought to the truth's {shape}: its scale must be the data's "
            "or a multiple of it; use a model of the data's scale"
        )
    return torch.nn.functional.avg_pool2d(restored[None, None], factor)[0, 0] if factor > 1 else restored


def light_kept(restored: Tensor, degraded: NDArray[np.generic]) -> float:
    """The restored light over the input's, both above the input's low percentile: 1 where it is sharper, not brighter.

    NaN where the input has no light.
    """
    plane = degraded if degraded.ndim == 2 else degraded.mean(axis=0, dtype=np.float64).astype(np.float32)
    low = fit(Image(plane, "yx")).low
    light = float(plane.mean(dtype=np.float64)) - low
    return (float(restored.mean(dtype=torch.float64)) - low) / light if light > 0 else float("nan")


def score(
    restored: Tensor,
    target: Tensor,
    pixel_size_um: float,
    *,
    metrics: Iterable[str] = METRICS,
    intensity: str = "least-squares",
    crop_px: int = 0,
) -> dict[str, float]:
    """Metrics of one image [Y, X] against its truth, prepared by fluorsr.metrics.prepare."""
    return measure(
        prepare(restored, target, intensity=intensity, crop_px=crop_px),
        {name: ALL_METRICS[name] for name in metrics},
        pixel_size_um,
    )


def measure(prepared: Prepared, metrics: Mapping[str, Metric], pixel_size_um: float | None) -> dict[str, float]:
    """Metrics of a pair that is ready for them. A resolution is NaN where the pixel size is not known."""
    found = {}
    for name, metric in metrics.items():
        if metric.harmonic and pixel_size_um is None:
            found[name] = math.nan
            continue
        value = metric.function(
            prepared.prediction,
            prepared.target,
            data_range=prepared.data_range,
            pixel_size_um=1.0 if pixel_size_um is None else pixel_size_um,
        )
        found[name] = float(value)
    return found
