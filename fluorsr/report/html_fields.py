"""Fields for a page: the same square cut from images of one scene, with fits, contrast, a line and curves of them.

truth [Y, X]                    input [Y / s, X / s]
+---------------+               +-------+
|   +-----+     |               |  +--+ |      the square is chosen where the truth varies most (the input, where
|   | cut |     |               |  |  | |      there is no truth), and starts on whole pixels of every image
|   +-----+     |               |  +--+ |
+---------------+               +-------+
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, InputError
from fluorsr.metrics.frc import frc_curve
from fluorsr.metrics.spectrum import power_spectrum
from fluorsr.report.comparison import most_structured_line
from fluorsr.report.figures import Panel, draw_row, new_figure
from fluorsr.report.html_charts import Curve, Gallery, Level, draw_curves
from fluorsr.report.html_images import most_structured_square, side_for
from fluorsr.report.html_page import INPUT, TRUTH, Chart, Field, Shown, finite_window

BINS = 120
LEAST_PX = 16
"""Below this many pixels there are no rings to draw curves of."""


@dataclass(frozen=True)
class Scene:
    """Images [Y, X] that cover one area, by name and in order; what is to be cut to a Field.

    images      name -> pixels; sizes are whole multiples of the smallest
    captions    name -> its figures in a few words; colors: name -> its colour
    truth       the name of the truth among them, or None;  chosen_by: the image that the square is chosen by
    left, right names at first left and right of the slider
    width_um    of the whole area along x; None where not known
    where       what part of an image this is, where the scene itself was cut out of it
    """

    name: str
    images: dict[str, NDArray[Any]]
    colors: dict[str, str]
    captions: dict[str, str]
    truth: str | None
    chosen_by: str
    left: str
    right: str
    width_um: float | None
    where: str = ""


def make_field(scene: Scene, side: int, gallery: Gallery) -> Field:
    """Cut a scene to squares of at most `side` pixels of the finest image, and draw its curves and its picture.

    Raises InputError where an image's size is no whole multiple of the smallest one's.
    """
    coarse = min((image.shape for image in scene.images.values()), key=lambda shape: shape[1])
    factors = {name: _factor(name, image.shape, coarse) for name, image in scene.images.items()}
    reference, finest = scene.images[scene.chosen_by], max(factors.values())
    cut = max(1, side // finest)
    f = factors[scene.chosen_by]
    y, x = (v // f for v in most_structured_square(reference, cut * f))
    crops = {
        name: image[y * k : (y + cut) * k, x * k : (x + cut) * k]
        for (name, image), k in zip(scene.images.items(), factors.values(), strict=True)
    }
    unit, coarse_size = ("px", 1.0) if scene.width_um is None else ("µm", scene.width_um / coarse[1])
    truth = None if scene.truth is None else crops[scene.truth]
    shown = [
        Shown(
            name,
            pixels,
            coarse_size / factors[name],
            scene.colors[name],
            scene.captions.get(name, ""),
            None if truth is None or name == scene.truth else _fit(pixels, truth),
        )
        for name, pixels in crops.items()
    ]
    names = list(crops)
    judge = crops[scene.chosen_by]
    size = judge.shape[0] * coarse_size / f, judge.shape[1] * coarse_size / f
    line_y, (x0, x1) = most_structured_line(np.nan_to_num(judge.astype(np.float64), posinf=0, neginf=0), size)
    whole = judge.shape == reference.shape
    where = "The whole field." if whole else _where(y * finest, x * finest, cut * finest, scene)
    made = Field(
        name=scene.name,
        images=shown,
        unit=unit,
        left=names.index(scene.left),
        right=names.index(scene.right),
        truth=None if scene.truth is None else names.index(scene.truth),
        window=finite_window(judge),
        line=(x0, line_y, x1, line_y),
        error_window=_error_window(shown, truth),
        remark=scene.where or where,
        charts=field_charts(scene.name, shown, scene.truth, unit, gallery),
    )
    _draw_picture(made, gallery)
    return made


def field_charts(name: str, images: Sequence[Shown], truth: str | None, unit: str, gallery: Gallery) -> list[Chart]:
    """FRC with the truth, where there is one, power spectra and histograms of the images shown."""
    charts = []
    usable = [i for i in images if min(i.pixels.shape) >= LEAST_PX and np.isfinite(i.pixels).all()]
    against = next((i for i in usable if i.name == truth), None)
    if against is not None:
        target = torch.from_numpy(against.pixels.astype(np.float64))
        curves = []
        for one in usable:
            if one is not against and one.pixels.shape == against.pixels.shape:
                curve = frc_curve(torch.from_numpy(one.pixels.astype(np.float64)), target)
                x, y = curve.frequency.numpy() / one.pixel_size, curve.correlation.numpy()
                curves.append(Curve(one.name, x, y, one.color))
        if curves:
            figure = draw_curves(
                curves,
                f"spatial frequency (1/{unit})",
                "correlation with the truth",
                level=Level("1/7", 1 / 7),
                y_range=(-0.1, 1.05),
            )
            words = f"Fourier ring correlation with the truth of {_names(curves)}"
            charts.append(gallery.add(figure, f"frc {name}", "Fourier ring correlation", words))
    spectra = []
    for one in usable:
        frequency, power = power_spectrum(torch.from_numpy(one.pixels.astype(np.float64)))
        positive = torch.where(power > 0, power, math.nan)
        spectra.append(Curve(one.name, frequency.numpy() / one.pixel_size, positive.numpy(), one.color))
    if spectra:
        figure = draw_curves(spectra, f"spatial frequency (1/{unit})", "power (counts²)", log_y=True)
        words = f"radial power spectra of {_names(spectra)}"
        charts.append(gallery.add(figure, f"spectra {name}", "Power spectra", words))
    bars = _histograms(images)
    if bars:
        figure = draw_curves(bars, "intensity (counts)", "share of the pixels", log_y=True)
        charts.append(gallery.add(figure, f"histograms {name}", "Histograms", f"histograms of {_names(bars)}"))
    return charts


def _histograms(images: Sequence[Shown]) -> list[Curve]:
    finite = {one.name: one.pixels[np.isfinite(one.pixels)].astype(np.float64) for one in images}
    ends = [np.percentile(values, (0.01, 99.99)) for values in finite.values() if values.size]
    if not ends:
        return []
    low, high = min(float(e[0]) for e in ends), max(float(e[1]) for e in ends)
    if high <= low:
        return []
    edges = np.linspace(low, high, BINS + 1)
    curves = []
    for one in images:
        if finite[one.name].size:
            share = np.histogram(finite[one.name], edges)[0] / finite[one.name].size
            curves.append(Curve(one.name, (edges[1:] + edges[:-1]) / 2, np.where(share > 0, share, np.nan), one.color))
    return curves


def _names(curves: Sequence[Curve]) -> str:
    return ", ".join(curve.name for curve in curves)


def _factor(name: str, shape: tuple[int, ...], coarse: tuple[int, ...]) -> int:
    factor = shape[1] // coarse[1]
    if shape != (coarse[0] * factor, coarse[1] * factor):
        raise InputError(f"{name} is {shape[0]} x {shape[1]} pixels, no whole multiple of {coarse[0]} x {coarse[1]}")
    return factor


def _fit(pixels: NDArray[Any], truth: NDArray[Any]) -> tuple[float, float] | None:
    """Gain and offset of least squares over the finite pixels, as fluorsr.metrics.fit has them; None across scales."""
    if pixels.shape != truth.shape:
        return None
    good = np.isfinite(pixels) & np.isfinite(truth)
    p, t = pixels[good].astype(np.float64), truth[good].astype(np.float64)
    variance = float(p.var()) if p.size else 0.0
    if not variance:
        return 0.0, float(t.mean()) if t.size else 0.0
    gain = float(((p - p.mean()) * (t - t.mean())).mean()) / variance
    return gain, float(t.mean() - gain * p.mean())


def _errors(image: Shown, truth: NDArray[Any]) -> NDArray[np.float64] | None:
    """Restored minus truth after the fit, NaN where either is not finite; None where there is no fit."""
    if image.fit is None:
        return None
    gain, offset = image.fit
    good = np.isfinite(image.pixels) & np.isfinite(truth)
    errors = np.full(truth.shape, np.nan)
    errors[good] = gain * image.pixels[good].astype(np.float64) + offset - truth[good]
    return errors


def _error_window(images: Sequence[Shown], truth: NDArray[Any] | None) -> float:
    """The 99.5 percentile of all methods' absolute errors after the fit."""
    found = [] if truth is None else [_errors(one, truth) for one in images]
    seen = [np.abs(errors[np.isfinite(errors)]) for errors in found if errors is not None]
    every = np.concatenate(seen) if seen else np.zeros(0)
    return (float(np.percentile(every, 99.5)) if every.size else 0.0) or 1.0


