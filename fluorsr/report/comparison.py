"""The picture of a comparison: for each channel a crop of input, restored image and truth, and a profile through them.

channel   | input | restored | truth | intensity along the marked line |
          captions                       all three, in the camera's counts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fluorsr.report.figures import (
    FAINT,
    INK,
    Panel,
    Profile,
    contrast_window,
    draw_profiles,
    draw_row,
    mark_line,
    new_figure,
    save_png,
)

TITLES = ("input", "restored", "truth")
COLORS = (FAINT, "#ffb000", "#53c8ff")
PANEL_IN, PLOT_IN, GAP_IN, LEFT_IN, TOP_IN, BELOW_IN, FOOT_IN = 2.56, 2.5, 0.14, 0.42, 0.75, 0.72, 0.55
PROFILE_UM = 3.0
BAND_UM = 0.1


@dataclass(frozen=True)
class Crop:
    """One field three times, [Y, X] each: input, restored image, truth; they cover the same micrometres.

    size_um    (height, width) of the field
    captions   what stands below each of the three
    """

    name: str
    images: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
    size_um: tuple[float, float]
    captions: tuple[str, str, str]


def draw_comparison(crops: Sequence[Crop], path: Path, *, title: str, footer: str) -> None:
    """Draw one row a crop and write the picture as PNG. Within a row all images have the truth's contrast window."""
    width = LEFT_IN + 3 * (PANEL_IN + GAP_IN) + 0.55 + PLOT_IN + 0.15
    height = TOP_IN + len(crops) * (PANEL_IN + BELOW_IN) + FOOT_IN
    figure = new_figure(width, height)

    def place(left: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))

    for number, crop in enumerate(crops):
        top = TOP_IN + number * (PANEL_IN + BELOW_IN)
        row = [place(LEFT_IN + i * (PANEL_IN + GAP_IN), top, PANEL_IN, PANEL_IN) for i in range(3)]
        window = contrast_window(crop.images[2])
        titles = TITLES if number == 0 else ("", "", "")
        panels = [Panel(*what) for what in zip(crop.images, titles, crop.captions, strict=True)]
        draw_row(row, panels, crop.size_um, window)
        row[0].set_ylabel(crop.name, color=INK, fontsize=10, labelpad=6)
        line_um, span_um = most_structured_line(crop.images[2], crop.size_um)
        for axes in row:
            mark_line(axes, line_um, span_um)
        plot = place(LEFT_IN + 3 * (PANEL_IN + GAP_IN) + 0.55, top, PLOT_IN, PANEL_IN)
        profiles = [
            Profile(name, *profile_along(image, crop.size_um, line_um), color)
            for name, image, color in zip(TITLES, crop.images, COLORS, strict=True)
        ]
        draw_profiles(plot, profiles, span_um, "intensity (counts)")
    figure.text(LEFT_IN / width, 1 - 0.3 / height, title, color=INK, fontsize=11, va="center")
    figure.text(LEFT_IN / width, 0.36 / height, footer, color=FAINT, fontsize=7, va="center", linespacing=1.5)
    save_png(figure, path)


def most_structured_line(image: NDArray[Any], size_um: tuple[float, float]) -> tuple[float, tuple[float, float]]:
    """The horizontal line of at most PROFILE_UM along which an image goes up and down most.

    Returns its y, and the x it runs from and to, in micrometres. The square root keeps one bright peak from outweighing
    several dimmer ones.
    """
    height, width = image.shape
    step = size_um[1] / width
    length = min(width, round(PROFILE_UM / step))
    root = np.sqrt(np.maximum(image - np.min(image), 0, dtype=float))
    travelled = np.zeros((height, width))
    np.cumsum(np.abs(np.diff(root, axis=1)), axis=1, out=travelled[:, 1:])
    variation = travelled[:, length - 1 :] - travelled[:, : width - length + 1]
    # Away from the upper edge, and from the scale bar at the lower one, where a line is hard to see.
    first, last = height // 8, max(height // 8 + 1, height - height // 4)
    y, x = np.unravel_index(np.argmax(variation[first:last]), (last - first, variation.shape[1]))
    return (first + int(y) + 0.5) * size_um[0] / height, (int(x) * step, (int(x) + length) * step)


def profile_along(
    image: NDArray[Any], size_um: tuple[float, float], y_um: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres in micrometres and intensities along the line at `y_um`: the mean of the rows within BAND_UM."""
    height, width = image.shape
    step = size_um[0] / height
    row, reach = min(int(y_um / step), height - 1), max(0, int(BAND_UM / step) - 1) // 2
    band = np.asarray(image, float)[max(0, row - reach) : row + reach + 1]
    return (np.arange(width) + 0.5) * size_um[1] / width, band.mean(axis=0)
