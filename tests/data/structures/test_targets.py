"""Targets: what is drawn agrees with the exact shapes, and their exact images with sums over the emitters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluorsr.data.structures.draw import draw_spots
from fluorsr.data.structures.emitters import Area, emitters
from fluorsr.data.structures.field import cells_in, emitters_in, parameters_of
from fluorsr.data.structures.targets import (
    LinePairs,
    RingField,
    Rings,
    Segments,
    Star,
    Stars,
    fill_segments,
    line_pair_segments,
    ring_circles,
    star,
)
from fluorsr.data.structures.truth import pair_profile, rings_image, segments_image, star_image
from fluorsr.errors import InputError

CELL = Area((0.0, 0.0), (16.0, 16.0))


def test_line_pairs_are_spaced_exactly() -> None:
    parameters = LinePairs(spacings_um=(0.1, 0.2, 0.35), length_um=3.0)
    for here in cells_in("line_pairs", 4, Area((-30.0, 0.0), (30.0, 60.0)), parameters):
        y0, x0, y1, x1 = line_pair_segments(here, parameters)
        assert y0.size == 6
        np.testing.assert_allclose(np.hypot(y1 - y0, x1 - x0), 3.0, rtol=1e-12)
        for i, spacing in enumerate(parameters.spacings_um):
            # Distance of a line's start from the infinite line through its partner.
            uy, ux = (y1[2 * i] - y0[2 * i]) / 3.0, (x1[2 * i] - x0[2 * i]) / 3.0
            across = (x0[2 * i + 1] - x0[2 * i]) * uy - (y0[2 * i + 1] - y0[2 * i]) * ux
            assert abs(across) == pytest.approx(spacing, rel=1e-12)


def test_a_stretch_multiplies_each_spacing_and_turns_nothing() -> None:
    usual, stretched = LinePairs(spacings_um=(0.1, 0.2)), LinePairs(spacings_um=(0.1, 0.2), stretch=(0.7, 1.4))
    factors = []
    for here in cells_in("line_pairs", 4, Area((-40.0, 0.0), (40.0, 40.0)), usual):
        gaps = []
        for parameters in (usual, stretched):
            y0, x0, y1, x1 = line_pair_segments(here, parameters)
            gaps.append(np.hypot(y0[1::2] - y0[::2], x0[1::2] - x0[::2]))
            if parameters is usual:
                direction = np.arctan2(y1 - y0, x1 - x0)
        np.testing.assert_allclose(np.arctan2(y1 - y0, x1 - x0), direction, atol=1e-12)
        factors.append(gaps[1] / gaps[0])
    first, second = np.transpose(factors)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.7, "a pair's spacing must not tell its neighbour's"
    for each in (first, second):
        assert 0.7 <= each.min() < 0.9
        assert 1.2 < each.max() <= 1.4


def test_emitters_of_line_pairs_lie_on_the_lines() -> None:
    parameters = LinePairs(spacings_um=(0.2,), angle_rad=(0.0, 0.0), length_um=3.0)
    points = emitters_in("line_pairs", 1, CELL, parameters)
    assert points.light.sum() == pytest.approx(6.0, rel=1e-5)
    left, right = np.unique(points.x)
    assert right - left == pytest.approx(0.2, abs=2e-6)
    assert np.ptp(points.y) == pytest.approx(2.99, abs=1e-4)
    assert (points.z == 0).all()


@pytest.mark.parametrize(("fwhm", "resolved"), [(0.28, False), (0.11, True)])
def test_a_pair_at_200_nm_and_two_spots(fwhm: float, resolved: bool) -> None:
    """Under 5 % dip with a 280 nm spot, over Rayleigh's 26 % with a 110 nm spot: on paper and in the drawing."""
    parameters = LinePairs(spacings_um=(0.2,), angle_rad=(0.0, 0.0))
    (here,) = [c for c in cells_in("line_pairs", 1, CELL, parameters) if (c.row, c.column) == (0, 0)]
    lines = line_pair_segments(here, parameters)
    middle = (lines.x0[0] + lines.x0[1]) / 2
    x = (np.arange(1600) + 0.5) * 0.01
    on_paper = pair_profile(x - middle, 0.2, fwhm)
    drawn = draw_spots(emitters_in("line_pairs", 1, CELL, parameters), (3, 1600), (16 / 3, 0.01), fwhm)[1]
    np.testing.assert_allclose(drawn / drawn.max(), on_paper / on_paper.max(), atol=5e-3)
    for profile in (on_paper, drawn):
        centre = profile[np.abs(x - middle).argmin()]
        dip = 1 - centre / profile.max()
        assert (dip > 0.26) if resolved else (dip < 0.05)


