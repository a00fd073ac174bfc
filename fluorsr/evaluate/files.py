"""Predictions against targets on disk: two images, two stores, or two folders matched by name.

Planes are compared one by one. A plane of more than WHOLE_PX pixels is streamed, so memory stays bounded.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluorsr.data.listing import images_in
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.evaluate.compare import check_metrics
from fluorsr.evaluate.restore import measure
from fluorsr.evaluate.results import MetricInfo
from fluorsr.evaluate.streaming import Plane, stream_metrics
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.metrics.fit import INTENSITIES, SHORT
from fluorsr.metrics.prepare import prepare
from fluorsr.metrics.registry import ALL_METRICS, METRICS

WHOLE_PX = 2**24


@dataclass(frozen=True)
class Row:
    """One plane.  name  of the file, and of the plane where there are several;  values  metric -> figure."""

    name: str
    values: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Figures of every plane, their means (of resolutions by frequency), how images were prepared, and what is odd."""

    metrics: tuple[MetricInfo, ...]
    rows: tuple[Row, ...]
    mean: dict[str, float]
    how: str
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """One JSON object; what is not finite is None."""
        rows = [{"name": row.name, **_finite(row.values)} for row in self.rows]
        found = {"how": self.how, "mean": _finite(self.mean), "planes": rows, "warnings": list(self.warnings)}
        return json.dumps(found, allow_nan=False)

    def to_csv(self) -> str:
        """One line a plane."""
        file = io.StringIO()
        names = [metric.name for metric in self.metrics]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", *names])
        writer.writerows([row.name, *(row.values[name] for name in names)] for row in self.rows)
        return file.getvalue()

    def to_markdown(self) -> str:
        """A table, the means last, and how images were prepared."""
        lines = ["| image | " + " | ".join(metric.heading for metric in self.metrics) + " |"]
        lines.append("|---|" + "---:|" * len(self.metrics))
        for name, values in [*((row.name, row.values) for row in self.rows), ("mean", self.mean)]:
            cells = [f"{values[metric.name]:.{metric.digits}f}" for metric in self.metrics]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += ["", f"{self.how[:1].upper()}{self.how[1:]}; a resolution's mean is that of the frequencies."]
        lines += [f"Warning: {warning}." for warning in self.warnings]
        return "\n".join(lines) + "\n"


