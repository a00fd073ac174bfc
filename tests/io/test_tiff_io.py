"""TIFF and OME-TIFF, written by tifffile, read by fluorsr; and the other way round."""

from __future__ import annotations

import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fluorsr.errors import FormatError, InputError, MissingDependencyError, NotFoundError, OutputExistsError
from fluorsr.image import Channel, Image, PlaneIndex
from fluorsr.io import tiff
from fluorsr.io.chunked import ChunkedArray
from fluorsr.io.open import create_image, open_image, reopen_image
from fluorsr.io.tiff_plain import PlainArray
from fluorsr.io.writer import Layout

ALL = slice(None)


def pixels(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 4000, shape).astype(dtype)


def whole(image: Image) -> NDArray[Any]:
    """The image's pixels in its own order of axes, put together plane by plane."""
    canonical = "".join(a for a in "tczyx" if a in image.axes)
    planes = np.stack([image.read(plane, ALL, ALL) for plane in image.planes()])
    return planes.reshape([image.size(a) for a in canonical]).transpose([canonical.index(a) for a in image.axes])


def check(path: Path, data: NDArray[Any], axes: str, kind: type) -> Image:
    image = pickle.loads(pickle.dumps(open_image(path)))
    assert (image.axes, type(image.data).__mro__[-2 if kind is PlainArray else -3]) == (axes, kind)
    np.testing.assert_array_equal(whole(image), data)
    some = image.read(PlaneIndex(), slice(7, 61), slice(20, 31))
    first = tuple(0 if a in "tcz" else ALL for a in axes)
    np.testing.assert_array_equal(some, data[first][7:61, 20:31])
    return image


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_plain_planes_are_read_from_their_place(tmp_path: Path, dtype: str, byteorder: Any, bigtiff: bool) -> None:
    data = pixels(90, 70, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=byteorder, bigtiff=bigtiff)
    assert check(tmp_path / "a.tif", data, "yx", PlainArray).name == "a"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"tile": (32, 48), "compression": "zlib"}, ChunkedArray),
        ({"rowsperstrip": 7, "compression": "lzw"}, ChunkedArray),
        ({"tile": (32, 32)}, ChunkedArray),
        ({"rowsperstrip": 7}, PlainArray),
        ({"compression": "zlib", "predictor": True}, ChunkedArray),
    ],
)
def test_stacks_of_pages_are_z(tmp_path: Path, options: dict[str, Any], kind: type) -> None:
    data = pixels(3, 90, 70)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    check(tmp_path / "a.tif", data, "zyx", kind)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for page in data:
            file.write(page, contiguous=False, metadata=None, **options)
    check(tmp_path / "b.tif", data, "zyx", kind)


def test_imagej_hyperstack(tmp_path: Path) -> None:
    data = pixels(2, 3, 2, 64, 70)
    red, green = np.zeros((2, 3, 256), np.uint8)
    red[0], green[1] = np.arange(256), np.arange(256)
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(1 / 0.065, 1 / 0.07),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 0.3, "LUTs": [red, green]},
    )
    image = check(tmp_path / "a.tif", data, "tzcyx", PlainArray)
    assert image.pixel_size_um == pytest.approx({"x": 0.065, "y": 0.07, "z": 0.3}, rel=1e-5)
    assert image.channels == (Channel("channel 0", "FF0000"), Channel("channel 1", "00FF00"))


@pytest.mark.parametrize(("unit", "size"), [("micron", 0.1), ("nm", 1e-4), ("\\u00B5m", 0.1), ("pixel", None)])
def test_imagej_units(tmp_path: Path, unit: str, size: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(8, 8), imagej=True, resolution=(10, 10), metadata={"unit": unit})
    expected = {} if size is None else {"y": size, "x": size}
    assert open_image(tmp_path / "a.tif").pixel_size_um == pytest.approx(expected)


