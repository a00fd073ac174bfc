"""OME-Zarr and bare zarr arrays, written by zarr-python, read by fluorsr."""

from __future__ import annotations

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import LZ4, Blosc
from numpy.typing import NDArray

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.image import Channel, Image, PlaneIndex
from fluorsr.io.open import open_image

ALL = slice(None)


def pixels(*shape: int, dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


def whole(image: Image) -> NDArray[Any]:
    return np.stack([image.read(plane, ALL, ALL) for plane in image.planes()])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_sizes_and_channels(make_ome: Any, version: str) -> None:
    levels = [pixels(2, 40, 30), pixels(2, 20, 15, seed=1)]
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "x", "type": "space", "unit": "millimeter"},
    ]
    transforms = [
        [{"type": "scale", "scale": [1, 60, 5e-5]}],
        [{"type": "scale", "scale": [1, 120, 1e-4]}, {"type": "translation", "translation": [0, 30, 2.5e-5]}],
    ]
    omero = {"channels": [{"label": "tubulin", "color": "#00ff00"}, {"color": "no colour"}]}
    path = make_ome(levels, axes, version=version, transforms=transforms, omero=omero, chunks=(1, 16, 16))
    for level, expected in enumerate(levels):
        image = open_image(path, level=level)
        np.testing.assert_array_equal(whole(image), expected)
        assert image.pixel_size_um == pytest.approx({"y": 0.06 * 2**level, "x": 0.05 * 2**level})
        assert image.translation_um == pytest.approx({"y": 0.03 * level, "x": 0.025 * level})
        assert image.channels == (Channel("tubulin", "00FF00"), Channel("channel 1", "FFFFFF"))
        assert image.name == "an image"
    inside = open_image(path / "s1")
    assert inside.pixel_size_um == pytest.approx({"y": 0.12, "x": 0.1})
    np.testing.assert_array_equal(whole(inside), levels[1])
    with pytest.raises(NotFoundError, match="has no level 2; it has levels 0 to 1"):
        open_image(path, level=2)
    with pytest.raises(NotFoundError, match="has only level 0, not 1"):
        open_image(path / "s0", level=1)


def test_transforms_of_the_multiscale_come_on_top(make_ome: Any) -> None:
    steps = [[{"type": "scale", "scale": [2.0, 2.0]}, {"type": "translation", "translation": [1.0, 1.0]}]]
    top = [{"type": "scale", "scale": [0.1, 0.1]}, {"type": "translation", "translation": [5.0, 0.0]}]
    image = open_image(make_ome([pixels(8, 8)], "yx", transforms=steps, top=top))
    assert image.pixel_size_um == pytest.approx({"y": 0.2, "x": 0.2})
    assert image.translation_um == pytest.approx({"y": 5.1, "x": 0.1})


def test_without_a_unit_scale_one_is_unknown_and_others_are_micrometres(make_ome: Any) -> None:
    image = open_image(make_ome([pixels(8, 8)], "yx", transforms=[[{"type": "scale", "scale": [1.0, 0.2]}]]))
    assert image.pixel_size_um == {"x": 0.2}
    given = [{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "pixel"}]
    image = open_image(make_ome([pixels(8, 8)], given, name="given.zarr"))
    assert image.pixel_size_um == {"y": 1.0}


@pytest.mark.parametrize("axes", ["xyc", "tczyx", "zxy"])
def test_axes_in_any_order(make_ome: Any, axes: str) -> None:
    data = pixels(*range(3, 3 + len(axes)))
    image = open_image(make_ome([data], axes))
    found = image.read(PlaneIndex(), slice(1, 3), slice(0, 3))
    first = tuple(0 if a in "tcz" else ALL for a in axes)
    expected = data[first].T if axes.index("x") < axes.index("y") else data[first]
    np.testing.assert_array_equal(found, expected[1:3, 0:3])


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (16, 16), "shards": (32, 48)},
        {"chunks": (16, 16), "compressors": zarr.codecs.BloscCodec(cname="lz4")},
        {"chunks": (16, 16), "compressors": zarr.codecs.GzipCodec()},
        {"chunks": (16, 16), "serializer": zarr.codecs.BytesCodec(endian="big"), "compressors": None},
        {"chunks": (16, 16), "filters": zarr.codecs.TransposeCodec(order=(1, 0))},
    ],
)
def test_zarr_3_shards_codecs_and_byte_orders(make_ome: Any, options: dict[str, Any]) -> None:
    data = pixels(50, 70)
    image = open_image(make_ome([data], "yx", **options))
    np.testing.assert_array_equal(whole(image)[0], data)
    np.testing.assert_array_equal(image.read(PlaneIndex(), slice(15, 34), slice(30, 70)), data[15:34, 30:70])


