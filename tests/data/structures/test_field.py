"""The endless plane: the same emitters whatever it is cut into."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.data.structures.emitters import Area, Emitters, join, transform
from fluorsr.data.structures.field import cells_in, emitters_in, parameters_of
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError

NAMES = sorted(STRUCTURES)
BLOCKS = ("line_pairs", "close_lines", "siemens_star")
"""Those that stand in the middle of each cell."""


def sorted_rows(points: Emitters) -> np.ndarray:
    """[n, 4], in an order that does not depend on which cell came first."""
    rows = np.stack(points, axis=1).astype(np.float64)
    return rows[np.lexsort(np.round(rows.T, 4))]


def parts_in(structure: str, seed: int, rows: list[float], columns: list[float]) -> Emitters:
    """All parts of a partition, in the coordinates of the whole."""
    parts = []
    for y0, y1 in itertools.pairwise(rows):
        for x0, x1 in itertools.pairwise(columns):
            part = emitters_in(structure, seed, Area((y0, x0), (y1, x1)))
            parts.append(transform(part, shift_um=(0, y0 - rows[0], x0 - columns[0])))
    return join(parts)


def same(first: Emitters, second: Emitters) -> None:
    """Equal as sets, to the rounding of a float32 coordinate."""
    assert first.y.size == second.y.size
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(np.sort(one), np.sort(other), atol=2e-5)
    # Sums of products tell whether columns still belong together.
    for key in ((0.3, 1.0, 0.7, 0.9), (1.0, -0.4, 0.2, 0.1)):
        sums = [np.sort(np.stack(points).astype(np.float64).T @ key) for points in (first, second)]
        np.testing.assert_allclose(*sums, atol=1e-4)


@pytest.mark.parametrize("structure", NAMES)
def test_the_same_again_and_another_for_another_seed(structure: str) -> None:
    area = Area((3.0, -5.0), (23.0, 15.0))
    once, again = (emitters_in(structure, 7, area) for _ in range(2))
    assert once.y.size > 0
    for one, other in zip(once, again, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)
    assert once.y.min() >= 0
    assert once.y.max() <= 20
    assert once.light.min() >= 0
    different = emitters_in(structure, 8, area)
    assert different.y.size != once.y.size or not np.array_equal(different.y, once.y)


@pytest.mark.parametrize("structure", NAMES)
def test_halves_make_the_whole(structure: str) -> None:
    whole = emitters_in(structure, 1, Area((-4.0, 10.0), (8.0, 22.0)))
    same(whole, parts_in(structure, 1, [-4.0, 1.3, 8.0], [10.0, 16.0, 16.01, 22.0]))


@settings(max_examples=12, deadline=None)
@given(
    structure=st.sampled_from(["microtubules", "vesicles", "mitochondria", "cristae", "points", "rings"]),
    seed=st.integers(0, 2**63),
    corner=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    rows=st.lists(st.floats(0.01, 9.99), max_size=2, unique=True),
    columns=st.lists(st.floats(0.01, 9.99), max_size=2, unique=True),
)
def test_any_partition_makes_the_whole(
    structure: str, seed: int, corner: tuple[float, float], rows: list[float], columns: list[float]
) -> None:
    y, x = corner
    whole = emitters_in(structure, seed, Area((y, x), (y + 10, x + 10)))
    cuts = [[at, *(at + part for part in sorted(parts)), at + 10] for at, parts in ((y, rows), (x, columns))]
    same(whole, parts_in(structure, seed, *cuts))


@pytest.mark.parametrize("structure", NAMES)
@pytest.mark.parametrize("corner", [(-1e9, 0.0), (123456789.25, -987654321.5)])
def test_far_from_the_origin(structure: str, corner: tuple[float, float]) -> None:
    y, x = corner
    coarse = parameters_of(structure, **({"spacing_um": 0.3} if structure in ("nuclei", "lamina") else {}))
    points = emitters_in(structure, 3, Area((y, x), (y + 40, x + 40)), coarse)
    assert points.y.size > 0
    assert all(np.isfinite(column).all() for column in points)
    # As many distinct positions as near the origin: nothing is rounded to a coarse grid.
    assert np.unique(points.y).size > 0.5 * min(points.y.size, 1000) or structure in BLOCKS


@pytest.mark.parametrize("structure", NAMES)
def test_the_reach_is_needed_and_kept(structure: str) -> None:
    """Cells draw within their reach (asserted inside); over many cells some use half of it at least."""
    parameters = STRUCTURES[structure].parameters
    side, reach = parameters.cell_um, parameters.reach_um
    farthest = 0.0
    everything = Area((-1e4, -1e4), (1e4, 1e4))
    if structure in ("nuclei", "lamina"):
        parameters = parameters_of(structure, spacing_um=0.3)
    for cell in cells_in(structure, 2, Area((0.1, 0.1), (2 * side, 2 * side)), parameters)[:9]:
        shift = cell.row * side, cell.column * side
        window = tuple((edge[0] - shift[0], edge[1] - shift[1]) for edge in everything)
        points = STRUCTURES[structure].draw(dataclasses.replace(cell, window=window), parameters)
        for along in (points.y, points.x):
            if along.size:
                farthest = max(farthest, -float(along.min()), float(along.max()) - side)
    assert farthest <= reach
    if structure not in ("points", *BLOCKS):
        assert farthest > 0.2 * reach


@pytest.mark.parametrize("structure", NAMES)
def test_a_part_has_the_order_of_the_whole(structure: str) -> None:
    """What falls on a pixel is added up in the same order, whichever area the pixel was asked for in."""
    whole = emitters_in(structure, 5, Area((0.0, 0.0), (16.0, 16.0)))
    inside = (whole.y >= 4) & (whole.y < 9.5) & (whole.x >= 7) & (whole.x < 12)
    part = emitters_in(structure, 5, Area((4.0, 7.0), (9.5, 12.0)))
    np.testing.assert_array_equal(whole.light[inside], part.light)
    np.testing.assert_array_equal(whole.z[inside], part.z)


def test_what_is_wrong_is_said() -> None:
    area = Area((0.0, 0.0), (5.0, 5.0))
    with pytest.raises(InputError, match="there is no structure 'spindles'; use one of microtubules, even_micro"):
        emitters_in("spindles", 0, area)
    with pytest.raises(InputError, match="seed -1 must be at least 0"):
        emitters_in("actin", -1, area)
    with pytest.raises(InputError, match=r"has \d+ cells, more than 1000000; ask for it in parts"):
        emitters_in("actin", 0, Area((0.0, 0.0), (1e5, 1e5)))
    with pytest.raises(InputError, match="is empty; stop must lie beyond start"):
        emitters_in("actin", 0, Area((0.0, 5.0), (5.0, 5.0)))
    with pytest.raises(InputError, match="must be finite and within 1e\\+09 um of the origin"):
        emitters_in("actin", 0, Area((0.0, 0.0), (5.0, float("nan"))))
    with pytest.raises(InputError, match=r"microtubules takes Microtubules, not Actin; make them with parameters_of\("):
        emitters_in("microtubules", 0, area, STRUCTURES["actin"].parameters)


def test_faults_of_parameters_are_told_together() -> None:
    with pytest.raises(InputError) as caught:
        parameters_of("microtubules", length_um=(5.0, 2.0), labelled=1.5, colour="red", persistence_um=0)
    text = str(caught.value)
    assert "length_um: Value error, a range is two finite numbers, low <= high; got 5.0 and 2.0" in text
    assert "labelled: Value error, a range of shares lies between 0 and 1; got 1.5 to 1.5" in text
    assert "persistence_um: Value error, a range of this quantity starts above 0; got 0.0 to 0.0" in text
    assert "colour: Extra inputs are not permitted" in text
    assert "it takes density_um_per_um2, length_um" in text
    with pytest.raises(InputError, match=r"at least a tenth as wide as long; got an aspect of 0\.0, try 0\.5 to 1"):
        parameters_of("nuclei", aspect=(0, 1))
    with pytest.raises(InputError, match="low <= high; got nan"):
        parameters_of("vesicles", per_um2=float("nan"))
    with pytest.raises(InputError, match=r"starts at 0 or above; got -1\.0 to 2\.0"):
        parameters_of("points", per_um2=(-1, 2))


@pytest.mark.parametrize(
    ("structure", "ranges"),
    [
        ("microtubules", {"density_um_per_um2": 0, "centrosomes_per_um2": 0}),
        ("actin", {"fibres_um_per_um2": 0, "bundles_um_per_um2": 0, "mesh_um_per_um2": 0}),
        ("mitochondria", {"density_um_per_um2": 0}),
        ("nuclei", {"per_um2": 0}),
        ("vesicles", {"per_um2": 0}),
        ("points", {"per_um2": 0}),
        ("lines", {"per_um2": 0}),
        ("rings", {"per_um2": 0}),
    ],
)
def test_nothing_at_density_zero(structure: str, ranges: dict[str, float]) -> None:
    points = emitters_in(structure, 0, Area((0.0, 0.0), (40.0, 40.0)), parameters_of(structure, **ranges))
    assert points.y.size == 0
    assert points.y.dtype == np.float32


def test_degenerate_parameters_that_mean_something() -> None:
    area = Area((0.0, 0.0), (12.0, 12.0))
    stiff = parameters_of("microtubules", depth_um=0, smooth_um=0, paired=0, thickness_um=0, centrosomes_per_um2=0)
    assert np.abs(emitters_in("microtubules", 1, area, stiff).z).max() < 0.04
    short = parameters_of("mitochondria", length_um=0.05, branches_per_um=0, density_um_per_um2=0.5)
    assert emitters_in("mitochondria", 1, area, short).y.size > 0
