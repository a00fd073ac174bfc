"""Intervals and tests, against SciPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fluorsr.evaluate.statistics import bootstrap_interval, holm, wilcoxon


def test_a_bootstrap_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).gamma(2.0, 5.0, 30)
    own = bootstrap_interval(values, lambda drawn: drawn.mean(1))
    other = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert own == pytest.approx((other.low, other.high), abs=0.03 * values.std())


def test_it_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(7, 2, 20), lambda drawn: drawn.mean(1))
        held += low < 7 < high
    assert 0.87 < held / 200 < 0.98


def test_a_bootstrap_draws_whole_rows_and_the_same_every_time() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 100, 25)
    pairs = np.stack([shared + 1, shared], 1)
    low, high = bootstrap_interval(pairs, lambda drawn: drawn[..., 0].mean(1) - drawn[..., 1].mean(1))
    assert low == pytest.approx(1) == high
    first, second = (bootstrap_interval(shared, lambda drawn: drawn.mean(1)) for _ in range(2))
    assert first == second


def test_one_image_has_no_interval_and_infinity_none_either() -> None:
    assert all(math.isnan(v) for v in bootstrap_interval(np.array([3.0]), lambda drawn: drawn.mean(1)))
    assert all(math.isnan(v) for v in bootstrap_interval(np.array([3.0, math.inf]), lambda drawn: drawn.mean(1)))


@pytest.mark.parametrize("size", [1, 5, 12, 30])
def test_wilcoxon_is_that_of_scipy(size: int) -> None:
    differences = np.random.default_rng(size).normal(0.5, 1, size)
    assert wilcoxon(differences.tolist()) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_wilcoxon_with_ties_by_counting_every_sign() -> None:
    differences = np.array([1.0, 1.0, -1.0, 2.0, 2.0, -3.0, 4.0])
    ranks = stats.rankdata(np.abs(differences))
    own = ranks[differences > 0].sum()
    signs = (np.arange(2**7)[:, None] >> np.arange(7)) & 1
    sums = (signs * ranks).sum(1)
    expected = min(1.0, 2 * min((sums <= own).mean(), (sums >= own).mean()))
    assert wilcoxon(differences.tolist()) == pytest.approx(expected)
    assert wilcoxon([*differences.tolist(), 0.0, 0.0]) == pytest.approx(expected)


def test_what_cannot_be_tested() -> None:
    assert wilcoxon([0.0, 0.0]) == 1
    assert math.isnan(wilcoxon([1.0, math.nan]))
    assert wilcoxon([1.0] * 5) == pytest.approx(2 / 2**5)


def test_holm_by_hand() -> None:
    """Ordered 0.01, 0.02, 0.03: times 3, 2, 1, and never falling."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    found = holm([0.01, math.nan])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert holm([]) == []
