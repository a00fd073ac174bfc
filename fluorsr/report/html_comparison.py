"""The report of a comparison: who ranks first and whether by more than chance, tables, charts, images, cards."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError
from fluorsr.evaluate.results import ALL, INPUT, TARGET, CaseInfo, Caution, Comparison, Method
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.report.html_cards import card_text, find_card, given
from fluorsr.report.html_charts import Gallery, Interval, draw_intervals
from fluorsr.report.html_fields import Scene, fields_of, scene_colors
from fluorsr.report.html_page import Card, Chart, Field, Page, method_colors
from fluorsr.report.html_tables import caption, every_image, groups, overview, pairwise, ranking

MOST_FIELDS = 6
MOST_IMAGES = 12
"""Of one field; the methods that rank best are shown."""
COMPARISON = "comparison.json"
TRUTH_NAME = "truth"
"""What the page calls the picture of TARGET."""


def comparison_page(comparison: Comparison, pictures: Path, gallery: Gallery) -> Page:
    """The page of a comparison whose picture paths start from the folder `pictures`.

    A picture that cannot be read or does not fit the others is left out, and the page says so.
    """
    warnings = [*comparison.protocol.faults, *_cautions(comparison.warnings)]
    fields = _fields(comparison, pictures, gallery, warnings)
    summary = [f"{comparison.protocol.name}: {comparison.protocol.description}"]
    if comparison.methods:
        best, metric = comparison.ranked()[0], comparison.metric(comparison.rank)
        first = f"{best.name} ranks first of {len(comparison.methods)} by {metric.heading}. {_verdict(comparison)}"
        summary.insert(0, first.strip())
    tables = [ranking(comparison)]
    tables += [overview(comparison), groups(comparison)] if len(comparison.groups) > 2 else []
    tables += [pairwise(comparison)] if comparison.tests else []
    tables += [every_image(comparison)] if len(comparison.cases) > 1 else []
    return Page(
        kind="Comparison",
        title=comparison.data.replace(",", ", "),
        summary=summary,
        warnings=warnings,
        tables=tables,
        charts=_charts(comparison, gallery),
        fields=fields,
        cards=[_method_card(method) for method in comparison.ranked()],
        facts=given(
            {
                "Images": str(len(comparison.cases)),
                "Methods": str(len(comparison.methods)),
                "Intensities": comparison.protocol.intensity,
                "Edge left out": f"{comparison.protocol.crop_px} px",
                "Made": comparison.created[:16].replace("T", " "),
                "On": comparison.machine,
                "By fluorsr": comparison.version,
            }
        ),
    )


def _verdict(comparison: Comparison) -> str:
    """Whether the first is more than chance ahead of the second."""
    if len(comparison.methods) < 2:
        return ""
    first, second = (method.name for method in comparison.ranked()[:2])
    for test in comparison.tests:
        if test.metric == comparison.rank and {test.first, test.second} == {first, second}:
            if test.better:
                return f"Its lead over {second} is more than chance (p = {test.p_holm:.2g})."
            return f"Its lead over {second} may be chance (p = {test.p_holm:.2g}, {test.cases} images)."
    return f"Whether its lead over {second} is more than chance was not tested."


def _cautions(cautions: tuple[Caution, ...]) -> list[str]:
    """One line for each rule, method and message, with the images it holds for."""
    cases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in cautions:
        cases[one.method, one.message].append(one.case)
    lines = []
    for (method, message), names in cases.items():
        named = [name for name in names if name]
        where = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        about = ", ".join(part for part in (method, where) if part)
        lines.append(f"{about}: {message}" if about else message)
    return lines


def _charts(comparison: Comparison, gallery: Gallery) -> list[Chart]:
    """Each metric's means and intervals over all images."""
    colors = method_colors([method.name for method in comparison.methods])
    charts = []
    for metric in comparison.metrics:
        rows = []
        for method in comparison.ranked():
            one = comparison.summary(ALL, method.name, metric.name)
            rows.append(Interval(method.name, one.mean, one.low, one.high, colors[method.name]))
        better = {True: "higher is better", False: "lower is better", None: ""}[metric.higher_is_better]
        words = "; ".join(f"{row.name} {row.mean:.{metric.digits}f}" for row in rows)
        label = metric.heading + (f", {better}" if better else "")
        charts.append(
            gallery.add(
                draw_intervals(rows, label), f"means {metric.name}", metric.heading, f"{metric.heading}: {words}"
            )
        )
    return charts


