"""Pixels survive the page's PNG, as Pillow reads it back, and the budget holds for images that do not compress."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fluorsr.errors import InputError
from fluorsr.report.html_images import BUDGET_BYTES, Encoded, encode, most_structured_square, side_for


def decode(coded: Encoded) -> NDArray[np.float64]:
    codes = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded.png))))
    return np.where(codes == 0, np.nan, coded.low + (codes.astype(float) - 1) * coded.step)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_integers_come_back_exactly(dtype: str) -> None:
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    low, high = max(lowest, -20000), min(highest, 40000)
    pixels = np.random.default_rng(0).integers(low, high, (20, 33), dtype, endpoint=True)
    coded = encode(pixels)
    assert coded.step == 1
    np.testing.assert_array_equal(decode(coded), pixels)


def test_the_full_range_of_uint16_loses_half_a_count_at_most() -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.abs(decode(encode(pixels)) - pixels).max() <= 0.51


def test_floats_lose_a_130000th_of_their_span() -> None:
    pixels = np.random.default_rng(0).normal(0, 1e-3, (40, 50)).astype(np.float32)
    assert np.abs(decode(encode(pixels)) - pixels).max() <= np.ptp(pixels) / 130_000


def test_what_is_not_finite_is_told_apart() -> None:
    pixels = np.array([[np.nan, 1.0], [np.inf, 3.0]])
    coded = encode(pixels)
    assert coded.bad == 2
    np.testing.assert_array_equal(decode(coded), [[np.nan, 1], [np.nan, 3]])


@pytest.mark.parametrize("value", [7.5, np.nan])
def test_constant_images(value: float) -> None:
    pixels = np.full((3, 4), value)
    np.testing.assert_array_equal(decode(encode(pixels)), pixels)


@pytest.mark.parametrize("shape", [(0, 4), (2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"a page shows images \[Y, X\] with pixels, not one of shape"):
        encode(np.zeros(shape))


def test_noise_keeps_within_the_budget() -> None:
    """Six fields of an input at half the size, six methods and a truth, of bits that no filter or zip makes smaller."""
    areas = [0.25] * 6 + [1.0] * 42
    side = side_for(areas)
    rng = np.random.default_rng(0)

    def bytes_of(size: int) -> int:
        pixels: NDArray[Any] = rng.integers(0, 60000, (size, size), np.uint16)
        return len(encode(pixels).png)

    assert 0.8 * BUDGET_BYTES < 6 * bytes_of(side // 2) + 42 * bytes_of(side) < 1.02 * BUDGET_BYTES


def test_the_side_has_limits() -> None:
    assert side_for([1.0]) == side_for([]) == 512
    assert side_for([1.0] * 10_000) == 64


def test_the_most_structured_square_is_found_whatever_is_not_finite() -> None:
    image = np.zeros((100, 130))
    image[64:90, 96:126] = np.random.default_rng(0).normal(0, 1, (26, 30))
    image[0, 0], image[1, 1] = np.nan, np.inf
    assert most_structured_square(image, 32) == (64, 96)
    assert most_structured_square(image, 200) == (0, 0)
