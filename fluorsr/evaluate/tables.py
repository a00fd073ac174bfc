"""A comparison as CSV and Markdown."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from fluorsr.errors import OutputExistsError, StorageError
from fluorsr.evaluate.results import ALL, Comparison, Method, MetricInfo, Summary

FILES = ("comparison.json", "comparison.md", "scores.csv", "summary.csv", "tests.csv")


def claim(folder: Path, *, overwrite: bool = False) -> None:
    """Make the folder that a comparison is written to. Raises OutputExistsError, StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in FILES if (folder / name).exists()]
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}; choose another with --out") from error
    if taken and not overwrite:
        raise OutputExistsError(f"{folder} holds a comparison ({', '.join(taken)}); choose another or use --overwrite")


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write FILES into a folder. Raises StorageError."""
    comparison.save(folder / FILES[0])
    names = [metric.name for metric in comparison.metrics]
    cases = {case.name: case for case in comparison.cases}
    scores = [
        [one.case, cases[one.case].group, cases[one.case].structure, one.method, *(one.values[n] for n in names)]
        for one in comparison.scores
    ]
    summary = [[s.group, s.method, s.metric, s.cases, s.mean, s.low, s.high] for s in comparison.summaries]
    tests = [
        [t.metric, t.first, t.second, t.cases, t.difference, t.low, t.high, t.p, t.p_holm, t.better]
        for t in comparison.tests
    ]
    try:
        (folder / FILES[1]).write_text(to_markdown(comparison), encoding="utf-8")
        _write(folder / FILES[2], ["case", "group", "structure", "method", *names], scores)
        _write(folder / FILES[3], ["group", "method", "metric", "cases", "mean", "low", "high"], summary)
        heads = ["metric", "first", "second", "cases", "difference", "low", "high", "p", "p_holm", "better"]
        _write(folder / FILES[4], heads, tests)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}; choose another with --out") from error


def to_markdown(comparison: Comparison) -> str:
    """Everything but the single cases, best method first."""
    rank = comparison.metric(comparison.rank)
    setting = comparison.protocol
    how = f"intensity {setting.intensity}, edges {setting.crop_px} px cropped"
    lines = [f"# {len(comparison.methods)} methods on {len(comparison.cases)} images", ""]
    lines += [f"Images: `{comparison.data}`. Protocol {setting.name} ({how}). {setting.description}", ""]
    if setting.faults:
        lines += ["What is wrong with this setting:", "", *(f"- {fault}" for fault in setting.faults), ""]
    lines += [
        f"Ranked by {rank.heading}. Brackets hold the 95 % bootstrap interval of the mean over images; resolutions are "
        "averaged as frequencies. Light is the restored light over the input's, best at 1.",
        "",
    ]
    groups = comparison.groups if len(comparison.groups) > 2 else (ALL,)
    for group in groups:
        lines += [f"## {'All images' if group == ALL else group}", "", *_table(comparison, group), ""]
    lines += ["## Does the ranking hold?", "", *_tests(comparison, rank), "", "## Methods", ""]
    lines += ["| method | kind | seconds a megapixel | MiB a megapixel | notes |", "|---|---|---:|---:|---|"]
    for method in comparison.ranked():
        cost = [_cell(method.seconds_per_mp, 2), _cell(method.memory_mib_per_mp, 0)]
        lines.append("| " + " | ".join([method.name, method.kind, *cost, "; ".join(method.notes)]) + " |")
    lines += ["", f"Megapixels of the input, one image at a time, on {comparison.machine}.", ""]
    if comparison.warnings:
        lines += ["## Warnings", "", *warning_lines(comparison), ""]
    lines.append(f"fluorsr {comparison.version}, {comparison.created}")
    return "\n".join(lines) + "\n"


def warning_lines(comparison: Comparison) -> list[str]:
    """One line for each kind of warning, method and message; how many images share it."""
    gathered: dict[tuple[str, str, str], list[str]] = {}
    for one in comparison.warnings:
        message = one.message if not one.case or one.rule in ("pixel-size", "structure") else ""
        gathered.setdefault((one.rule, one.method, message), []).append(one.case or one.message)
    lines = []
    first = {(one.rule, one.method): one.message for one in reversed(comparison.warnings)}
    for (rule, method, message), cases in gathered.items():
        said = message or first[rule, method]
        who = f"{method}: " if method else ""
        many = f" ({len(cases)} images, first {cases[0]})" if cases[0] != said else ""
        lines.append(f"- **{rule}** {who}{said}{many}")
    return lines


def _table(comparison: Comparison, group: str) -> list[str]:
    heads = ["method", *(heading(metric) for metric in comparison.metrics)]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * len(comparison.metrics)]
    for method in comparison.ranked(group):
        cells = [figure(comparison, group, method, metric) for metric in comparison.metrics]
        lines.append("| " + " | ".join([method.name, *cells]) + " |")
    return lines


def figure(comparison: Comparison, group: str, method: Method, metric: MetricInfo) -> str:
    """A mean and its interval, as text."""
    one: Summary = comparison.summary(group, method.name, metric.name)
    mean, low, high = (_cell(value, metric.digits) for value in (one.mean, one.low, one.high))
    return mean if math.isnan(one.low) else f"{mean} [{low}, {high}]"


def heading(metric: MetricInfo) -> str:
    """A metric's heading with an arrow to where it is better."""
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    return metric.heading + arrow


def _tests(comparison: Comparison, rank: MetricInfo) -> list[str]:
    """Each method against the next, by the metric of the ranking."""
    ranked = [method.name for method in comparison.ranked()]
    found = {frozenset((t.first, t.second)): t for t in comparison.tests if t.metric == rank.name}
    lines = []
    for one, other in itertools.pairwise(ranked):
        test = found[frozenset((one, other))]
        apart = abs(test.difference)
        verdict = "better" if test.better == one else "not shown to be better"
        lines.append(
            f"- {one} is {verdict} than {other}: {_cell(apart, rank.digits)} in {rank.heading}, p = {test.p_holm:.2g} "
            f"(Wilcoxon signed-rank, Holm-corrected, {test.cases} images)"
        )
    return lines or ["One method only: there is nothing to test."]


def _cell(value: float | None, digits: int) -> str:
    if value is None:
        return "not measured"
    return f"{value:.{digits}f}" if math.isfinite(value) else {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")


def _write(path: Path, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        writer.writerows(rows)
