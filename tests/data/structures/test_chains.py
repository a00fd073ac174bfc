"""Worm-like chains against their theory: tangent correlations, the channel along z, arc lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.chains import STEP_UM, Chains, beside, grow, sites

EVERYWHERE = ((-1e6, -1e6), (1e6, 1e6))


def chains(n: int, length: float, persistence: float, *, depth_um: float, smooth_um: float = 0.0) -> Chains:
    rng = np.random.default_rng(1)
    zero = np.zeros(n)
    heading = rng.uniform(0, 2 * math.pi, n)
    columns = np.full(n, length), np.full(n, persistence)
    return grow(rng, (zero, zero, zero), heading, *columns, depth_um=depth_um, smooth_um=smooth_um)


def tangents(group: Chains) -> np.ndarray:
    """[3, n, steps] of length 1."""
    return np.stack([np.diff(line, axis=1) for line in group[:3]]) / STEP_UM


@pytest.mark.parametrize("persistence", [3.0, 12.0, 40.0])
@pytest.mark.parametrize("smooth_um", [0.0, 0.6])
def test_persistence_length_in_the_plane(persistence: float, smooth_um: float) -> None:
    """<cos turn> = exp(-s / 2 Lp) in the plane: the persistence length within three standard errors."""
    n, length = 1500, 20.0
    group = chains(n, length, persistence, depth_um=0.0, smooth_um=smooth_um)
    direction = tangents(group)
    # Between arcs s apart, smoothing takes a third of its window from the variance (of two averages of a random walk).
    apart = round(max(2.0, 0.2 * persistence) / STEP_UM)
    cosines = (direction[1:, :, :-apart] * direction[1:, :, apart:]).sum(axis=0).mean(axis=1)
    expected_s = apart * STEP_UM - smooth_um / 3
    correlation, error = cosines.mean(), cosines.std() / math.sqrt(n)
    assert correlation == pytest.approx(math.exp(-expected_s / (2 * persistence)), abs=3 * error)
    estimate = -expected_s / (2 * math.log(correlation))
    assert estimate == pytest.approx(persistence, rel=0.1)


def test_persistence_length_in_space() -> None:
    """Well below the deflection length a chain turns alike about both axes: <t t'> = exp(-s / Lp)."""
    persistence, depth = 30.0, 1.0
    direction = tangents(chains(3000, 12.0, persistence, depth_um=depth))
    for apart in (2, 4, 8):
        cosines = (direction[:, :, :-apart] * direction[:, :, apart:]).sum(axis=0).mean(axis=1)
        error = cosines.std() / math.sqrt(cosines.size)
        expected = math.exp(-apart * STEP_UM / persistence)
        assert 1 - cosines.mean() == pytest.approx(1 - expected, rel=0.08, abs=3 * error)


@pytest.mark.parametrize(("persistence", "depth"), [(10.0, 0.1), (20.0, 0.4)])
def test_the_channel_holds_chains_in_z(persistence: float, depth: float) -> None:
    """Seen from its middle, a long chain strays sqrt(2) rms far at its ends, and no more at greater lengths."""
    for length in (20.0, 40.0):
        group = chains(1500, length, persistence, depth_um=depth)
        assert group.z[:, -1].std() == pytest.approx(math.sqrt(2) * depth, rel=0.1)
    # The tilt's variance is 1 / (4 k Lp), with 4 k^3 Lp depth^2 = 1.
    k = (1 / (4 * persistence * depth**2)) ** (1 / 3)
    assert tangents(group)[0].std() == pytest.approx(math.sqrt(1 / (4 * k * persistence)), rel=0.1)


def test_lengths_anchors_and_headings() -> None:
    rng = np.random.default_rng(2)
    anchor = tuple(rng.uniform(-5, 5, (3, 4)))
    length = np.array([0.04, 1.0, 3.0, 10.0])
    group = grow(rng, anchor, np.full(4, math.pi / 2), length, np.full(4, 1e9), depth_um=0.0)
    np.testing.assert_array_equal(group.used, [2, 11, 31, 101])
    np.testing.assert_allclose(np.linalg.norm(tangents(group), axis=0), 1.0, rtol=1e-9)
    # Heading pi / 2 is along x; a nearly rigid chain runs straight through its anchor.
    np.testing.assert_allclose(group.y[3], anchor[1][3], atol=1e-3)
    assert group.x[3, 0] == pytest.approx(anchor[2][3] - 5.0, abs=1e-3)
    assert group.x[3, 100] == pytest.approx(anchor[2][3] + 5.0, abs=1e-3)
    from_end = grow(rng, anchor, np.zeros(4), length, np.full(4, 5.0), depth_um=0.1, from_end=True)
    for line, at in zip(from_end[:3], anchor, strict=True):
        np.testing.assert_allclose(line[:, 0], at)


