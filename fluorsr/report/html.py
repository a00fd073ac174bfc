"""Reports as one HTML file: of a comparison here; of a training run and of an inference output in the files beside.

comparison.json + pictures  --write_report-->  report.html + report_figures/*.svg, *.png
RUN of any of the three kinds  --report_on-->  the same
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError, NotFoundError
from fluorsr.evaluate.results import ALL, INPUT, TARGET, CaseInfo, Caution, Comparison, Method, read_comparison
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.models.weights import Card as WeightsCard
from fluorsr.models.weights import read_card
from fluorsr.models.zoo_index import zoo
from fluorsr.report.html_charts import Gallery, Interval, draw_intervals
from fluorsr.report.html_fields import Scene, make_field, scene_colors
from fluorsr.report.html_images import side_for
from fluorsr.report.html_page import Card, Chart, Field, Page, method_colors, write_page
from fluorsr.report.html_tables import caption, every_image, groups, pairwise, ranking

MOST_FIELDS = 6
MOST_IMAGES = 12
"""Of one field; the methods that rank best are shown."""
COMPARISON = "comparison.json"
TRUTH_NAME = "truth"
"""What the page calls the picture of TARGET."""


def write_report(comparison: Comparison, path: str | Path, *, pictures: str | Path | None = None) -> Path:
    """Write a comparison's report to `path` and its charts into a folder beside it, NAME_figures; returns `path`.

    pictures   the folder that the comparison's picture paths start from; default the report's own
    A picture that cannot be read or does not fit the others is left out, and the page says so. Raises StorageError
    where the report cannot be written.
    """
    path = Path(path)
    gallery = gallery_of(path)
    warnings = [*comparison.protocol.faults, *_cautions(comparison.warnings)]
    fields = _fields(comparison, Path(pictures) if pictures is not None else path.parent, gallery, warnings)
    best = comparison.ranked()[0] if comparison.methods else None
    metric = comparison.metric(comparison.rank)
    summary = [f"{comparison.protocol.name}: {comparison.protocol.description}"]
    if best:
        summary.insert(
            0, f"{best.name} ranks first of {len(comparison.methods)} by {metric.heading}. {_verdict(comparison)}"
        )
    tables = [ranking(comparison)]
    tables += [groups(comparison)] if len(comparison.groups) > 2 else []
    tables += [pairwise(comparison)] if comparison.tests else []
    tables += [every_image(comparison)] if len(comparison.cases) > 1 else []
    page = Page(
        kind="Comparison",
        title=comparison.data.replace(",", ", "),
        summary=summary,
        warnings=warnings,
        tables=tables,
        charts=_charts(comparison, gallery),
        fields=fields,
        cards=[_method_card(method) for method in comparison.ranked()],
        facts=[
            ("Images", str(len(comparison.cases))),
            ("Methods", str(len(comparison.methods))),
            ("Intensities", comparison.protocol.intensity),
            ("Edge left out", f"{comparison.protocol.crop_px} px"),
            *_given(
                {
                    "Made": comparison.created[:16].replace("T", " "),
                    "On": comparison.machine,
                    "By fluorsr": comparison.version,
                }
            ),
        ],
    )
    write_page(page, path)
    return path


def gallery_of(path: Path) -> Gallery:
    """Where the charts of the report at `path` go."""
    return Gallery(path.with_name(f"{path.stem}_figures"))


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
                remark=f"Group: {case.group}.",
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
    return Card(method.name, _given(facts), _model_text(method))


def _model_text(method: Method) -> str:
    """What a model's own file says of it; nothing where there is no such file (any more)."""
    path = zoo().get(method.source) or zoo().get(method.name) or Path(method.source or "-")
    if path.suffix != ".safetensors" or not path.is_file():
        return ""
    try:
        return card_text(read_card(path))
    except FluorsrError:
        return ""


def card_text(card: WeightsCard) -> str:
    """A weights file's card as YAML."""
    content = {
        "architecture": card.architecture,
        "config": card.config,
        "spec": card.spec.to_json(),
        "notes": card.notes,
    }
    return yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=100)


def _plain(value: Any) -> Any:
    """Tuples as lists: YAML has no tuples."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _given(facts: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in facts.items() if value]


def report_comparison(run: Path, out: Path | None) -> Path:
    """The report of a comparison's folder, or of its JSON file. Raises NotFoundError, FormatError, StorageError."""
    file = run / COMPARISON if run.is_dir() else run
    if not file.is_file():
        raise NotFoundError(f"{file} does not exist; fluorsr compare writes it into its --out folder")
    return write_report(read_comparison(file), out or file.parent / "report.html", pictures=file.parent)
