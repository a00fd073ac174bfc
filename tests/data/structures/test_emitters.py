"""Joining, cropping and moving points of light."""

from __future__ import annotations

import math

import numpy as np

from fluorsr.data.structures.emitters import Area, crop, emitters, join, transform


def test_columns_are_float32_of_one_length() -> None:
    points = emitters(0.0, [1, 2, 3], np.array([4.0, 5.0, 6.0]), 2)
    assert all(column.dtype == np.float32 and column.shape == (3,) for column in points)
    np.testing.assert_array_equal(points.light, [2, 2, 2])


def test_join_keeps_order_and_takes_nothing() -> None:
    one, two = emitters(0, [1, 2], 0, 1), emitters(0, [3], 0, 1)
    np.testing.assert_array_equal(join([one, two]).y, [1, 2, 3])
    nothing = join([])
    assert nothing.y.shape == (0,)
    assert join([nothing, two]).y.dtype == np.float32


def test_areas_are_half_open() -> None:
    points = emitters(0, [0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 1.0, 0.5], 1)
    area = Area((0.0, 0.0), (2.0, 1.0))
    assert area.size == (2.0, 1.0)
    np.testing.assert_array_equal(crop(points, area).y, [0.0, 1.0])


def test_turn_then_shift() -> None:
    moved = transform(emitters(1, 2, 0, 3), shift_um=(0.5, 10, 20), turn_rad=math.pi / 2, light=2)
    np.testing.assert_allclose(np.ravel(moved), [1.5, 10.0, 22.0, 6.0], atol=1e-6)