def _fields(comparison: Comparison, folder: Path, gallery: Gallery, warnings: list[str]) -> list[Field]:
    paths: dict[str, dict[str, Path]] = defaultdict(dict)
    for picture in comparison.pictures:
        paths[picture.case][picture.method] = folder / picture.path
    chosen = [case for case in _spread(comparison.cases) if paths[case.name]][:MOST_FIELDS]
    ranked = [method.name for method in comparison.ranked()]
    colors = method_colors([method.name for method in comparison.methods])
    scores = {(score.case, score.method): score.values for score in comparison.scores}
    scenes = []
    for case in chosen:
        images = {}
        for name in [INPUT, *ranked[: MOST_IMAGES - 2], TARGET]:
            if name in paths[case.name]:
                try:
                    images[TRUTH_NAME if name == TARGET else name] = read_plane(paths[case.name][name])
                except FluorsrError as error:
                    warnings.append(f"{case.name}: the picture of {name} is not shown: {error}")
        if TRUTH_NAME not in images:
            continue
        images = {name: image for name, image in images.items() if _divides(case.name, name, image, images, warnings)}
        if len(images) < 2:
            continue
        restored = [name for name in images if name not in (INPUT, TRUTH_NAME)]
        scenes.append(
            Scene(
                name=case.name,
                images=images,
                colors=scene_colors(list(images), colors, TRUTH_NAME),
                captions={name: caption(scores.get((case.name, name), {}), comparison.metrics[:4]) for name in images},
                truth=TRUTH_NAME,
                chosen_by=TRUTH_NAME,
                left=INPUT if INPUT in images else restored[0],
                right=restored[0] if restored else TRUTH_NAME,
                width_um=None if case.pixel_size_um is None else case.pixel_size_um * images[TRUTH_NAME].shape[1],
            )
        )
    return fields_of(scenes, gallery, warnings)


def _divides(case: str, name: str, image: NDArray[Any], images: dict[str, NDArray[Any]], warnings: list[str]) -> bool:
    """Whether the truth is a whole multiple of this picture, along y and x alike; if not, it is said."""
    (height, width), truth = image.shape, images[TRUTH_NAME].shape
    factor = truth[0] // height
    if factor and truth == (factor * height, factor * width):
        return True
    warnings.append(
        f"{case}: the picture of {name} is not shown: it is {height} x {width} pixels, and the truth's {truth[0]} x "
        f"{truth[1]} are no multiple of it"
    )
    return False


def _spread(cases: tuple[CaseInfo, ...]) -> list[CaseInfo]:
    """The cases in an order that takes one of each group in turn, so that the first few show every group."""
    turns: dict[str, int] = defaultdict(int)
    order = []
    for case in cases:
        order.append((turns[case.group], case))
        turns[case.group] += 1
    return [case for _, case in sorted(order, key=lambda one: one[0])]


def read_plane(path: Path) -> NDArray[Any]:
    """The first plane of an image, whole."""
    image = open_image(path)
    return np.asarray(image.read(PlaneIndex(), slice(0, image.size("y")), slice(0, image.size("x"))))


def _method_card(method: Method) -> Card:
    facts = {
        "Kind": method.kind,
        "Source": method.source,
        "SHA-256": method.sha256,
        "Scale": str(method.scale),
        "Device": f"{method.device}, {method.precision}",
        "Trained at": "" if method.pixel_size_um is None else f"{method.pixel_size_um * 1000:g} nm pixels",
        "Structures": ", ".join(method.structures),
        "Notes": "\n".join(method.notes),
    }
    card = find_card(method.source) or find_card(method.name)
    return Card(method.name, given(facts), card_text(card) if card else "")
