"""Parts of figures: lengths of scale bars by hand, contrast windows, and geometry checked on drawn pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from fluorsr.errors import InputError, StorageError
from fluorsr.report.figures import (
    Panel,
    contrast_window,
    draw_row,
    length_label,
    new_figure,
    nice_length_um,
    save_png,
)


@pytest.mark.parametrize(
    ("width_um", "length_um"),
    [(7.68, 1.0), (8.0, 2.0), (20.0, 5.0), (39.9, 5.0), (40.0, 10.0), (245.0, 50.0), (1.0, 0.2), (0.4, 0.1)],
)
def test_scale_bar_is_1_2_or_5_and_at_most_a_quarter(width_um: float, length_um: float) -> None:
    assert nice_length_um(width_um) == pytest.approx(length_um)


@pytest.mark.parametrize("width_um", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_bar_needs_a_width(width_um: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        nice_length_um(width_um)


def test_labels_have_the_unit_that_needs_no_zeros() -> None:
    assert length_label(0.5) == "500 nm"
    assert length_label(1.0) == "1 µm"
    assert length_label(20.0) == "20 µm"


def test_contrast_window_is_of_finite_pixels() -> None:
    image = np.linspace(0, 1000, 1001)
    image[0] = np.nan
    low, high = contrast_window(image, (1.0, 99.0))
    assert (low, high) == pytest.approx((11.0, 990.0), abs=0.1)


def test_flat_image_still_has_a_window() -> None:
    assert contrast_window(np.full((4, 4), 7)) == (7.0, 8.0)


def test_image_of_nan_has_none() -> None:
    with pytest.raises(InputError, match="without a single finite pixel"):
        contrast_window(np.full((4, 4), np.nan))


def test_images_of_different_pixel_sizes_lie_on_one_another(tmp_path: Path) -> None:
    """A bright quarter must cover the same quarter of the panel at 8 and at 16 pixels, as bright in either."""
    coarse, fine = np.zeros((8, 8)), np.zeros((16, 16))
    coarse[:4, 4:] = fine[:8, 8:] = 1
    figure = new_figure(2, 1, dpi=100)
    row = [figure.add_axes((i / 2, 0, 0.5, 1)) for i in range(2)]
    draw_row(row, [Panel(coarse, ""), Panel(fine, "")], (10.0, 10.0), (0, 2), "gray")
    save_png(figure, tmp_path / "quarters.png")
    drawn = imread(tmp_path / "quarters.png")[..., 0]
    left, right = drawn[:, :100], drawn[:, 100:]
    for panel in (left, right):
        assert panel[5:45, 55:95] == pytest.approx(0.5, abs=0.01)
        assert panel[5:45, 5:45] == pytest.approx(0.0, abs=0.01)
        bar = np.flatnonzero(panel[94] > 0.9)  # 2 um of 10 um, from 0.5 um on
        assert abs(bar.min() - 5) <= 1
        assert abs(bar.max() - 25) <= 1


def test_unwritable_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing.*cannot be written"):
        save_png(new_figure(1, 1), tmp_path / "missing" / "picture.png")
