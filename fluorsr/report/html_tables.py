"""The tables of a comparison: ranking, groups, pairwise tests, every image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fluorsr.evaluate.results import ALL, Comparison, MetricInfo, Summary
from fluorsr.report.html_page import Cell, Column, Table, number, text


def metric_column(metric: MetricInfo) -> Column:
    """The heading of a metric; its first click brings the better end to the top."""
    direction = {True: "higher", False: "lower", None: ""}[metric.higher_is_better]
    return Column(metric.heading, "number", direction)  # type: ignore[arg-type]


def ranking(comparison: Comparison) -> Table:
    """One row a method, best first, over all cases; with what each costs."""
    metrics, found = comparison.metrics, _summaries(comparison)
    best = {metric.name: _best(comparison, found, ALL, metric) for metric in metrics}
    rows = []
    for method in comparison.ranked():
        means = [
            _mean(found.get((ALL, method.name, metric.name)), metric, best=method.name == best[metric.name])
            for metric in metrics
        ]
        cost = [number(method.seconds_per_mp, 2), number(method.memory_mib_per_mp, 0)]
        rows.append([Cell(method.name, method.name, method.kind), *means, *cost])
    columns = [
        Column("Method", "text"),
        *map(metric_column, metrics),
        Column("s / Mpx", "number", "lower", "seconds per million input pixels, median over the images"),
        Column("MiB / Mpx", "number", "lower", "peak memory per million input pixels"),
    ]
    return Table(
        f"Ranking by {comparison.metric(comparison.rank).heading}",
        columns,
        rows,
        f"Means over {len(comparison.cases)} images, with bootstrap 95 % intervals over images. Intensities: "
        f"{comparison.protocol.intensity}. The best mean of each column is shaded. Press a heading to sort.",
    )


def overview(comparison: Comparison) -> Table:
    """One row a group of images, one column a method: the metric that ranks."""
    found, metric = _summaries(comparison), comparison.metric(comparison.rank)
    methods, rows = comparison.ranked(), []
    for group in comparison.groups[1:]:
        best = _best(comparison, found, group, metric)
        summaries = [found.get((group, method.name, metric.name)) for method in methods]
        count = next((one.cases for one in summaries if one), 0)
        cells = [_mean(one, metric, best=one is not None and one.method == best) for one in summaries]
        rows.append([Cell(group, group, "1 image" if count == 1 else f"{count} images"), *cells])
    first = metric_column(metric)
    columns = [Column("Images", "text"), *(replace(first, heading=method.name) for method in methods)]
    return Table(f"{metric.heading} by structure", columns, rows, "The best mean of each row is shaded.")


def groups(comparison: Comparison) -> Table:
    """One row a group of images and method."""
    found, rows = _summaries(comparison), []
    for group in comparison.groups[1:]:
        best = {metric.name: _best(comparison, found, group, metric) for metric in comparison.metrics}
        for method in comparison.ranked(group):
            summaries = [found.get((group, method.name, metric.name)) for metric in comparison.metrics]
            count = next((one.cases for one in summaries if one), 0)
            means = [
                _mean(one, metric, best=method.name == best[metric.name])
                for one, metric in zip(summaries, comparison.metrics, strict=True)
            ]
            rows.append([text(group), text(method.name), number(count, 0), *means])
    columns = [
        Column("Images", "text"),
        Column("Method", "text"),
        Column("Count"),
        *map(metric_column, comparison.metrics),
    ]
    return Table("Every figure by structure", columns, rows, folded=True)


def pairwise(comparison: Comparison) -> Table:
    """One row a metric and pair of methods: their difference, and whether chance explains it."""
    rows = []
    for test in comparison.tests:
        metric = comparison.metric(test.metric)
        rows.append(
            [
                text(metric.heading),
                text(test.first),
                text(test.second),
                number(test.difference, metric.digits, note=_interval(test.low, test.high, metric.digits)),
                number(test.p, 4),
                number(test.p_holm, 4),
                text(f"{test.better} is better" if test.better else "no difference shown"),
            ]
        )
    columns = [
        Column("Metric", "text"),
        Column("First", "text"),
        Column("Second", "text"),
        Column("First \N{MINUS SIGN} second", hint="mean over the images, with its bootstrap 95 % interval"),
        Column("p", "number", "lower", "Wilcoxon's signed-rank test, two-sided"),
        Column("p (Holm)", "number", "lower", "corrected for all tests of this metric"),
        Column("Verdict", "text"),
    ]
    remark = (
        "Image by image, Wilcoxon's signed-rank test; a verdict needs p below 0.05 after Holm's correction. Where none "
        "is shown the methods may still differ: more images would tell."
    )
    return Table("Which differences are more than chance?", columns, rows, remark, folded=True)


def every_image(comparison: Comparison) -> Table:
    """One row an image and method."""
    group = {case.name: case.group for case in comparison.cases}
    rows = [
        [
            text(score.case),
            text(group.get(score.case, "")),
            text(score.method),
            *(number(score.values.get(metric.name), metric.digits) for metric in comparison.metrics),
        ]
        for score in comparison.scores
    ]
    columns = [Column("Image", "text"), Column("Group", "text"), Column("Method", "text")]
    return Table("Every image", [*columns, *map(metric_column, comparison.metrics)], rows, folded=True)


def caption(values: dict[str, float], metrics: Sequence[MetricInfo]) -> str:
    """A few figures in a line: `PSNR 34.21 dB, SSIM 0.931`."""
    parts = []
    for metric in metrics:
        value = values.get(metric.name, math.nan)
        if not math.isnan(value):
            name, _, unit = metric.heading.rstrip(")").partition(" (")
            parts.append(f"{name} {number(value, metric.digits).text}" + (f" {unit}" if unit in ("dB", "nm") else ""))
    return ", ".join(parts)


def _summaries(comparison: Comparison) -> dict[tuple[str, str, str], Summary]:
    return {(one.group, one.method, one.metric): one for one in comparison.summaries}


def _best(
    comparison: Comparison, found: dict[tuple[str, str, str], Summary], group: str, metric: MetricInfo
) -> str | None:
    """The method with the best mean, or None where no direction is better or fewer than two have a figure."""
    means = {
        m.name: found[group, m.name, metric.name].mean
        for m in comparison.methods
        if (group, m.name, metric.name) in found
    }
    known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    if metric.higher_is_better is None or len(known) < 2:
        return None
    return (max if metric.higher_is_better else min)(known, key=lambda name: known[name])


def _mean(summary: Summary | None, metric: MetricInfo, *, best: bool) -> Cell:
    if summary is None:
        return number(None)
    return number(summary.mean, metric.digits, note=_interval(summary.low, summary.high, metric.digits), best=best)


def _interval(low: float, high: float, digits: int) -> str:
    """`33.9 to 34.5`, or nothing where there is no interval."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, digits).text} to {number(high, digits).text}"