def _where(y: int, x: int, side: int, scene: Scene) -> str:
    height, width = max((image.shape for image in scene.images.values()), key=lambda shape: shape[1])
    return (
        f"Rows {y} to {min(y + side, height)}, columns {x} to {min(x + side, width)} of {height} x {width} pixels: the "
        f"square in which the {scene.chosen_by} varies most."
    )


def _draw_picture(field: Field, gallery: Gallery) -> None:
    """The field as a row of panels with scale bars, and the errors below where there is a truth; beside the page."""
    images, truth = field.images, None if field.truth is None else field.images[field.truth]
    rows = 1 if truth is None else 2
    height = max(one.pixels.shape[0] * one.pixel_size for one in images)
    width = max(one.pixels.shape[1] * one.pixel_size for one in images)
    wide, high = 2.2, 2.2 * height / width
    figure = new_figure(len(images) * (wide + 0.12) + 0.12, rows * (high + 0.55))
    axes = figure.subplots(rows, len(images), squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.06, top=0.94, wspace=0.05, hspace=0.1)
    draw_row(
        axes[0], [Panel(one.pixels, one.name.replace("$", r"\$")) for one in images], (height, width), field.window
    )
    if truth is not None:
        reach = field.error_window
        for place, one in zip(axes[1], images, strict=True):
            place.set_axis_off()
            errors = _errors(one, truth.pixels)
            if errors is not None:
                draw_row([place], [Panel(errors, "")], (height, width), (-reach, reach), "RdBu_r")
    gallery.save(figure, f"images {field.name}")


def fields_of(scenes: list[Scene], gallery: Gallery, warnings: list[str]) -> list[Field]:
    """The scenes as fields, cut so that all their images together keep within the page's budget."""
    areas = [
        (image.shape[1] / max(other.shape[1] for other in scene.images.values())) ** 2
        for scene in scenes
        for image in scene.images.values()
    ]
    side, fields = side_for(areas), []
    for scene in scenes:
        try:
            fields.append(make_field(scene, side, gallery))
        except FluorsrError as error:
            warnings.append(f"{scene.name} is not shown: {error}")
    return fields


def scene_colors(names: Sequence[str], methods: dict[str, str], truth: str | None) -> dict[str, str]:
    """A colour for each image: the methods' own, black for the truth, grey for what no method made."""
    return {name: methods.get(name, TRUTH if name == truth else INPUT) for name in names}