def test_sites_are_evenly_spread_and_know_where_they_are() -> None:
    group = chains(20, 5.0, 10.0, depth_um=0.1)
    cell = Cell(0, "test", 0, 0, 16.0, EVERYWHERE)
    place = sites(cell, group, 200.0, 1, 0.1)
    assert place.arc.size == 20 * 5 * 200
    assert np.unique(place.number).size == place.number.size
    for chain in range(20):
        arcs = np.sort(place.arc[place.chain == chain])
        assert np.abs(arcs - (np.arange(1000) + 0.5) / 200).max() < 1 / 200
    part = place.arc / STEP_UM - place.vertex
    for line, at in zip(group[:3], place.position, strict=True):
        low, high = line[place.chain, place.vertex], line[place.chain, place.vertex + 1]
        np.testing.assert_allclose(at, low + part * (high - low), atol=1e-9)
    # By chain: one with twice the sites.
    each = sites(cell, group, np.where(np.arange(20) == 3, 200.0, 100.0), 1, 0.1)
    assert np.bincount(each.chain)[3] == 1000
    assert np.bincount(each.chain)[4] == 500
    # Fewer than one a step, and fractions of one, on average.
    for per_um in (3.0, 37.0):
        assert sites(cell, group, per_um, 1, 0.1).arc.size == pytest.approx(100 * per_um, rel=0.12)


def test_a_window_shows_the_same_sites() -> None:
    group = chains(20, 10.0, 10.0, depth_um=0.1)
    whole = sites(Cell(0, "test", 0, 0, 16.0, EVERYWHERE), group, 100.0, 1, 0.0)
    part = sites(Cell(0, "test", 0, 0, 16.0, ((0.0, 0.5), (2.0, 3.0))), group, 100.0, 1, 0.0)
    y, x = whole.position[1:]
    inside = (y >= 0) & (y < 2) & (x >= 0.5) & (x < 3)
    assert 0 < inside.sum() <= part.number.size < whole.number.size
    kept = np.isin(whole.number, part.number)
    assert kept[inside].all()
    np.testing.assert_array_equal(whole.arc[kept], part.arc)


def test_beside_is_across() -> None:
    group = chains(30, 6.0, 5.0, depth_um=0.4)
    place = sites(Cell(0, "test", 0, 0, 16.0, EVERYWHERE), group, 50.0, 1, 0.0)
    angle = np.random.default_rng(0).uniform(0, 2 * math.pi, place.arc.size)
    moved = np.stack(beside(place, 0.2, angle)) - np.stack(place.position)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=0), 0.2, rtol=1e-6)
    np.testing.assert_allclose((moved * np.stack(place.tangent)).sum(axis=0), 0, atol=1e-9)


def test_random_numbers_of_a_cell() -> None:
    cell = Cell(5, "actin", -3, 12, 16.0, EVERYWHERE)
    columns = cell.uniform(1, np.arange(200_000))
    for column in columns:
        assert column.mean() == pytest.approx(0.5, abs=0.003)
        assert column.var() == pytest.approx(1 / 12, rel=0.01)
        assert np.histogram(column, 50, (0, 1))[0].std() < 120
    correlations = np.corrcoef(np.stack([*columns, np.roll(columns[0], 1)]))
    assert np.abs(correlations - np.eye(4)).max() < 0.01
    for other in (cell.neighbour(0, 1), cell.neighbour(1, 0), Cell(6, "actin", -3, 12, 16.0, EVERYWHERE)):
        assert abs(np.corrcoef(columns[0], other.uniform(1, np.arange(200_000))[0])[0, 1]) < 0.01
        assert cell.rng().random() != other.rng().random()
    assert cell.specimen().random() == cell.neighbour(4, -9).specimen().random()
    # The smooth noise is continuous over cell borders, of mean 0 and variance 1.
    y = np.linspace(0, 16, 50)
    edge = cell.noise(0, y, np.full(50, 16.0), 30.0)
    np.testing.assert_allclose(edge, cell.neighbour(0, 1).noise(0, y, np.zeros(50), 30.0), atol=1e-9)
    rng = np.random.default_rng(0)
    far = cell.noise(0, rng.uniform(-1e5, 1e5, 100_000), rng.uniform(-1e5, 1e5, 100_000), 30.0)
    assert far.mean() == pytest.approx(0, abs=0.02)
    assert far.std() == pytest.approx(1, rel=0.02)
