"""Means, intervals and tests out of the figures of every case."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fluorsr.evaluate.restore import LIGHT
from fluorsr.evaluate.results import ALL, CaseInfo, MetricInfo, PairedTest, Score, Summary
from fluorsr.evaluate.statistics import bootstrap_interval, holm, wilcoxon
from fluorsr.metrics.registry import ALL_METRICS

SIGNIFICANT = 0.05

Values = Mapping[tuple[str, str], Mapping[str, float]]


def describe(metrics: Sequence[str]) -> tuple[MetricInfo, ...]:
    """The metrics of a comparison, and the light."""
    named = [ALL_METRICS[name]._asdict() | {"name": name} for name in metrics]
    keys = ("name", "heading", "digits", "higher_is_better")
    return (*(MetricInfo(*(one[key] for key in keys)) for one in named), MetricInfo(LIGHT, "light", 2, None))


def summaries(
    cases: Sequence[CaseInfo], methods: Sequence[str], metrics: Sequence[MetricInfo], scores: Sequence[Score]
) -> tuple[Summary, ...]:
    """The mean of every group (and of ALL), method and metric, with its interval."""
    values: Values = {(one.case, one.method): one.values for one in scores}
    groups = {ALL: list(cases)}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    found = []
    for (group, members), method, metric in itertools.product(groups.items(), methods, metrics):
        own = _additive(metric.name, [values[case.name, method][metric.name] for case in members])
        low, high = (_back(metric.name, v) for v in bootstrap_interval(own, lambda drawn: drawn.mean(1)))
        low, high = min(low, high), max(low, high)
        found.append(Summary(group, method, metric.name, len(own), _back(metric.name, _mean(own)), low, high))
    return tuple(found)


def paired_tests(
    cases: Sequence[CaseInfo], methods: Sequence[str], metrics: Sequence[MetricInfo], scores: Sequence[Score]
) -> tuple[PairedTest, ...]:
    """Each two methods over all cases, metric by metric; Holm's correction within a metric."""
    values: Values = {(one.case, one.method): one.values for one in scores}
    found = []
    for metric in metrics:
        if metric.higher_is_better is None:
            continue
        rows = []
        for first, second in itertools.combinations(methods, 2):
            own = np.stack(
                [_additive(metric.name, [values[c.name, m][metric.name] for c in cases]) for m in (first, second)], 1
            )

            def difference(drawn: NDArray[np.float64], name: str = metric.name) -> NDArray[np.float64]:
                means = 1 / drawn.mean(1) if _harmonic(name) else drawn.mean(1)
                return np.asarray(means[:, 0] - means[:, 1])

            with np.errstate(divide="ignore", invalid="ignore"):  # two infinities differ by NaN
                mean = float(difference(own[None])[0])
                apart = np.where(own[:, 0] == own[:, 1], 0.0, own[:, 0] - own[:, 1])
            rows.append((first, second, mean, *bootstrap_interval(own, difference), wilcoxon(apart.tolist())))
        for (first, second, mean, low, high, p), corrected in zip(rows, holm([row[-1] for row in rows]), strict=True):
            better = ""
            if corrected < SIGNIFICANT and mean:
                better = first if (mean > 0) == metric.higher_is_better else second
            found.append(PairedTest(metric.name, first, second, len(cases), mean, low, high, p, corrected, better))
    return tuple(found)


def _harmonic(name: str) -> bool:
    return name in ALL_METRICS and ALL_METRICS[name].harmonic


def _additive(name: str, values: Sequence[float]) -> NDArray[np.float64]:
    """What may be averaged: a resolution as its inverse, the frequency."""
    own = np.asarray(values, np.float64)
    with np.errstate(divide="ignore"):
        return 1 / own if _harmonic(name) else own


def _back(name: str, mean: float) -> float:
    if not _harmonic(name):
        return mean
    return math.inf if mean == 0 else 1 / mean


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())