def test_the_exact_image_of_segments() -> None:
    segments = Segments(*(np.array(column) for column in ([0.4, 1.2], [0.5, 1.4], [1.3, 1.0], [1.5, 0.6])))
    exact = segments_image(segments, (90, 100), 0.02, 0.15)
    drawn = draw_spots(fill_segments(segments), (90, 100), (0.02, 0.02), 0.15)
    np.testing.assert_allclose(drawn / 0.02**2, exact, atol=0.005 * exact.max())
    assert exact.sum() * 0.02**2 == pytest.approx(math.hypot(0.9, 1.0) + math.hypot(0.2, 0.8), rel=1e-3)


def test_ring_radius_and_exact_image() -> None:
    ring = Rings(np.array([1.01]), np.array([0.93]), np.array([0.5]))
    angle = 2 * math.pi * np.arange(2000) / 2000
    points = emitters(0.0, 1.01 + 0.5 * np.cos(angle), 0.93 + 0.5 * np.sin(angle), 2 * math.pi * 0.5 / 2000)
    exact = rings_image(ring, (100, 100), 0.02, 0.1)
    np.testing.assert_allclose(
        draw_spots(points, (100, 100), (0.02, 0.02), 0.1) / 0.02**2, exact, atol=0.01 * exact.max()
    )
    parameters = RingField(radius_um=0.7, per_um2=0.005)
    area = Area((0.0, 0.0), (64.0, 64.0))
    drawn = emitters_in("rings", 1, area, parameters)
    nearest = np.full(drawn.y.size, np.inf)
    for here in cells_in("rings", 1, area, parameters):
        for y, x, radius in zip(*ring_circles(here, parameters), strict=True):
            assert radius == pytest.approx(0.7)
            out = np.hypot(drawn.y - (y - here.window[0][0]), drawn.x - (x - here.window[0][1]))
            nearest = np.minimum(nearest, np.abs(out - radius))
    assert nearest.max() < 1e-5


@pytest.mark.parametrize("spokes", [7, 36])
def test_a_siemens_star_has_its_spokes(spokes: int) -> None:
    parameters = Stars(spokes=spokes, inner_um=0.5, outer_um=5.0)
    (here,) = [c for c in cells_in("siemens_star", 2, CELL, parameters) if (c.row, c.column) == (0, 0)]
    shape = star(here, parameters)
    points = emitters_in("siemens_star", 2, CELL, parameters)
    assert points.light.sum() == pytest.approx(math.pi * (25 - 0.25) / 2, rel=1e-5)
    out, angle = np.hypot(points.y - shape.y, points.x - shape.x), np.arctan2(points.x - shape.x, points.y - shape.y)
    assert out.min() > 0.5
    assert out.max() < 5.0
    assert (np.mod((angle - shape.turn) * spokes / (2 * math.pi), 1.0) < 0.5).all()
    # The light around the centre has its first harmonic at the number of spokes, of a square wave's strength 2 / pi.
    harmonics = [abs((points.light * np.exp(1j * k * angle)).sum()) / points.light.sum() for k in range(1, 2 * spokes)]
    assert int(np.argmax(harmonics)) + 1 == spokes
    assert max(harmonics) == pytest.approx(2 / math.pi, rel=0.01)
    image = star_image(shape, (320, 320), 0.05)
    assert image.sum() * 0.05**2 == pytest.approx(math.pi * 24.75 / 2, rel=0.01)
    row, column = (points.y / 0.05).astype(int), (points.x / 0.05).astype(int)
    assert (points.light * image[row, column]).sum() > 0.9 * points.light.sum()


def test_star_image_by_hand() -> None:
    quarter = star_image(Star(1.0, 1.0, 0.0, 1.0, 2, 0.0), (2, 2), 1.0)
    # Bright from the y axis (angle 0, pointing down the rows) a quarter turn towards x, and opposite.
    np.testing.assert_array_equal(quarter, [[1.0, 0.0], [0.0, 1.0]])


def test_targets_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"spacings_um: Value error, needs spacings above 0 that fit side by side"):
        parameters_of("line_pairs", spacings_um=[1.0] * 12)
    with pytest.raises(InputError, match=r"spacings_um: Value error, needs .* stretched 6 times at most: try fewer"):
        parameters_of("line_pairs", stretch=(1.0, 6.0))
    with pytest.raises(InputError, match=r"inner_um 3\.0 must be below outer_um 2\.0"):
        parameters_of("siemens_star", inner_um=3.0, outer_um=2.0)