def evaluate_files(
    prediction: str | Path,
    target: str | Path,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    intensity: str = "least-squares",
    crop_px: int = 0,
    pixel_size_um: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Compare two images or two folders of images, plane by plane; the range is each target plane's.

    metrics         of fluorsr.metrics.registry.ALL_METRICS
    intensity       one of fluorsr.metrics.fit.INTENSITIES, fitted per plane;  crop_px  cut off each edge first
    pixel_size_um   of the target, where its file does not tell

    A plane whose target is constant has NaN, and is told. Raises NotFoundError, FormatError, MissingWeightsError, and
    InputError where images have no partner or another shape (all told), or are too small for a metric.
    """
    intensity = SHORT.get(intensity, intensity)
    if intensity not in INTENSITIES:
        raise InputError(f"there is no intensity {intensity!r}; there are {', '.join(INTENSITIES)}")
    chosen = check_metrics(metrics, metrics[0] if metrics else None)
    pairs = [(name, open_image(one), open_image(two)) for name, one, two in _partners(Path(prediction), Path(target))]
    _check_shapes(pairs, crop_px)
    rows, warnings = [], []
    for name, own, truth in pairs:
        size = pixel_size_um or truth.pixel_size_um.get("x") or own.pixel_size_um.get("x")
        if size is None and "frc" in chosen:
            warnings.append(f"{name} does not tell its pixel size, so no resolution is given; use --pixel-size-um")
        for index, label in _planes(truth, name):
            if progress:
                progress(label)
            try:
                values = _plane(own, truth, index, chosen, intensity, crop_px, size)
            except InputError as error:
                if "is constant" not in str(error):
                    raise InputError(f"{label}: {error}") from error
                values = dict.fromkeys(chosen, math.nan)
                warnings.append(f"{label}: {error}")
            else:
                if any(math.isnan(value) for name, value in values.items() if name != "frc" or size):
                    warnings.append(f"{label} has figures that are NaN: it holds NaN, or its prediction is constant")
            rows.append(Row(label, values))
    described = tuple(
        MetricInfo(name, ALL_METRICS[name].heading, ALL_METRICS[name].digits, ALL_METRICS[name].higher_is_better)
        for name in chosen
    )
    mean = {name: ALL_METRICS[name].mean([row.values[name] for row in rows]) for name in chosen}
    how = f"intensity {intensity} per plane, edges {crop_px} px cropped, range of each target plane"
    return Evaluation(described, tuple(rows), mean, how, tuple(warnings))


def _check_shapes(pairs: Sequence[tuple[str, Image, Image]], crop_px: int) -> None:
    """Raise one InputError for all pairs of different shapes, or too small for the crop."""
    faults = []
    for name, own, truth in pairs:
        shapes = [[image.size(axis) for axis in "tczyxq"] for image in (own, truth)]
        if shapes[0] != shapes[1]:
            faults.append(f"{name}: the prediction has {own.axes} {own.shape}, the target {truth.axes} {truth.shape}")
        elif crop_px < 0 or 2 * crop_px >= min(truth.size("y"), truth.size("x")):
            faults.append(f"{name}: a crop of {crop_px} pixels off each edge leaves nothing of {truth.shape}")
    if faults:
        raise InputError("; ".join(faults) + "; compare images of one shape")


def _plane(
    own: Image,
    truth: Image,
    index: PlaneIndex,
    metrics: Sequence[str],
    intensity: str,
    crop_px: int,
    pixel_size_um: float | None,
) -> dict[str, float]:
    planes = Plane(own, index, crop_px), Plane(truth, index, crop_px)
    if truth.size("y") * truth.size("x") > WHOLE_PX:
        return stream_metrics(*planes, metrics, intensity=intensity, pixel_size_um=pixel_size_um)
    everything = tuple(slice(0, n) for n in planes[0].shape)
    p, t = (plane[everything[0], everything[1]] for plane in planes)
    ready = prepare(p, t, intensity=intensity)
    return measure(ready, {name: ALL_METRICS[name] for name in metrics}, pixel_size_um)


def _planes(image: Image, name: str) -> Iterator[tuple[PlaneIndex, str]]:
    """Every plane and its name: the file's, and the indices of axes that are longer than one."""
    for index in image.planes():
        where = ", ".join(f"{axis} {at}" for axis, at in zip("tcz", index[:3], strict=True) if image.size(axis) > 1)
        yield index, f"{name} [{where}]" if where else name


def _partners(prediction: Path, target: Path) -> list[tuple[str, Path, Path]]:
    """(name, prediction, target) of each pair of files."""
    for path in (prediction, target):
        if not path.exists():
            raise NotFoundError(f"{path} does not exist; check the name")
    folders = [path.is_dir() and not _is_store(path) for path in (prediction, target)]
    if not any(folders):
        return [(prediction.name, prediction, target)]
    if not all(folders):
        raise InputError(f"{prediction} and {target} must both be folders of images, or both images")
    own, truths = images_in(prediction), images_in(target)
    if not own:
        raise FormatError(f"{prediction} holds no images that fluorsr reads (TIFF, zarr)")
    faults = [f"{own[name][0]} has no target in {target}" for name in sorted(own.keys() - truths.keys())]
    faults += [f"{truths[name][0]} has no prediction in {prediction}" for name in sorted(truths.keys() - own.keys())]
    twice = {name: paths for side in (own, truths) for name, paths in side.items() if len(paths) > 1}
    faults += [f"{' and '.join(map(str, paths))} have one name" for paths in twice.values()]
    if faults:
        raise InputError("; ".join(faults) + "; names must be the same in both folders, suffixes may differ")
    return [(name, own[name][0], truths[name][0]) for name in sorted(own)]


def _is_store(path: Path) -> bool:
    return path.suffix.lower() == ".zarr" or any((path / n).exists() for n in ("zarr.json", ".zgroup", ".zarray"))


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
