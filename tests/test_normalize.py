"""Normalisation against numpy's own percentiles, and its awkward images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.normalize import SAMPLE_BLOCK, Normalization, fit, sample_blocks


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["uint8", "uint16", "int16", "float32", "int32"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.tuples(st.floats(0, 50), st.floats(50.5, 100)),
    st.integers(0, 2**31),
)
def test_percentiles_equal_numpys_inverted_cdf(
    dtype: str, height: int, width: int, percentiles: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = (rng.normal(60, 20, (height, width)).clip(0, 120)).astype(dtype)
    fitted = fit(Image(pixels, "yx"), percentiles=percentiles)
    low, high = np.percentile(pixels, percentiles, method="inverted_cdf")
    if high > low:
        assert (fitted.low, fitted.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
    else:
        assert (fitted.low, fitted.high) == (pixels.min(), pixels.max())


def test_negative_integers_keep_their_offset() -> None:
    pixels = np.arange(-100, 100, dtype=np.int16).reshape(10, 20)
    assert (fit(Image(pixels, "yx"), percentiles=(0, 100)).low, fit(Image(pixels, "yx")).high) == (-100, 99)


def test_nan_and_inf_do_not_count() -> None:
    pixels = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 101).repeat(4, 0)
    dirty = pixels.copy()
    dirty[0, :50], dirty[1, :50], dirty[2, 3] = np.nan, np.inf, -np.inf
    clean = dirty[np.isfinite(dirty)]
    fitted = fit(Image(dirty, "yx"), percentiles=(1, 99))
    assert fitted.low == pytest.approx(np.percentile(clean, 1, method="inverted_cdf"))
    assert fitted.high == pytest.approx(np.percentile(clean, 99, method="inverted_cdf"))


def test_images_without_contrast_have_scale_one() -> None:
    constant = fit(Image(np.full((5, 5), 7, np.uint16), "yx"))
    assert (constant.low, constant.high, constant.scale) == (7, 7, 1)
    nothing = fit(Image(np.full((5, 5), np.nan, np.float32), "yx"))
    assert (nothing.low, nothing.high, nothing.scale) == (0, 0, 1)
    pixel = fit(Image(np.full((1, 1), 3, np.uint8), "yx"))
    assert (pixel.low, pixel.scale) == (3, 1)


def test_a_few_bright_points_on_nothing_fall_back_to_the_extremes() -> None:
    pixels = np.zeros((100, 100), np.uint16)
    pixels[50, 50] = 1000
    assert (fit(Image(pixels, "yx")).low, fit(Image(pixels, "yx")).high) == (0, 1000)


def test_every_plane_of_the_channel_counts_and_no_other() -> None:
    pixels = np.zeros((2, 3, 4, 8, 8), np.uint16)  # t c z y x
    pixels[1, 1, 3] = 500
    pixels[:, 2] = 9000
    image = Image(pixels, "tczyx")
    assert fit(image, (1,), (0, 100)).high == 500
    assert fit(image, (1, 2), (0, 100)).high == 9000


class _Huge:
    """A lazy image whose pixels tell where they are read from."""

    def __init__(self, size: int) -> None:
        self.shape = (size, size)
        self.dtype = np.dtype("uint16")
        self.read = 0

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        y, x = key
        self.read += (y.stop - y.start) * (x.stop - x.start)
        rows = (np.arange(y.start, y.stop)[:, None] // 16).astype(np.uint16)
        return np.broadcast_to(rows, (y.stop - y.start, x.stop - x.start))


def test_a_huge_image_is_sampled_the_same_way_every_time() -> None:
    data = _Huge(100_000)
    first, second = fit(Image(data, "yx")), fit(Image(_Huge(100_000), "yx"))
    assert first == second
    assert first.sample == "64 of 9604 blocks of 1024 px"
    assert data.read <= 64 * SAMPLE_BLOCK**2
    assert first.low < 200  # rows 0 to 100,000 give 0 to 6249: the sample reaches both ends
    assert first.high > 6000


def test_the_sample_favours_no_row_or_column() -> None:
    blocks, total = sample_blocks(Image(_Huge(32 * 1024), "yx"), (0,))
    assert total == 1024
    assert len({y.start for _, y, _ in blocks}) > 20
    assert len({x.start for _, _, x in blocks}) > 20


def test_senseless_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"finite low <= high, not 2\.0 and 1\.0"):
        Normalization(2.0, 1.0)
    with pytest.raises(InputError, match="finite"):
        Normalization(float("nan"), 1.0)