def test_ome_tiff_with_levels(tmp_path: Path) -> None:
    levels = [pixels(2, 129, 70), pixels(2, 65, 35)]
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 65,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.07,
        "Channel": {"Name": ["tubulin", "actin"], "Color": [16711935, -1]},
    }
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(levels[0], subifds=1, metadata=metadata, tile=(32, 32), compression="zlib")
        file.write(levels[1], subfiletype=1, tile=(32, 32), compression="zlib")
    image = check(tmp_path / "a.ome.tif", levels[0], "cyx", ChunkedArray)
    assert image.pixel_size_um == pytest.approx({"x": 0.065, "y": 0.07})
    assert image.channels == (Channel("tubulin", "00FF00"), Channel("actin", "FFFFFF"))
    half = open_image(tmp_path / "a.ome.tif", level=1)
    np.testing.assert_array_equal(whole(half), levels[1])
    assert half.pixel_size_um == pytest.approx({"x": 0.13, "y": 0.14})
    assert half.translation_um == pytest.approx({"x": 0.0325, "y": 0.035})
    with pytest.raises(NotFoundError, match="has no level 2; it has levels 0 to 1"):
        open_image(tmp_path / "a.ome.tif", level=2)


@pytest.mark.parametrize(
    ("resolution", "unit", "size"), [(1e5, "CENTIMETER", 0.1), (254000, "INCH", 0.1), (72, "INCH", None)]
)
def test_resolution_tags_are_believed_within_reason(
    tmp_path: Path, resolution: float, unit: str, size: float | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(8, 8), resolution=(resolution, resolution), resolutionunit=unit)
    expected = {} if size is None else {"y": size, "x": size}
    assert open_image(tmp_path / "a.tif").pixel_size_um == pytest.approx(expected)


def test_colour_and_unknown_axes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", pixels(8, 8, 3, dtype="uint8"), photometric="rgb")
    with pytest.raises(InputError, match=r"is a colour \(RGB\) picture: its axes are YXS; split it into channels"):
        open_image(tmp_path / "rgb.tif")
    tifffile.imwrite(tmp_path / "q.tif", pixels(2, 3, 4, 8, 8), photometric="minisblack")
    with pytest.raises(InputError, match="has the axes QQQYX; fluorsr knows T, C, Z, Y and X: save it as OME-TIFF"):
        open_image(tmp_path / "q.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((8, 8), "complex64"))
    with pytest.raises(InputError, match="dtype complex64 is not an image's"):
        open_image(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8), bool))
    with pytest.raises(InputError, match="dtype bool is not an image's"):
        open_image(tmp_path / "b.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"bigtiff": True}, {"ome": True}])
@pytest.mark.parametrize("kept", [6, 0.3, 0.7, 0.99])
def test_truncated_files_are_told(tmp_path: Path, options: dict[str, Any], kept: float) -> None:
    """Cut anywhere, a stack is refused when opened or when read; it never becomes a shorter stack or zeros."""
    data = pixels(4, 64, 64)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    raw = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(raw[: int(kept if kept > 1 else kept * len(raw))])
    with pytest.raises(FormatError, match=r"a.tif (is truncated: .* copy it again|cannot be read)"):
        whole(open_image(tmp_path / "a.tif"))


def test_a_file_cut_after_opening_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(64, 64))
    image = open_image(tmp_path / "a.tif")
    os.truncate(tmp_path / "a.tif", 4000)
    with pytest.raises(FormatError, match=r"a.tif is truncated: it ends before byte \d+; copy it again"):
        whole(image)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(FormatError, match=r"a.tif cannot be read: No such file"):
        whole(image)


def test_a_corrupt_strip_is_named(tmp_path: Path) -> None:
    data = pixels(3, 64, 64)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", compression="zlib", rowsperstrip=16)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        offset, count = file.pages[2].dataoffsets[1], file.pages[2].databytecounts[1]
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[offset : offset + count] = bytes(count)
    (tmp_path / "a.tif").write_bytes(raw)
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read(PlaneIndex(z=1), ALL, ALL), data[1])
    with pytest.raises(FormatError, match=r"chunk \(2, 1, 0\) of .*a.tif, pixels \[2:3, 16:32, 0:64\], cannot be read"):
        image.read(PlaneIndex(z=2), ALL, ALL)


