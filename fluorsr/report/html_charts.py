"""Charts for a report: curves, and means with their intervals. Each is SVG in the page, and SVG and PNG beside it.

Colours are Okabe and Ito's, and every curve that shares a colour with another has its own dash, so that no two are told
apart by colour alone.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fluorsr.errors import StorageError
from fluorsr.report.html_page import Chart

INK, FAINT, RULE = "#17191c", "#5b6068", "#dcdcd6"
SIZE_IN = (4.1, 3.1)
MOST_POINTS = 300
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True)
class Curve:
    """x [N] and y [N] under a name."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    color: str


@dataclass(frozen=True)
class Interval:
    """A mean and its interval; the ends are NaN where there is none."""

    name: str
    mean: float
    low: float
    high: float
    color: str


@dataclass(frozen=True)
class Level:
    """A horizontal line with a name, such as a threshold."""

    name: str
    at: float


@dataclass
class Gallery:
    """The folder beside a page in which every chart also stands as NAME.svg and NAME.png.

    Raises StorageError where it cannot be written.
    """

    folder: Path
    names: set[str] = field(default_factory=set)

    @classmethod
    def beside(cls, page: Path) -> Gallery:
        """Of the report at `page`: report.html has report_figures."""
        return cls(page.with_name(f"{page.stem}_figures"))

    def add(self, figure: Figure, name: str, title: str, alternative: str) -> Chart:
        """Write a figure and return it for the page."""
        return Chart(title, self.save(figure, name).encode(), alternative)

    def save(self, figure: Figure, name: str) -> str:
        """Write a figure as SVG and PNG; returns the SVG."""
        svg, stem = to_svg(figure), self.file_name(name)
        figure.set_layout_engine("none")  # laid out once is enough
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{stem}.svg").write_text(svg, "utf-8")
            figure.savefig(self.folder / f"{stem}.png", dpi=150)
        except OSError as error:
            raise StorageError(f"{self.folder / stem} cannot be written: {error.strerror or error}") from error
        return svg

    def file_name(self, name: str) -> str:
        """A name for files that no one has yet: letters, digits and hyphens, whatever the data are called."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "chart"
        unique, number = plain, 2
        while unique in self.names:
            unique, number = f"{plain}-{number}", number + 1
        self.names.add(unique)
        return unique


def to_svg(figure: Figure) -> str:
    """SVG text: words stay words, and the same figure gives the same bytes."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fluorsr"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def draw_curves(
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    *,
    level: Level | None = None,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Figure:
    """Curves of one quantity over another, named below the plot."""
    figure, axes = _plot()
    used: dict[str, int] = {}
    for curve in curves:
        x, y = _thinned(curve)
        dash = DASHES[used.get(curve.color, 0) % len(DASHES)]
        used[curve.color] = used.get(curve.color, 0) + 1
        axes.plot(x, y, color=curve.color, linewidth=1.6, linestyle=dash, label=_label(curve.name))
    if log_y:
        axes.set_yscale("log")
    if y_range:
        axes.set_ylim(*y_range)
    axes.margins(x=0)
    if level:
        axes.axhline(level.at, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.annotate(
            level.name,
            (1, level.at),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            color=FAINT,
            fontsize=8,
            ha="right",
        )
    axes.set_xlabel(x_label, color=FAINT, fontsize=9)
    axes.set_ylabel(y_label, color=FAINT, fontsize=9)
    if len(curves) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def draw_intervals(intervals: Sequence[Interval], x_label: str) -> Figure:
    """One row for each method, the first on top: a dot at its mean, a bar over its interval."""
    figure, axes = _plot(height_in=0.9 + 0.36 * len(intervals))
    axes.grid(visible=False, axis="y")
    for row, one in enumerate(intervals):
        if math.isfinite(one.low) and math.isfinite(one.high):
            axes.plot(
                [one.low, one.high], [row, row], color=one.color, linewidth=3.2, alpha=0.55, solid_capstyle="butt"
            )
        if math.isfinite(one.mean):
            axes.plot(
                one.mean, row, marker="o", markersize=7, color=one.color, markeredgecolor=INK, markeredgewidth=0.6
            )
    axes.set_ylim(len(intervals) - 0.4, -0.6)
    axes.set_yticks(range(len(intervals)), [_label(one.name) for one in intervals], color=INK, fontsize=9)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label, color=FAINT, fontsize=9)
    return figure


def _plot(height_in: float = SIZE_IN[1]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(SIZE_IN[0], height_in), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(visible=True, color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8.5, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
    return figure, axes


def _label(name: str) -> str:
    """A name as it is: matplotlib reads $ as mathematics, and hides labels that begin with an underscore."""
    return " " * name.startswith("_") + name.replace("$", r"\$")


def _thinned(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most MOST_POINTS of a curve, evenly taken, so that a page's size does not follow the data's."""
    if curve.x.size <= MOST_POINTS:
        return curve.x, curve.y
    at = np.unique(np.linspace(0, curve.x.size - 1, MOST_POINTS).round().astype(int))
    return curve.x[at], curve.y[at]
