"""A contact sheet of a checked set of pairs: those at fault first, each with what was found.

    +-------+-------+-------+   +-------+-------+-------+
    | input | target| both  |   | input | target| both  |      crops where the target varies most, 160 input pixels
    +-------+-------+-------+   +-------+-------+-------+      both: input green, target magenta; white where they agree
    name: good, or what is wrong

Each image has its own contrast window: input and target are counts of two instruments.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fluorsr.data.findings import Measured, Report
from fluorsr.data.judge import length
from fluorsr.data.pairs import Pair
from fluorsr.errors import FluorsrError
from fluorsr.report.figures import FAINT, INK, Panel, contrast_window, draw_panel, new_figure, save_png, scale_bar

MOST_PAIRS = 24
CROP_PX = 160
COLUMNS = 2
PANEL_IN, GAP_IN, BETWEEN_IN, TOP_IN, BELOW_IN, EDGE_IN, LINE_IN = 1.5, 0.06, 0.35, 0.7, 0.55, 0.3, 0.16
FAULT, WARNING, GOOD = "#ff6b5e", "#ffb000", "#7bd88f"


def draw_contact_sheet(report: Report, path: str | Path) -> None:
    """Draw at most MOST_PAIRS pairs of a report as PNG, and list the pairs that cannot be shown.

    Raises StorageError where the picture cannot be written.
    """
    faulty = {finding.pair for finding in report.faults}
    shown = sorted(report.measured, key=lambda one: one.pair.name not in faulty)[:MOST_PAIRS]
    drawn = {one.pair.name for one in report.measured}
    hidden = [f"{finding.pair}: {finding.rule}" for finding in report.faults if finding.pair not in drawn]
    rows = math.ceil(len(shown) / COLUMNS)
    cell = 3 * PANEL_IN + 2 * GAP_IN
    width = 2 * EDGE_IN + COLUMNS * cell + (COLUMNS - 1) * BETWEEN_IN
    listed = hidden[:MOST_PAIRS] + ([f"and {len(hidden) - MOST_PAIRS} more"] if len(hidden) > MOST_PAIRS else [])
    below = EDGE_IN + (LINE_IN * (len(listed) + 1) if listed else 0)
    height = TOP_IN + rows * (PANEL_IN + BELOW_IN) + below
    figure = new_figure(width, height, dpi=150)
    for number, one in enumerate(shown):
        left = EDGE_IN + (number % COLUMNS) * (cell + BETWEEN_IN)
        top = TOP_IN + (number // COLUMNS) * (PANEL_IN + BELOW_IN)
        row = []
        for i in range(3):
            x, y = left + i * (PANEL_IN + GAP_IN), top + PANEL_IN
            row.append(figure.add_axes((x / width, 1 - y / height, PANEL_IN / width, PANEL_IN / height)))
        _draw_pair(row, one, titled=number < COLUMNS)
        color, verdict = _verdict(report, one)
        y = top + PANEL_IN + 0.13
        figure.text(left / width, 1 - y / height, one.pair.name, color=INK, fontsize=7.5, va="center")
        y += LINE_IN
        figure.text(left / width, 1 - y / height, verdict, color=color, fontsize=7, va="center")
    title = f"{report.path}: {report.listed} pairs, {len(faulty)} at fault"
    if len(report.measured) > len(shown):
        title += f"; {len(shown)} shown"
    figure.text(EDGE_IN / width, 1 - 0.28 / height, title, color=INK, fontsize=10, va="center")
    for line, text in enumerate(["Not shown, since they do not open as pairs:", *listed] if listed else []):
        y = height - below + LINE_IN * (line + 0.5)
        figure.text(EDGE_IN / width, 1 - y / height, text, color=FAULT if line else FAINT, fontsize=7, va="center")
    save_png(figure, Path(path))


def _draw_pair(row: list[Axes], one: Measured, *, titled: bool) -> None:
    """Draw input, target and both into three axes; a file that cannot be read is said so in its place."""
    titles = ("input", "target", "both") if titled else ("", "", "")
    try:
        first, second = _crop(one.pair)
        images = [_window(first), _window(second)]
    except FluorsrError as error:
        row[0].text(0, 0.5, f"cannot be drawn: {type(error).__name__}", color=FAULT, fontsize=7)
        for axes in row:
            axes.set_axis_off()
        return
    wide = np.kron(images[0], np.ones((one.pair.scale, one.pair.scale), dtype=np.float32))
    both = np.stack([images[1], wide, images[1]], axis=-1)
    pixel = one.pair.pixel_size_um
    extent = tuple(n * (pixel or 1.0) for n in first.shape)
    for axes, image, title in zip(row, (*images, both), titles, strict=True):
        draw_panel(axes, Panel(image, title), (extent[0], extent[1]), (0.0, 1.0), "gray")
    if pixel:
        scale_bar(row[0], extent[1], extent[0])


def _crop(pair: Pair) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean of the input's frames and target [Y, X], cut to CROP_PX input pixels where the target varies most."""
    frames, target = (tensor.numpy() for tensor in pair.read())
    size = [min(CROP_PX, n) for n in pair.size]
    s, best, at = pair.scale, -1.0, (0, 0)
    for y in _starts(pair.size[0], size[0]):
        for x in _starts(pair.size[1], size[1]):
            part = target[s * y : s * (y + size[0]), s * x : s * (x + size[1])]
            if (spread := float(np.nan_to_num(part).var())) > best:
                best, at = spread, (y, x)
    (y, x), (height, width) = at, size
    cut = target[s * y : s * (y + height), s * x : s * (x + width)]
    return frames[:, y : y + height, x : x + width].mean(axis=0), cut


def _starts(length: int, size: int) -> range:
    return range(0, length - size + 1, max(1, size // 2))


def _window(image: NDArray[Any]) -> NDArray[np.float32]:
    """Brought to 0 to 1 by the image's own contrast window."""
    if not np.isfinite(image).any():
        return np.zeros(image.shape, np.float32)
    low, high = contrast_window(image)
    scaled = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    return np.asarray(scaled, dtype=np.float32)


def _verdict(report: Report, one: Measured) -> tuple[str, str]:
    """Colour and words for one pair: its faults, else its warnings, else what was measured."""
    for color, findings in ((FAULT, report.faults), (WARNING, report.warnings)):
        rules = list(dict.fromkeys(finding.rule for finding in findings if finding.pair == one.pair.name))
        if rules:
            return color, ", ".join(rules) + _measures(one)
    return GOOD, "good" + _measures(one)


def _measures(one: Measured) -> str:
    parts = []
    if one.shift is not None and one.sharpness is not None:
        parts.append(f"shift y {one.shift.y:+.2f}, x {one.shift.x:+.2f} px")
        blur = one.sharpness.blur_px
        parts.append(f"input {'blurrier' if blur >= 0 else 'sharper'} by {length(abs(blur), one.pair.pixel_size_um)}")
    return "".join(f" · {part}" for part in parts)