def test_rubbish_behind_the_magic_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + b"\xff" * 4000)
    with pytest.raises(FormatError, match=r"a.tif (is truncated|cannot be read as a TIFF|is a TIFF without any image)"):
        open_image(tmp_path / "a.tif")


def test_a_missing_codec_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(64, 64), compression="lzw")

    def absent(module: str, extra: str) -> None:
        raise MissingDependencyError(f"{module} {extra}")

    monkeypatch.setattr(tiff, "import_extra", absent)
    with pytest.raises(MissingDependencyError, match="imagecodecs codecs"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"tile": (32, 32), "compression": "zlib"}])
def test_many_threads_read_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    data = pixels(4, 128, 128)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    image = open_image(tmp_path / "a.tif")

    def read(i: int) -> bool:
        z, y, x = i % 4, 7 * i % 90, 11 * i % 90
        found = image.read(PlaneIndex(z=z), slice(y, y + 38), slice(x, x + 38))
        return np.array_equal(found, data[z, y : y + 38, x : x + 38])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(64)))


def test_written_ome_tiff_reads_back(tmp_path: Path) -> None:
    layout = Layout(
        "czyx",
        (2, 3, 100, 77),
        "int16",
        {"z": 0.3, "y": 0.1, "x": 0.1},
        channels=(Channel("tubulin", "FF0000"), Channel("actin", "00FF00")),
        block=(32, 48),
    )
    data = pixels(*layout.shape, dtype="int16") - 2000
    path = tmp_path / "out.ome.tif"
    writer = pickle.loads(pickle.dumps(create_image(path, layout, provenance={"model": "m"})))
    jobs = [(c, z, y, x) for c in range(2) for z in range(3) for y in range(0, 100, 32) for x in range(0, 77, 48)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda job: writer.write(
                    PlaneIndex(0, *job[:2]),
                    *job[2:],
                    data[(*job[:2], slice(job[2], job[2] + 32), slice(job[3], job[3] + 48))],
                ),
                jobs,
            )
        )
    np.testing.assert_array_equal(writer.read(PlaneIndex(0, 1, 2), 10, 20, 50, 30), data[1, 2, 10:60, 20:50])
    assert not path.exists()
    assert list(writer.tail) == []
    with pytest.raises(InputError, match="a TIFF has only level 0"):
        writer.tail_blocks(1)
    writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["out.ome.tif"]
    np.testing.assert_array_equal(tifffile.imread(path), data)
    image = open_image(path)
    assert (image.axes, image.channels) == ("czyx", layout.channels)
    assert image.pixel_size_um == pytest.approx({"z": 0.3, "y": 0.1, "x": 0.1})
    with tifffile.TiffFile(path) as file:
        assert file.ome_metadata is not None
        assert "&quot;model&quot;: &quot;m&quot;" in file.ome_metadata


def test_a_tiff_is_replaced_only_when_asked_and_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    old = pixels(8, 8)
    tifffile.imwrite(path, old)
    layout = Layout("yx", (8, 8), "uint16")
    with pytest.raises(OutputExistsError, match=r"a\.tif exists: use --resume"):
        create_image(path, layout, provenance={})
    with pytest.raises(InputError, match="only OME-Zarr output can be resumed"):
        reopen_image(path, layout)
    writer = create_image(path, layout, provenance={}, overwrite=True)
    writer.write(PlaneIndex(), 0, 0, old + 1)
    np.testing.assert_array_equal(tifffile.imread(path), old)
    writer.finish()
    np.testing.assert_array_equal(tifffile.imread(path), old + 1)
    (tmp_path / "b.tif").write_text("not a TIFF at all")
    with pytest.raises(OutputExistsError, match="is not a single OME-Zarr image, zarr array or TIFF"):
        create_image(tmp_path / "b.tif", layout, provenance={}, overwrite=True)


def test_a_tiff_of_many_gigabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"8\.0 GiB of pixels are too many for a TIFF .* write OME-Zarr instead"):
        create_image(tmp_path / "a.tif", Layout("yx", (2**16, 2**16), "uint16"), provenance={})