@pytest.mark.parametrize("dtype", [">u2", "<u2", "u1", ">f4", ">i2"])
@pytest.mark.parametrize("codec", [None, Blosc("zstd"), LZ4()])
def test_zarr_2_codecs_and_byte_orders(make_ome: Any, dtype: str, codec: Any) -> None:
    data = pixels(20, 30, dtype=dtype)
    image = open_image(make_ome([data], "yx", version="0.4", chunks=(16, 16), compressors=codec))
    found = whole(image)[0]
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize(("shape", "axes"), [((5, 6), "yx"), ((3, 5, 6), "zyx"), ((2, 3, 5, 6), "czyx")])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bare_arrays_are_named_by_rank(tmp_path: Path, shape: tuple[int, ...], axes: str, zarr_format: Any) -> None:
    data = pixels(*shape)
    zarr.create_array(tmp_path / "bare.zarr", data=data, zarr_format=zarr_format)
    image = open_image(tmp_path / "bare.zarr")
    assert (image.axes, image.name, image.pixel_size_um) == (axes, "bare", {})
    np.testing.assert_array_equal(whole(image).reshape(shape), data)


def test_dimension_names_of_a_bare_array(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", data=pixels(5, 6, 2), dimension_names=["y", "x", "c"])
    zarr.create_array(tmp_path / "b", data=pixels(5, 6, 2), dimension_names=["row", "column", "c"])
    zarr.create_array(tmp_path / "d", data=pixels(5, 6, 2), dimension_names=["t", "c", "z"])
    assert open_image(tmp_path / "a").axes == "yxc"
    assert open_image(tmp_path / "b").axes == "zyx"
    with pytest.raises(InputError, match="needs the axes y and x; these are 'tcz'"):
        open_image(tmp_path / "d")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_bioformats2raw_opens_its_first_series(make_ome: Any, tmp_path: Path, version: str) -> None:
    data = pixels(6, 7)
    root = zarr.create_group(tmp_path / "raw.zarr", zarr_format=2 if version == "0.4" else 3)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if version == "0.4" else {"ome": {"version": "0.5", **layout}})
    with pytest.raises(FormatError, match="first series, '0', is not an OME-Zarr image"):
        open_image(tmp_path / "raw.zarr")
    make_ome([data], "yx", version=version, name="raw.zarr/0")
    np.testing.assert_array_equal(whole(open_image(tmp_path / "raw.zarr"))[0], data)


def test_plates_and_wells_name_a_field(tmp_path: Path) -> None:
    plate = zarr.create_group(tmp_path / "p.zarr")
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "B/3"}]}}
    well = plate.create_group("B/3")
    well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "2"}]}}
    with pytest.raises(FormatError, match=r"is a plate of many images; name one field .* p.zarr/B/3/2|p.zarr/B/3/2"):
        open_image(tmp_path / "p.zarr")
    with pytest.raises(FormatError, match=r"is a well of several fields; name one, for example .*/B/3/2"):
        open_image(tmp_path / "p.zarr/B/3")


def test_groups_and_folders_that_are_no_image(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "g.zarr").create_array("raw", shape=(4, 4), dtype="u1")
    with pytest.raises(FormatError, match=r"without an OME-Zarr image's metadata; it holds raw: name one of them"):
        open_image(tmp_path / "g.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match="a folder, but neither a zarr group nor a zarr array"):
        open_image(tmp_path / "folder")


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        (
            [{"name": "time"}, {"name": "y"}, {"name": "x"}],
            "select one index of, or rename, time",
        ),
        ([{"name": "c"}, {"name": "z"}, {"name": "t"}], "needs the axes y and x"),
        ([{"name": "y"}, {"name": "x"}], "scale must give 2 numbers|do not fit its shape"),
    ],
)
def test_axes_that_are_not_an_image(make_ome: Any, axes: list[dict[str, str]], text: str) -> None:
    with pytest.raises((InputError, FormatError), match=text):
        open_image(make_ome([pixels(3, 4, 5)], axes))


@pytest.mark.parametrize("dtype", ["complex64", "bool"])
def test_types_that_are_not_an_image(make_ome: Any, dtype: str) -> None:
    with pytest.raises(InputError, match=f"dtype {dtype} is not an image's: use one of uint8"):
        open_image(make_ome([np.zeros((4, 4), dtype)], "yx"))


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "text", shape=(4, 4), chunks=(4, 4), dtype="str", zarr_format=2)
    with pytest.raises(InputError, match="dtype object is not an image's"):
        open_image(tmp_path / "text")
    document = json.loads((tmp_path / "text/.zarray").read_text())
    (tmp_path / "text/.zarray").write_text(json.dumps({**document, "filters": [{"id": "pickle"}]}))
    with pytest.raises(FormatError, match=r"text cannot be opened as a zarr array: .*\|O"):
        open_image(tmp_path / "text")


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "empty", shape=(0, 4), chunks=(4, 4), dtype="u1")
    with pytest.raises(InputError, match=r"the image is empty: axes 'yx' have lengths \(0, 4\)"):
        open_image(tmp_path / "empty")


