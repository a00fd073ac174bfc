"""The comparison picture: which line is profiled, and what a profile holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from fluorsr.report.comparison import Crop, draw_comparison, most_structured_line, profile_along


def test_line_goes_through_the_row_with_most_ups_and_downs() -> None:
    image = np.zeros((64, 128))
    image[20] = 1000.0  # bright, but flat along x
    image[40, 60:80:4] = 100.0  # five peaks
    y_um, (start_um, stop_um) = most_structured_line(image, (6.4, 12.8))
    assert y_um == pytest.approx(4.05)
    assert start_um <= 6.0
    assert stop_um >= 7.7
    assert stop_um - start_um == pytest.approx(3.0)


def test_line_of_a_small_or_flat_image_stays_inside() -> None:
    for shape in ((4, 4), (1, 9)):
        y_um, (start_um, stop_um) = most_structured_line(np.ones(shape), (0.1, 0.2))
        assert 0 < y_um < 0.1
        assert (start_um, stop_um) == pytest.approx((0.0, 0.2))


def test_profile_is_the_mean_of_the_rows_within_the_band() -> None:
    image = np.arange(40.0)[:, None] * np.ones(8)
    at_um, values = profile_along(image, (40 * 0.03, 8 * 0.03), 10.5 * 0.03)  # 0.1 um: three rows, 9 to 11
    assert at_um == pytest.approx((np.arange(8) + 0.5) * 0.03)
    assert values == pytest.approx(10.0)
    _, coarse = profile_along(image, (40 * 0.06, 8 * 0.06), 10.5 * 0.06)  # one row
    assert coarse == pytest.approx(10.0)
    _, edge = profile_along(image, (40 * 0.03, 8 * 0.03), 0.0)
    assert edge == pytest.approx(0.5)


def test_picture_has_a_row_for_each_crop(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = (rng.random((16, 16)), rng.random((32, 32)), rng.random((32, 32)))
    crop = Crop("a channel", images, (1.0, 1.0), ("one", "two", "three"))
    heights = []
    for count in (1, 2):
        draw_comparison([crop] * count, tmp_path / f"{count}.png", title="title", footer="footer")
        heights.append(imread(tmp_path / f"{count}.png").shape[0])
    assert heights[1] > 1.5 * heights[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "2.png"]
