"""Parts of figures: panels that share a contrast window, scale bars, intensity profiles.

Every panel is drawn in micrometres, so that images of different pixel sizes lie on one another exactly:

    0 um +-----------------+ extent_um      the outer edges of the corner pixels, not their centres
         |    image [Y, X] |
         |  ---- 2 um      |  scale bar
         +-----------------+
             caption

Nothing here touches pyplot or any other global state, so figures can be drawn from threads and on machines without a
display.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from fluorsr.errors import InputError, StorageError

BACKGROUND, INK, FAINT = "#101014", "#f2f2f2", "#9a9aa4"


@dataclass(frozen=True)
class Panel:
    """One image [Y, X] of a row, with what stands above and below it."""

    image: NDArray[Any]
    title: str
    caption: str = ""


def new_figure(width_in: float, height_in: float, dpi: int = 200) -> Figure:
    """An empty dark figure of that size in inches."""
    figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def contrast_window(image: NDArray[Any], percentiles: tuple[float, float] = (0.5, 99.8)) -> tuple[float, float]:
    """The intensities shown as black and as the brightest colour: percentiles of the finite pixels of one image.

    Show every image of a comparison with the window of one of them, or a brighter image will pass for a better one.
    """
    finite = np.asarray(image)[np.isfinite(image)]
    if not finite.size:
        raise InputError("an image without a single finite pixel has no contrast window; look at its source first")
    low, high = (float(v) for v in np.percentile(finite, percentiles))
    return low, high if high > low else low + 1.0


def nice_length_um(width_um: float) -> float:
    """A length 1, 2 or 5 times a power of ten, at most a quarter of `width_um`: for a scale bar."""
    if not width_um > 0 or not math.isfinite(width_um):
        raise InputError(f"a width of {width_um} um has no scale bar; it must be positive")
    longest = width_um / 4
    decade = 10.0 ** math.floor(math.log10(longest))
    return max(step * decade for step in (1, 2, 5) if step * decade <= longest * (1 + 1e-9))


def length_label(length_um: float) -> str:
    """`2 µm`, or in nanometres below one micrometre: `500 nm`."""
    return f"{length_um:g} µm" if length_um >= 1 else f"{length_um * 1000:g} nm"


def scale_bar(axes: Axes, width_um: float, height_um: float) -> None:
    """Draw a scale bar into the lower left corner of a panel whose axes are in micrometres."""
    length = nice_length_um(width_um)
    x, y = 0.05 * width_um, 0.94 * height_um
    rim = [withStroke(linewidth=3.4, foreground=BACKGROUND)]
    axes.plot([x, x + length], [y, y], color=INK, linewidth=2.2, solid_capstyle="butt", path_effects=rim)
    rim = [withStroke(linewidth=2.0, foreground=BACKGROUND)]
    axes.text(
        x + length / 2,
        y - 0.025 * height_um,
        length_label(length),
        color=INK,
        fontsize=7,
        ha="center",
        path_effects=rim,
    )


def mark_line(axes: Axes, y_um: float, span_um: tuple[float, float]) -> None:
    """Mark the horizontal line of a profile: thin, so that the image shows through, with a tick at either end."""
    axes.plot(span_um, (y_um, y_um), color=INK, linewidth=0.5, alpha=0.6, linestyle=(0, (4, 3)))
    axes.plot(span_um, (y_um, y_um), color=INK, linewidth=0, marker="|", markersize=7, markeredgewidth=1.0)


def draw_panel(
    axes: Axes, panel: Panel, extent_um: tuple[float, float], window: tuple[float, float], colormap: str = "magma"
) -> None:
    """Draw one image over `extent_um` (height, width), black at window[0] and brightest at window[1]."""
    height, width = extent_um
    axes.imshow(
        panel.image,
        extent=(0, width, height, 0),
        vmin=window[0],
        vmax=window[1],
        cmap=colormap,
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(panel.title, color=INK, fontsize=9, pad=5)
    axes.set_xlabel(panel.caption, color=INK, fontsize=7.5, labelpad=5, linespacing=1.4)


def draw_row(
    row: Sequence[Axes],
    panels: Sequence[Panel],
    extent_um: tuple[float, float],
    window: tuple[float, float],
    colormap: str = "magma",
) -> None:
    """Draw panels of one field side by side with one contrast window, each with a scale bar."""
    for axes, panel in zip(row, panels, strict=True):
        draw_panel(axes, panel, extent_um, window, colormap)
        scale_bar(axes, extent_um[1], extent_um[0])


@dataclass(frozen=True)
class Profile:
    """Intensity along a line: pixel centres in micrometres [N] and values [N]."""

    name: str
    at_um: NDArray[Any]
    values: NDArray[Any]
    color: str


def draw_profiles(axes: Axes, profiles: Sequence[Profile], span_um: tuple[float, float], unit: str) -> None:
    """Draw intensity profiles into one plot from span_um[0] to span_um[1], named in their own colours above it."""
    axes.set_facecolor(BACKGROUND)
    for number, profile in enumerate(profiles):
        axes.plot(profile.at_um - span_um[0], profile.values, color=profile.color, linewidth=1.3)
        axes.text(
            number / len(profiles),
            1.03,
            profile.name,
            color=profile.color,
            fontsize=8,
            transform=axes.transAxes,
        )
    axes.set(xlim=(0, span_um[1] - span_um[0]), ylim=(0, None))
    axes.set_xlabel("along the marked line (µm)", color=INK, fontsize=7.5, labelpad=5)
    axes.set_ylabel(unit, color=INK, fontsize=7.5)
    axes.tick_params(colors=FAINT, labelsize=6.5, length=2.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, replacing what is there. Raises StorageError where that cannot be done."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        figure.savefig(temporary, format="png", facecolor=BACKGROUND)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