def test_damaged_metadata_are_told(make_ome: Any) -> None:
    path = make_ome([pixels(8, 8)], "yx")
    document = json.loads((path / "zarr.json").read_text())

    def broken(change: Any) -> None:
        copy = json.loads(json.dumps(document))
        change(copy["attributes"]["ome"])
        (path / "zarr.json").write_text(json.dumps(copy))

    for change, text in [
        (lambda ome: ome.update(multiscales=[]), "multiscales metadata are damaged or empty"),
        (lambda ome: ome["multiscales"][0].pop("axes"), "name no axes"),
        (lambda ome: ome["multiscales"][0].update(datasets=[]), "list no datasets"),
        (
            lambda ome: ome["multiscales"][0]["datasets"][0].update(path="s9"),
            "s9 is listed as level 0 but holds no zarr",
        ),
        (
            lambda ome: ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(scale=[0, 1]),
            "scale must be finite and positive",
        ),
    ]:
        broken(change)
        with pytest.raises(FormatError, match=text):
            open_image(path)
    (path / "zarr.json").write_text("{not json")
    with pytest.raises(FormatError, match=r"zarr.json is not valid JSON .* the store is damaged"):
        open_image(path)


def test_a_chunk_that_claims_gigabytes_is_refused(make_ome: Any) -> None:
    path = make_ome([pixels(8, 8)], "yx", version="0.4", chunks=(8, 8))
    document = json.loads((path / "s0/.zarray").read_text())
    (path / "s0/.zarray").write_text(json.dumps({**document, "chunks": [2**20, 2**20], "shape": [2**20, 2**20]}))
    with pytest.raises(FormatError, match=r"takes 2048.0 GiB of memory, but at most 2 GiB are allowed; rechunk"):
        open_image(path)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_corrupt_chunk_is_named_and_spares_the_others(make_ome: Any, sharded: bool) -> None:
    data = pixels(2, 64, 96)
    shards = {"shards": (1, 32, 32)} if sharded else {}
    path = make_ome([data], "zyx", chunks=(1, 16, 16), compressors=zarr.codecs.ZstdCodec(checksum=True), **shards)
    file = path / ("s0/c/1/1/2" if sharded else "s0/c/1/3/4")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 if not sharded else 40] ^= 0xFF
    file.write_bytes(raw)
    image = open_image(path)
    first = "2, 4" if sharded else "3, 4"
    with pytest.raises(FormatError, match=rf"chunk \(1, {first}\) of {path}/s0, pixels \[1:2, .*\], cannot be read: "):
        image.read(PlaneIndex(z=1), slice(0, 64), slice(0, 96))
    np.testing.assert_array_equal(image.read(PlaneIndex(z=1), slice(0, 32), slice(0, 96)), data[1, :32])
    np.testing.assert_array_equal(image.read(PlaneIndex(z=0), ALL, ALL), data[0])


def test_a_region_reads_only_its_own_chunks(make_ome: Any) -> None:
    """All chunks but one are removed or damaged; reading inside that one does not notice."""
    data = pixels(64, 64)
    path = make_ome([data], "yx", chunks=(16, 16), compressors=zarr.codecs.GzipCodec())
    for file in (path / "s0/c").rglob("*"):
        if file.is_file() and file.relative_to(path / "s0/c") != Path("1/2"):
            file.write_bytes(b"rubbish")
    found = open_image(path).read(PlaneIndex(), slice(16, 32), slice(35, 48))
    np.testing.assert_array_equal(found, data[16:32, 35:48])


def test_many_threads_and_a_pickled_copy_read_the_same(make_ome: Any) -> None:
    data = pixels(4, 128, 128)
    path = make_ome([data], "zyx", chunks=(1, 32, 32), shards=(1, 64, 64))
    image = pickle.loads(pickle.dumps(open_image(path)))

    def read(i: int) -> bool:
        z, y, x = i % 4, 7 * i % 90, 11 * i % 90
        return np.array_equal(
            image.read(PlaneIndex(z=z), slice(y, y + 38), slice(x, x + 38)), data[z, y : y + 38, x : x + 38]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(64)))


def test_paths_that_are_no_image(tmp_path: Path, make_ome: Any) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.tif does not exist"):
        open_image(tmp_path / "nothing.tif")
    (tmp_path / "a.txt").write_text("hello, world")
    with pytest.raises(FormatError, match=r"a.txt is not an image that fluorsr reads .*b'hell'"):
        open_image(tmp_path / "a.txt")
    with pytest.raises(NotFoundError, match="does not exist"):
        open_image(tmp_path / "a.txt" / "0")
    with pytest.raises(InputError, match="is an address that fluorsr does not read"):
        open_image("ftp://host/img.zarr")
    data = pixels(8, 8)
    path = make_ome([data], "yx")
    np.testing.assert_array_equal(whole(open_image(path / "zarr.json"))[0], data)
    shutil.rmtree(path / "s0")
    with pytest.raises(FormatError, match="s0 is listed as level 0 but holds no zarr array"):
        open_image(path)
