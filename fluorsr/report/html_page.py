"""What a report's page holds, and the page made of it: one HTML file that needs no server and no network.

    Page --- warnings        what to know before believing anything below
         |-- tables          sortable
         |-- charts          SVG pictures (html_charts.py)
         |-- fields          images of one field of view side by side, looked at with page/viewer.js
         `-- cards           what a model or a run says of itself

Requirements it meets
- Names come from files and models of other people: the template escapes every one, data for scripts are JSON in which
  `<` cannot occur, and the page's own policy lets nothing run or load but the one script and style sheet whose hashes
  it names.
- The size is bounded: images share a budget (html_images.side_for), a table shows MOST_ROWS rows, a chart a few
  hundred points a curve.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from fluorsr.errors import StorageError
from fluorsr.report.html_images import encode

SCRIPTS = ("png.js", "table.js", "viewer.js", "profile.js", "main.js")
MOST_ROWS = 500
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#f0e442")
"""Colours that the colour-blind tell apart (Okabe and Ito 2008); methods take them in order, then again."""
TRUTH, INPUT = "#000000", "#8a8a8a"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what is read, what is sorted by (None: no value, always last), and a smaller remark."""

    text: str
    sort: float | str | None
    note: str = ""
    best: bool = False

    @property
    def key(self) -> str:
        if self.sort is None or (isinstance(self.sort, float) and math.isnan(self.sort)):
            return ""
        return str(self.sort).replace("inf", "Infinity") if isinstance(self.sort, float) else str(self.sort)


def text(value: object) -> Cell:
    """A cell of words."""
    return Cell(str(value), str(value))


def number(value: float | None, digits: int = 3, *, note: str = "", best: bool = False) -> Cell:
    """A cell of one figure; NaN and None are a dash."""
    minus = "\N{MINUS SIGN}"
    if value is None or math.isnan(value):
        return Cell("\N{EN DASH}", None, note)
    if math.isinf(value):
        return Cell("∞" if value > 0 else f"{minus}∞", value, note, best)
    return Cell(f"{value:.{digits}f}".replace("-", minus), float(value), note, best)


@dataclass(frozen=True)
class Column:
    """A heading; `better` says which end a first click on it brings to the top, and its arrow."""

    heading: str
    kind: Literal["text", "number"] = "number"
    better: Literal["higher", "lower", ""] = ""
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table; `folded` ones come late and closed. Rows beyond MOST_ROWS are left out, which is said."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    remark: str = ""
    folded: bool = False

    @property
    def shown(self) -> Sequence[Sequence[Cell]]:
        return self.rows[:MOST_ROWS]


@dataclass(frozen=True)
class Chart:
    """A picture: an SVG or PNG file's bytes; `alternative` says in words what it shows. `wide` ones fill the page."""

    title: str
    data: bytes
    alternative: str
    kind: Literal["svg+xml", "png"] = "svg+xml"
    wide: bool = False

    @property
    def source(self) -> str:
        """As the address of an image. In an <img> no SVG can run anything."""
        return f"data:image/{self.kind};base64," + base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True)
class Shown:
    """One image [Y, X] of a field.

    fit      (gain, offset) that brings it to the truth's intensities; None where there is no truth of its pixels
    caption  its figures, in a few words
    """

    name: str
    pixels: NDArray[Any]
    pixel_size: float
    color: str
    caption: str = ""
    fit: tuple[float, float] | None = None


@dataclass(frozen=True)
class Field:
    """Images of one field of view that cover the same area, and the curves drawn of them.

    unit     of the images' pixel_size: "µm", or "px" where it is not known
    left, right   the images that lie left and right of the slider at first; truth: index of the truth, or None
    window   intensities shown as black and white at first; error_window: the error shown in full colour
    line     the profile's line at first: x0, y0, x1, y1 in `unit`
    """

    name: str
    images: Sequence[Shown]
    unit: str
    left: int
    right: int
    truth: int | None
    window: tuple[float, float]
    line: tuple[float, float, float, float]
    error_window: float = 1.0
    remark: str = ""
    charts: Sequence[Chart] = ()

    def to_json(self) -> dict[str, Any]:
        """What page/viewer.js reads."""
        images = []
        for shown in self.images:
            coded = encode(shown.pixels)
            height, width = shown.pixels.shape
            images.append(
                {
                    "name": shown.name,
                    "caption": shown.caption,
                    "color": shown.color,
                    "pixel": shown.pixel_size,
                    "width": width * shown.pixel_size,
                    "height": height * shown.pixel_size,
                    "fit": shown.fit,
                    **vars(coded),
                }
            )
        return {
            "name": self.name,
            "images": images,
            "unit": self.unit,
            "left": self.left,
            "right": self.right,
            "truth": self.truth,
            "window": self.window,
            "errorWindow": self.error_window,
            "line": self.line,
            "remark": self.remark,
        }


@dataclass(frozen=True)
class Card:
    """Facts under a title: names and values, and a longer text shown as it is."""

    title: str
    facts: Sequence[tuple[str, str]]
    text: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report. `kind` is the small word above the title, `summary` its first sentences."""

    kind: str
    title: str
    summary: Sequence[str]
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    fields: Sequence[Field] = ()
    cards: Sequence[Card] = ()
    facts: Sequence[tuple[str, str]] = field(default=())


def write_page(page: Page, path: Path) -> None:
    """Write the page, replacing what is there. Raises StorageError where that cannot be done."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(render(page), "utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=DictLoader({"page": _file("page.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": True}
    script, style = "\n".join(_file(name) for name in SCRIPTS), _file("page.css")
    return environment.get_template("page").render(
        page=page,
        fields=[shown.to_json() for shown in page.fields],
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        version=importlib.metadata.version("fluorsr"),
        most_rows=MOST_ROWS,
    )


@cache
def _file(name: str) -> str:
    return (resources.files("fluorsr.report") / "page" / name).read_text("utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")


def method_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, by its place."""
    return {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(names)}


def finite_window(image: NDArray[Any]) -> tuple[float, float]:
    """Percentiles 0.5 and 99.8 of the finite pixels; (0, 1) where there are none."""
    seen = image[np.isfinite(image)]
    if not seen.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(seen, (0.5, 99.8)))
    return low, high if high > low else low + 1.0
