"""The report of a training run: how it went, curves, the held-out fields at the end, recipe, environment, model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from fluorsr.errors import FluorsrError, FormatError
from fluorsr.metrics.registry import ALL_METRICS
from fluorsr.models.weights import read_card
from fluorsr.report.html_cards import given, model_card, to_yaml
from fluorsr.report.html_charts import Curve, Gallery, draw_curves
from fluorsr.report.html_page import Card, Chart, Column, Page, Table, method_colors, number
from fluorsr.train.log import ENVIRONMENT, METRICS, RECIPE, read_metrics

NOT_CURVES = ("step", "seconds", "skipped")
WAITING = 0.2
"""Share of the time spent on waiting for data above which the page says so."""
MOST_PICTURE_BYTES = 4 * 2**20


def training_page(folder: Path, gallery: Gallery) -> Page:
    """The page of a run's folder. Raises FormatError where metrics.jsonl holds no line."""
    lines = [line for line in read_metrics(folder / METRICS) if isinstance(line.get("step"), int)]
    if not lines:
        raise FormatError(f"{folder / METRICS} holds no line with a step, so there is nothing to report; train first")
    last = lines[-1]
    recipe = _read(folder / RECIPE)
    figures = [name for name in ALL_METRICS if any(_value(line, name) is not None for line in lines)]
    weights = sorted(folder.glob("*.safetensors"))
    cards, warnings = [], _warnings(lines)
    if not weights:
        warnings.append("there are no weights in this folder: the run has not ended, or was killed")
    for path in weights:
        try:
            cards.append(model_card(read_card(path), path.name))
        except FluorsrError as error:
            warnings.append(f"{path.name} cannot be read: {error}")
    cards += [Card("Recipe", [], recipe)] if recipe else []
    environment = _environment(folder / ENVIRONMENT)
    cards += [Card("Environment", environment)] if environment else []
    picture = _last_picture(folder)
    return Page(
        kind="Training run",
        title=folder.resolve().name,
        summary=_summary(lines, figures),
        warnings=warnings,
        tables=[_validations(lines, figures)] if figures else [],
        charts=[*([picture] if picture else []), *_charts(lines, gallery)],
        cards=cards,
        facts=given(
            {
                "Steps": str(last["step"]),
                "Time": _duration(_value(last, "seconds")),
                "Validations": str(sum(any(name in line for name in figures) for line in lines)),
                "Device": dict(environment).get("device", ""),
            }
        ),
    )


def _value(line: dict[str, Any], name: str) -> float | None:
    """A figure of one line; None where it is missing or not finite."""
    value = line.get(name)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None  # type: ignore[arg-type]


def _points(lines: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(line["step"], value) for line in lines if (value := _value(line, name)) is not None]


def _best(lines: list[dict[str, Any]], name: str) -> tuple[int, float]:
    """(step, figure) of the best validation."""
    choose = max if ALL_METRICS[name].higher_is_better else min
    return choose(_points(lines, name), key=lambda point: point[1])


def _summary(lines: list[dict[str, Any]], figures: list[str]) -> list[str]:
    sentences = []
    for name in figures[:3]:
        step, best = _best(lines, name)
        metric, (_, last) = ALL_METRICS[name], _points(lines, name)[-1]
        sentences.append(
            f"{metric.heading}: best {best:.{metric.digits}f} at step {step}, {last:.{metric.digits}f} last"
        )
    return ["; ".join(sentences) + "."] if sentences else ["Nothing was validated yet."]


def _warnings(lines: list[dict[str, Any]]) -> list[str]:
    """What in the course of a run should make one look twice."""
    found = []
    skipped = _value(lines[-1], "skipped")
    if skipped:
        found.append(f"{skipped:.0f} steps were skipped since their loss was not finite: lower the learning rate")
    missing = [line["step"] for line in lines if "loss" in line and _value(line, "loss") is None]
    if missing:
        found.append(f"the loss was not finite at {len(missing)} reports, first at step {missing[0]}")
    waits = [value for _, value in _points(lines, "data_wait")]
    if waits and np.median(waits) > WAITING:
        found.append(
            f"{np.median(waits):.0%} of the time, in the median, went into waiting for data: give more --workers"
        )
    if "psnr" in lines[-1] and len(_points(lines, "psnr")) >= 5:
        (best_step, best), (last_step, last) = _best(lines, "psnr"), _points(lines, "psnr")[-1]
        if best - last > 1:
            found.append(
                f"the validated PSNR fell from {best:.2f} dB (step {best_step}) to {last:.2f} dB (step {last_step}); "
                "the run overfits or has become unstable: use the best checkpoint"
            )
    return found


def _validations(lines: list[dict[str, Any]], figures: list[str]) -> Table:
    """A row each validation, the best of each figure marked."""
    best = {name: _best(lines, name)[0] for name in figures}
    rows = []
    for line in lines:
        if any(name in line for name in figures):
            cells = [
                number(_value(line, name), ALL_METRICS[name].digits, best=line["step"] == best[name])
                for name in figures
            ]
            seconds = _value(line, "seconds")
            minutes = None if seconds is None else seconds / 60
            rows.append([number(line["step"], 0), number(minutes, 1), number(_value(line, "loss"), 5), *cells])
    headings = [
        Column(ALL_METRICS[name].heading, "number", "higher" if ALL_METRICS[name].higher_is_better else "lower")
        for name in figures
    ]
    columns = [Column("Step"), Column("Minutes"), Column("Loss", "number", "lower"), *headings]
    return Table("Validations", columns, rows, "On held-out fields, after a linear fit of intensity.", len(rows) > 12)


def _charts(lines: list[dict[str, Any]], gallery: Gallery) -> list[Chart]:
    """One chart for each family of figures: those whose names begin with the same word share one."""
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in NOT_CURVES]
    families: dict[str, list[str]] = {}
    for name in names:
        if _points(lines, name):
            families.setdefault(name.partition("_")[0], []).append(name)
    charts = []
    for family, members in families.items():
        colors = method_colors(members)
        curves = []
        for name in members:
            steps, values = zip(*_points(lines, name), strict=True)
            curves.append(Curve(name, np.array(steps, float), np.array(values), colors[name]))
        least, most = min(c.y.min() for c in curves), max(c.y.max() for c in curves)
        title = ALL_METRICS[family].heading if family in ALL_METRICS else members[0] if len(members) == 1 else family
        figure = draw_curves(curves, "step", title, log_y=bool(family == "loss" and least > 0 and most > 5 * least))
        words = f"{title} over the steps; last " + ", ".join(f"{c.name} {c.y[-1]:.4g}" for c in curves)
        charts.append(gallery.add(figure, family, title, words))
    return charts


def _last_picture(folder: Path) -> Chart | None:
    """The picture of the held-out fields at the last validation, where there is one of bearable size."""
    pictures = sorted(folder.glob("validation/step-*.png"))
    if not pictures or pictures[-1].stat().st_size > MOST_PICTURE_BYTES:
        return None
    title = f"Held-out fields at step {pictures[-1].stem.removeprefix('step-').lstrip('0') or '0'}"
    return Chart(title, pictures[-1].read_bytes(), f"{title}: input, restored and target", "png", wide=True)


def _environment(path: Path) -> list[tuple[str, str]]:
    try:
        content = json.loads(_read(path) or "{}")
    except ValueError:
        return []
    if not isinstance(content, dict):
        return []
    return [(str(k), to_yaml(v).strip() if isinstance(v, dict | list) else str(v)) for k, v in content.items()]


def _read(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.1f} min"
