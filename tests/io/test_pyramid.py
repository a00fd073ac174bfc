"""The 2 x 2 mean against a plain loop, and where the pixels' centres lie."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fluorsr.io.pyramid import SMALLEST, halve, level_sizes, level_transform

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)


def reference(pixels: NDArray) -> list[list[Fraction]]:
    """The exact mean of what there is in every 2 x 2 cell."""

    def mean(cell: NDArray) -> Fraction:
        return sum((Fraction(v.item()) for v in cell.ravel()), Fraction(0)) / cell.size

    height, width = pixels.shape
    return [[mean(pixels[y : y + 2, x : x + 2]) for x in range(0, width, 2)] for y in range(0, height, 2)]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["uint8", "uint16", "int16"]))
def test_integers_are_the_exact_mean_rounded_half_up(data: st.DataObject, dtype: str) -> None:
    pixels = data.draw(hnp.arrays(dtype, SHAPES))
    expected = [[floor(mean + Fraction(1, 2)) for mean in row] for row in reference(pixels)]
    found = halve(pixels)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, np.array(expected))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_floats_are_the_mean(data: st.DataObject) -> None:
    pixels = data.draw(hnp.arrays("float32", SHAPES, elements=st.floats(-1e6, 1e6, width=32)))
    expected = np.array([[float(mean) for mean in row] for row in reference(pixels)])
    found = halve(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(pixels).max())))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_extremes_do_not_overflow(dtype: str) -> None:
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        assert (halve(np.full((5, 7), value, dtype)) == value).all()


def test_nan_stays_where_it_is() -> None:
    pixels = np.ones((4, 4), np.float32)
    pixels[0, 0] = np.nan
    assert np.isnan(halve(pixels)).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("size", "levels"), [((512, 512), 1), ((513, 1), 2), ((1, 1), 1), ((4096, 4096), 4), ((32768, 5), 7)]
)
def test_levels_stop_once_they_are_small(size: tuple[int, int], levels: int) -> None:
    sizes = level_sizes(*size)
    assert len(sizes) == levels
    assert max(sizes[-1]) <= SMALLEST
    for (y, x), (half_y, half_x) in pairwise(sizes):
        assert (half_y, half_x) == (-(-y // 2), -(-x // 2))


def test_pixel_centres_stay_where_they_are() -> None:
    """The centre of pixel 0 of level l is the mean of the centres of pixels 0 .. 2**l - 1 of level 0."""
    scale, translation = 0.1, 7.0
    for level in range(5):
        new_scale, new_translation = level_transform(scale, translation, level)
        centres = translation + scale * np.arange(2**level)
        assert new_translation == pytest.approx(centres.mean())
        assert new_scale == pytest.approx(scale * 2**level)
