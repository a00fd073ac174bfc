"""Image: axes, shapes and types are checked; planes are read in any axis order and byte order."""

from __future__ import annotations

import numpy as np
import pytest

from fluorsr.errors import InputError
from fluorsr.image import DTYPES, Channel, Image, PlaneIndex


@pytest.mark.parametrize("axes", ["tczyx", "xyzct", "yxc", "cyx", "yx", "xy", "zyxt"])
def test_read_finds_the_plane_in_any_axis_order(axes: str) -> None:
    sizes = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    canonical = np.arange(720, dtype=np.uint16).reshape(tuple(sizes.values()))
    one = canonical[tuple(slice(None) if a in axes else 0 for a in "tczyx")]
    there = [a for a in "tczyx" if a in axes]
    image = Image(one.transpose([there.index(a) for a in axes]), axes)
    t, c, z = (1 if a in axes else 0 for a in "tcz")
    pixels = image.read(PlaneIndex(t, c, z), slice(1, 4), slice(2, 6))
    np.testing.assert_array_equal(pixels, canonical[t, c, z, 1:4, 2:6])
    assert pixels.flags.c_contiguous
    assert image.size("t") == (2 if "t" in axes else 1)


def test_planes_run_through_z_fastest() -> None:
    image = Image(np.zeros((2, 2, 3, 1, 1), np.uint8), "tczyx")
    planes = list(image.planes())
    assert len(planes) == 12
    assert planes[:4] == [PlaneIndex(0, 0, 0), PlaneIndex(0, 0, 1), PlaneIndex(0, 0, 2), PlaneIndex(0, 1, 0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", "<>")
def test_every_dtype_is_read_in_native_order(dtype: str, order: str) -> None:
    values = np.array([[0, 1, 100], [3, 4, 5]], dtype=np.dtype(dtype).newbyteorder(order))
    pixels = Image(values, "yx").read(PlaneIndex(), slice(None), slice(None))
    assert pixels.dtype == np.dtype(dtype if dtype in DTYPES[:4] else "float32")
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "text"),
    [
        ((2, 2), np.uint8, "yw", "each must be one of t c z y x"),
        ((2, 2), np.uint8, "yy", "at most once"),
        ((2, 2), np.uint8, "zt", "needs the axes y and x"),
        ((2, 2), np.uint8, "zyx", "name 3 axes, but the array has shape"),
        ((0, 2), np.uint8, "yx", "the image is empty"),
        ((2, 2), np.complex64, "yx", "dtype complex64 is not an image's"),
        ((2, 2), np.bool_, "yx", "dtype bool is not an image's"),
        ((2, 2), object, "yx", "dtype object is not an image's"),
    ],
)
def test_what_is_not_an_image_is_refused(shape: tuple[int, ...], dtype: type, axes: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Image(np.zeros(shape, dtype), axes)


def test_channels_and_sizes_must_fit() -> None:
    with pytest.raises(InputError, match="1 channels are described, but the c axis has 2"):
        Image(np.zeros((2, 3, 3), np.uint8), "cyx", channels=(Channel("a"),))
    with pytest.raises(InputError, match="must be a positive number"):
        Image(np.zeros((3, 3), np.uint8), "yx", pixel_size_um={"y": 0.0})
    image = Image(np.zeros((2, 3, 3), np.uint8), "cyx")
    assert [c.name for c in image.channels] == ["channel 0", "channel 1"]
