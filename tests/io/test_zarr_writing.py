"""OME-Zarr written by fluorsr, read by zarr-python, yaozarrs and ome-zarr-py."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from fluorsr.errors import FormatError, InputError, NotFoundError, OutputExistsError
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io.open import create_image, open_image, reopen_image
from fluorsr.io.pyramid import halve, level_sizes
from fluorsr.io.writer import ImageWriter, Layout
from fluorsr.io.zarr_store import fused_levels, plan_levels

CHANNELS = (Channel("tubulin", "00FF00"), Channel("actin", "FF00FF"))


def noise(layout: Layout, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 4000, layout.shape).astype(layout.dtype)


def blocks(layout: Layout, data: NDArray[Any]) -> list[tuple[PlaneIndex, int, int, NDArray[Any]]]:
    by, bx = layout.block
    size = layout.size
    planes = [PlaneIndex(t, c, z) for t in range(size("t")) for c in range(size("c")) for z in range(size("z"))]
    return [
        (plane, y, x, data[(*layout.leading(plane), slice(y, y + by), slice(x, x + bx))])
        for plane in planes
        for y in range(0, size("y"), by)
        for x in range(0, size("x"), bx)
    ]


def write_all(writer: ImageWriter, data: NDArray[Any], *, seed: int = 0, threads: int = 1) -> None:
    """Write every block and then the tail, in an order shuffled by `seed`."""
    jobs: list[Any] = blocks(writer.layout, data)
    random.Random(seed).shuffle(jobs)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda job: writer.write(*job), jobs))
        for level in writer.tail:
            jobs = list(writer.tail_blocks(level))
            random.Random(seed).shuffle(jobs)
            list(pool.map(lambda block, level=level: writer.build_tail(level, block), jobs))
    writer.finish()


def expected_levels(data: NDArray[Any]) -> list[NDArray[Any]]:
    """Each level as the mean of the level before, over whole planes."""
    levels = [data]
    for size in level_sizes(*data.shape[-2:])[1:]:
        flat = levels[-1].reshape(-1, *levels[-1].shape[-2:])
        levels.append(np.stack([halve(plane) for plane in flat]).reshape(*data.shape[:-2], *size))
    return levels


def digests(path: Path) -> dict[str, str]:
    files = [p for p in path.rglob("*") if p.is_file()]
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


LAYOUTS = {
    "odd": Layout("cyx", (2, 1303, 701), "uint16", {"y": 0.1, "x": 0.1}, channels=CHANNELS, block=(256, 512)),
    "volume": Layout("tczyx", (1, 2, 2, 600, 30), "uint8", {"z": 0.3, "y": 0.1, "x": 0.2}, block=(48, 20)),
    "prime": Layout("yx", (1031, 523), "float32", block=(255, 509)),
    "one": Layout("zyx", (2, 1, 1), "int16", block=(2048, 2048)),
    "thin": Layout("yx", (1, 5000), "uint16", block=(2040, 2040)),
}


@pytest.mark.filterwarnings("ignore::yaozarrs._validation_warning.ValidationWarning")
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_level_reads_back_elsewhere(tmp_path: Path, name: str, ngff: str) -> None:
    layout = LAYOUTS[name]
    data = noise(layout)
    path = tmp_path / "out.ome.zarr"
    write_all(create_image(path, layout, ngff=ngff, provenance={"model": "m"}), data, threads=3)
    zarr.create_group(path / "fluorsr", zarr_format=2 if ngff == "0.4" else 3)  # where the run's record lives
    yaozarrs.validate_zarr_store(str(path))
    group = zarr.open_group(path, mode="r")
    ome: Any = group.attrs["ome"] if ngff == "0.5" else group.attrs
    for level, expected in enumerate(expected_levels(data)):
        array = group[str(level)]
        assert isinstance(array, zarr.Array)
        np.testing.assert_array_equal(array[...], expected)
        transforms = ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]
        size = layout.pixel_size_um.get("x", 1.0)
        assert transforms[0]["scale"][-1] == pytest.approx(size * 2**level)
        assert transforms[1]["translation"][-1] == pytest.approx(size / 2 * (2**level - 1))
    assert group.attrs["fluorsr"] == {"model": "m"}
    node = next(iter(Reader(parse_url(str(path)))()))
    assert len(node.data) == len(ome["multiscales"][0]["datasets"])
    np.testing.assert_array_equal(np.asarray(node.data[-1]), expected)
    assert node.metadata["channel_names"] == [c.name for c in layout.channels]


def test_fluorsr_reads_back_what_it_writes(tmp_path: Path) -> None:
    layout = LAYOUTS["odd"]
    moved = Layout(**{**layout.__dict__, "translation_um": {"y": 3.0, "x": -1.5}, "name": "cells"})
    data = noise(moved)
    path = tmp_path / "out"
    write_all(create_image(path, moved, provenance={}), data)
    image = open_image(path)
    assert (image.axes, image.shape, image.channels, image.name) == ("cyx", layout.shape, CHANNELS, "cells")
    assert image.pixel_size_um == pytest.approx({"y": 0.1, "x": 0.1})
    assert image.translation_um == pytest.approx({"y": 3.0, "x": -1.5})
    np.testing.assert_array_equal(image.read(PlaneIndex(c=1), slice(200, 900), slice(0, 701)), data[1, 200:900])


def test_the_arrays_are_cut_as_documented(tmp_path: Path) -> None:
    layout = Layout("yx", (9000, 5000), "uint16")
    create_image(tmp_path / "a", layout, provenance={})
    arrays = [zarr.open_array(tmp_path / "a" / str(level), mode="r") for level in range(6)]
    assert [a.shards for a in arrays] == [(s, s) for s in (2048, 1024, 512, 2048, 2048, 2048)]
    assert {a.chunks for a in arrays} == {(512, 512)}
    document = json.loads((tmp_path / "a/0/zarr.json").read_text())
    inner = document["codecs"][0]["configuration"]
    assert [c["name"] for c in inner["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert (
        inner["codecs"][1]["configuration"] | {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"}
        == (inner["codecs"][1]["configuration"])
    )
    assert [c["name"] for c in inner["index_codecs"]] == ["bytes", "crc32c"]
    create_image(tmp_path / "b", layout, ngff="0.4", provenance={})
    assert zarr.open_array(tmp_path / "b/0", mode="r").chunks == (512, 512)


@pytest.mark.parametrize(
    ("block", "fused", "chunks"),
    [
        ((2048, 2048), 2, [(512, 512), (512, 512), (512, 512), (512, 512)]),
        ((2040, 1020), 2, [(510, 510), (510, 510), (510, 255), (510, 510)]),
        ((1030, 1030), 1, [(206, 206), (515, 515), (206, 206), (206, 206)]),
        ((333, 200), 0, [(333, 200)] * 4),
        ((1021, 64), 0, [(1021, 64)] * 4),
    ],
)
def test_any_block_is_cut_without_remainder(block: tuple[int, int], fused: int, chunks: list[Any]) -> None:
    layout = Layout("yx", (4000, 4000), "uint8", block=block)
    levels = plan_levels(layout)
    assert fused_levels(block) == fused
    assert [level.chunk for level in levels[:4]] == chunks
    for level in levels:
        assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))
    tail = [level.number for level in levels if level.number > fused]
    assert all(levels[n].shard == block for n in tail)


def test_an_impossible_block_is_refused(tmp_path: Path) -> None:
    layout = Layout("yx", (40000, 40000), "uint16", block=(20011, 20011))
    with pytest.raises(InputError, match=r"block \(20011, 20011\) has no divisor from 128 to 512 .* multiple of 512"):
        create_image(tmp_path / "a", layout, provenance={})
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    block=st.tuples(st.sampled_from([32, 96, 255, 340]), st.sampled_from([40, 128, 333])),
    seed=st.integers(0, 99),
    ngff=st.sampled_from(["0.5", "0.4"]),
    dtype=st.sampled_from(["uint8", "float32"]),
)
def test_order_threads_and_repeats_change_no_byte(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    block: tuple[int, int],
    seed: int,
    ngff: str,
    dtype: str,
) -> None:
    folder = tmp_path_factory.mktemp("same")
    layout = Layout("yx", (height, width), dtype, block=block)
    data = noise(layout, seed)
    write_all(create_image(folder / "a", layout, ngff=ngff, provenance={}), data)
    writer = create_image(folder / "b", layout, ngff=ngff, provenance={})
    for job in blocks(layout, noise(layout, seed + 1))[::2]:
        writer.write(*job)  # what an earlier, different attempt may have left
    write_all(pickle.loads(pickle.dumps(writer)), data, seed=seed, threads=4)
    assert digests(folder / "a") == digests(folder / "b")


def test_a_write_touches_only_its_own_files(tmp_path: Path) -> None:
    layout = Layout("yx", (1100, 1100), "uint16", block=(256, 256))
    data = noise(layout)
    writer = create_image(tmp_path / "a", layout, provenance={})
    jobs = blocks(layout, data)
    seen: set[str] = set()
    for job in jobs:
        before = digests(tmp_path / "a")
        writer.write(*job)
        after = digests(tmp_path / "a")
        assert {k: after[k] for k in before} == before
        new = set(after) - set(before)
        assert len(new) == 3  # one shard each of levels 0, 1 and 2
        seen |= new
    assert len(seen) == 3 * len(jobs)


def test_zeros_written_over_pixels_are_zeros(tmp_path: Path) -> None:
    """An all-zero shard is left out of the store; the old one must not stay."""
    layout = Layout("yx", (64, 64), "float32", block=(64, 64))
    writer = create_image(tmp_path / "a", layout, provenance={})
    writer.write(PlaneIndex(), 0, 0, np.ones((64, 64), np.float32))
    writer.write(PlaneIndex(), 0, 0, np.zeros((64, 64), np.float32))
    assert not writer.read(PlaneIndex(), 0, 0, 64, 64).any()
    writer.write(PlaneIndex(), 0, 0, np.full((64, 64), -0.0, np.float32))
    assert np.signbit(writer.read(PlaneIndex(), 0, 0, 64, 64)).all()


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("size", [128, 100])
def test_a_corrupt_shard_is_named_and_can_be_written_again(tmp_path: Path, size: int, ngff: str) -> None:
    layout = Layout("yx", (size, size), "uint16", block=(64, 64))
    data = noise(layout)
    writer = create_image(tmp_path / "a", layout, ngff=ngff, provenance={})
    write_all(writer, data)
    shard = tmp_path / ("a/0/c/1/1" if ngff == "0.5" else "a/0/1/1")
    good = shard.read_bytes()
    shard.write_bytes(good[: len(good) // 2])
    with pytest.raises(FormatError, match=r"/a/0 cannot be read back: .*/1/1"):
        writer.read(PlaneIndex(), 64, 64, 20, 20)
    with pytest.raises(FormatError, match=r"chunk \(1, 1\) of .*/a/0, pixels \[64:\d+, 64:\d+\], cannot be read"):
        open_image(tmp_path / "a").read(PlaneIndex(), slice(0, size), slice(0, size))
    writer.write(PlaneIndex(), 64, 64, data[64:, 64:])
    assert shard.read_bytes() == good


def test_windows_follow_the_data(tmp_path: Path) -> None:
    layout = Layout("cyx", (3, 600, 600), "uint16", block=(256, 256))
    data = noise(layout)
    data[0] += 1000
    data[2] = 7
    path = tmp_path / "a"
    write_all(create_image(path, layout, provenance={}), data)
    windows = [c["window"] for c in zarr.open_group(path, mode="r").attrs["ome"]["omero"]["channels"]]
    small = expected_levels(data)[-1]
    for channel in (0, 1):
        low, high = np.percentile(small[channel], (0.1, 99.9))
        assert windows[channel] == {"min": 0, "max": 65535, "start": pytest.approx(low), "end": pytest.approx(high)}
    assert (windows[2]["start"], windows[2]["end"]) == (7, 8)


def test_windows_of_floats_leave_out_nan(tmp_path: Path) -> None:
    layout = Layout("cyx", (2, 40, 40), "float32", block=(64, 64))
    data = np.linspace(-1, 3, 3200, dtype=np.float32).reshape(layout.shape)
    data[0, 0, 0], data[0, 1, 1] = np.nan, np.inf
    data[1] = np.nan
    write_all(create_image(tmp_path / "a", layout, provenance={}), data)
    windows = [c["window"] for c in zarr.open_group(tmp_path / "a", mode="r").attrs["ome"]["omero"]["channels"]]
    assert -1 <= windows[0]["min"] <= windows[0]["start"] < windows[0]["end"] <= windows[0]["max"] <= 1.01
    assert windows[1] == {"min": 0, "max": 1, "start": 0, "end": 1}


def test_blocks_must_be_whole(tmp_path: Path) -> None:
    layout = Layout("cyx", (2, 100, 100), "uint16", block=(64, 64))
    writer = create_image(tmp_path / "a", layout, provenance={})
    part = np.zeros((64, 64), np.uint16)
    for args, text in [
        ((PlaneIndex(), 3, 0, part), "starts at multiples of"),
        ((PlaneIndex(), 128, 0, part), "inside 100 x 100"),
        ((PlaneIndex(), 64, 0, part), r"must be whole: shape \(36, 64\), not \(64, 64\)"),
        ((PlaneIndex(), 0, 0, part.astype("u1")), "must be uint16, not uint8"),
        ((PlaneIndex(c=2), 0, 0, part), "c must be 0 to 1"),
        ((PlaneIndex(z=1), 0, 0, part), "z must be 0 to 0"),
    ]:
        with pytest.raises(InputError, match=text):
            writer.write(*args)
    with pytest.raises(InputError, match=r"level 1 is not of the tail"):
        writer.tail_blocks(1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"axes": "xy"}, "must be letters of 'tczyx' in that order"),
        ({"axes": "cz", "shape": (2, 2)}, "with y and x"),
        ({"shape": (0, 4)}, "a length of at least 1"),
        ({"dtype": "uint32"}, "dtype 'uint32' cannot be written; use one of uint8, uint16, int16, float32"),
        ({"block": (0, 4)}, "two positive numbers"),
        ({"channels": CHANNELS}, "2 channels are described, but the c axis has 1"),
    ],
)
def test_layouts_are_checked(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Layout(**{"axes": "yx", "shape": (4, 4), "dtype": "uint8", **change})


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_reopening_checks_what_is_there(tmp_path: Path, ngff: str) -> None:
    layout = Layout("yx", (700, 700), "uint16", block=(128, 128))
    path = tmp_path / "a"
    with pytest.raises(NotFoundError, match="nothing to resume; leave out --resume"):
        reopen_image(path, layout)
    create_image(path, layout, ngff=ngff, provenance={})
    data = noise(layout)
    write_all(reopen_image(path, layout), data)
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[...], data)
    for change, text in [
        ({"shape": (700, 701)}, r"its shape is \[700, 700\], the run would write \[700, 701\]"),
        ({"dtype": "int16"}, "its (data_type|dtype) is .*u.*, the run would write .*i"),
        ({"block": (64, 128)}, "its (chunk_grid|chunks) is"),
    ]:
        with pytest.raises(FormatError, match=text):
            reopen_image(path, Layout(**{**layout.__dict__, **change}))


def test_existing_outputs_are_not_touched_unasked(tmp_path: Path) -> None:
    layout = Layout("yx", (40, 40), "uint16")
    path = tmp_path / "a.zarr"
    create_image(path, layout, provenance={"run": 1})
    with pytest.raises(OutputExistsError, match=r"a\.zarr exists: use --resume .* --overwrite"):
        create_image(path, layout, provenance={"run": 2})
    create_image(path, layout, provenance={"run": 2}, overwrite=True)
    assert zarr.open_group(path, mode="r").attrs["fluorsr"] == {"run": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]  # nothing moved aside is left


def test_overwriting_spares_what_is_not_an_image(tmp_path: Path) -> None:
    layout = Layout("yx", (40, 40), "uint16")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis.doc").write_text("all of it")
    (tmp_path / "notes.txt").write_text("mine")
    zarr.create_group(tmp_path / "experiment").create_group("many")
    zarr.create_group(tmp_path / "plate").attrs["ome"] = {"version": "0.5", "plate": {}}
    create_image(tmp_path / "real", layout, provenance={})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("folder", "notes.txt", "experiment", "plate", "link"):
        before = digests(tmp_path)
        with pytest.raises(OutputExistsError, match="is not a single OME-Zarr image, zarr array or TIFF"):
            create_image(tmp_path / name, layout, provenance={}, overwrite=True)
        assert digests(tmp_path) == before


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"OME-Zarr 0\.3 cannot be written; choose 0\.5 or 0\.4"):
        create_image(tmp_path / "a", Layout("yx", (4, 4), "uint8"), ngff="0.3", provenance={})
