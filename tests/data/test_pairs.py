"""Pairs as labs keep them: folders, lists, stores, several frames; found by name, opened lazily, read as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray

from fluorsr.data.listing import find_pairs
from fluorsr.data.pairs import open_listing, open_pairs
from fluorsr.data.simulate import configure
from fluorsr.data.store import simulate_store
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.image import PlaneIndex


def image(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4000, shape, dtype=np.uint16)


def put(folder: Path, name: str, pixels: NDArray[np.uint16], target: NDArray[np.uint16]) -> None:
    for side, array in (("input", pixels), ("target", target)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / side / name, array, photometric="minisblack")


def test_the_wang_layout_is_read(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            put(tmp_path / split, f"cell_{i}.tif", image(64, 64, seed=i), image(64, 64, seed=i + 9))
    (tmp_path / "train" / "input" / "._cell_0.tif").write_bytes(b"what macOS leaves behind")
    (tmp_path / "train" / "input" / "notes.txt").write_text("nothing")
    pairs = open_pairs(tmp_path)
    assert [pair.name for pair in pairs] == [
        "train/cell_0",
        "train/cell_1",
        "train/cell_2",
        "test/cell_0",
        "test/cell_1",
    ]
    assert (pairs.scale, pairs.frames, len(pairs.split("test"))) == (1, 1, 2)
    pixels, target = pairs.pairs[1].read()
    np.testing.assert_array_equal(pixels.numpy(), image(64, 64, seed=1)[None].astype(np.float32))
    np.testing.assert_array_equal(target.numpy(), image(64, 64, seed=10).astype(np.float32))
    with pytest.raises(InputError, match="no pairs in the split 'val'; there are test, train"):
        pairs.split("val")


def test_shrinking_takes_means(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", image(66, 64), image(132, 128))
    (pair,) = open_pairs(tmp_path)
    pixels, target = pair.read(shrink=4)
    assert (tuple(pixels.shape), tuple(target.shape)) == ((1, 16, 16), (32, 32))
    assert pixels[0, 2, 3] == pytest.approx(image(66, 64)[8:12, 12:16].mean())
    with pytest.raises(InputError, match="cannot be shrunk by 65"):
        pair.read(shrink=65)


def test_frames_are_what_the_target_lacks(tmp_path: Path) -> None:
    put(tmp_path / "pages", "sim.tif", image(15, 64, 48), image(128, 96))
    (pair,) = open_pairs(tmp_path / "pages")
    assert (pair.scale, pair.frames) == (2, 15)
    np.testing.assert_array_equal(pair.read()[0].numpy(), image(15, 64, 48).astype(np.float32))

    put(tmp_path / "stack", "z.tif", image(4, 64, 48), image(4, 64, 48, seed=1))
    pairs = open_pairs(tmp_path / "stack")
    assert [pair.name for pair in pairs] == ["z#0", "z#1", "z#2", "z#3"]
    assert {pair.fov for pair in pairs} == {"z"}
    np.testing.assert_array_equal(pairs.pairs[2].read()[1].numpy(), image(4, 64, 48, seed=1)[2].astype(np.float32))

    both = tmp_path / "both"
    for side, axes, array in (("input", "TCYX", image(2, 3, 64, 48)), ("target", "TYX", image(2, 64, 48))):
        (both / side).mkdir(parents=True)
        tifffile.imwrite(both / side / "t.tif", array, imagej=True, metadata={"axes": axes})
    pairs = open_pairs(both)
    assert (len(pairs), pairs.frames) == (2, 3)
    assert pairs.pairs[1].input_planes == (PlaneIndex(1, 0, 0), PlaneIndex(1, 1, 0), PlaneIndex(1, 2, 0))


def test_ome_zarr_pairs_in_folders_and_beside_each_other(tmp_path: Path) -> None:
    simulate_store(tmp_path / "one.ome.zarr", configure("confocal-280", fixed=True, size_px=64), ["vesicles"], 1)
    beside = open_pairs(tmp_path / "one.ome.zarr")
    assert open_pairs(tmp_path) == beside or len(open_pairs(tmp_path)) == 1
    assert (beside.scale, beside.pairs[0].pixel_size_um) == (2, pytest.approx(0.06))
    for side in ("input", "target"):
        (tmp_path / "set" / side).mkdir(parents=True)
    (tmp_path / "one.ome.zarr").rename(tmp_path / "set" / "input" / "a.ome.zarr")
    (tmp_path / "one_truth.ome.zarr").rename(tmp_path / "set" / "target" / "a.zarr")
    (pair,) = open_pairs(tmp_path / "set")
    assert (pair.name, tuple(pair.read()[1].shape)) == ("a", (128, 128))


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    for side, size in (("input", 64), ("target", 128)):
        (tmp_path / side).mkdir()
        store = zarr.create_array(tmp_path / side / "big.zarr", shape=(size, size), chunks=(size, size), dtype="u2")
        store[:] = 7
        (chunk,) = [path for path in (tmp_path / side / "big.zarr").rglob("*") if path.is_file() and path.name == "0"]
        chunk.write_bytes(b"broken")
    (pair,) = open_pairs(tmp_path)
    with pytest.raises(FormatError, match=r"big\.zarr"):
        pair.read()


def test_a_list_names_splits_and_fields(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", image(64, 64), image(64, 64))
    put(tmp_path, "b.tif", image(64, 64), image(64, 64))
    lines = ["Input,target,split,fov", "input/a.tif,target/a.tif,train,dish1", "input/b.tif,target/b.tif,test,dish2"]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    pairs = open_pairs(tmp_path / "list.csv")
    assert [(pair.name, pair.split, pair.fov) for pair in pairs] == [
        ("input/a", "train", "dish1"),
        ("input/b", "test", "dish2"),
    ]


def test_all_faults_of_a_list_are_told(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", image(64, 64), image(64, 64))
    ok = "input/a.tif,target/a.tif,train"
    lines = ["input,target,split", ok, ok, "input/a2.tif,,train", "x.tif,y.tif,train", "input/a.tif,target/a.tif,dev"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError) as told:
        find_pairs(tmp_path / "list.csv")
    for words in ("line 3: .*a.tif is listed twice", "line 4 must hold 3 cells", "not 'dev'"):
        told.match(words)
    (tmp_path / "list.csv").write_text("input,target\ninput/a.tif,target/a.tif\nx.tif,y.tif\n")
    with pytest.raises(InputError, match=r"line 3 of .*list\.csv: .*x\.tif and .*y\.tif not found; check the name"):
        open_pairs(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("first,second\n")
    with pytest.raises(FormatError, match="has the columns first, second; its first line must name input and target"):
        find_pairs(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("input,target\n")
    with pytest.raises(InputError, match="lists no pairs"):
        find_pairs(tmp_path / "list.csv")


def test_every_faulty_pair_is_in_the_one_error(tmp_path: Path) -> None:
    put(tmp_path, "good.tif", image(64, 64), image(128, 128))
    put(tmp_path, "odd.tif", image(64, 64), image(100, 128))
    put(tmp_path, "plain.tif", image(64, 64), image(64, 64))
    put(tmp_path, "swapped.tif", image(128, 128), image(64, 64))
    put(tmp_path, "frames.tif", image(3, 64, 64), image(2, 128, 128))
    put(tmp_path, "alone.tif", image(64, 64), image(128, 128))
    (tmp_path / "target" / "alone.tif").unlink()
    put(tmp_path, "twice.tif", image(64, 64), image(128, 128))
    put(tmp_path, "twice.ome.tif", image(64, 64), image(128, 128))
    with pytest.raises(InputError) as told:
        open_pairs(tmp_path, scale=2)
    for words in (
        "6 pairs cannot be used",
        "odd.tif has 100 x 128 pixels and .*odd.tif 64 x 64; a target has 1, 2 or 4 times",
        "plain.tif has scale 1 and 1 frames; the set 2 and 1",
        "swapped.tif 128 x 128; .*may be swapped",
        "frames.tif has 2 planes along z and .*frames.tif 3",
        "alone.tif has no target: .*alone.tif does not exist",
        "twice.ome.tif and .*twice.tif have one name",
    ):
        told.match(f"(?s).*{words}")


def test_what_is_no_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="check the name"):
        find_pairs(tmp_path / "none")
    with pytest.raises(FormatError, match=r"holds no pairs: fluorsr looks for train/input/\*\.tif"):
        find_pairs(tmp_path)
    (tmp_path / "a.txt").write_text("no")
    with pytest.raises(FormatError, match=r"neither a folder of pairs nor a \.csv list nor an image"):
        find_pairs(tmp_path / "a.txt")
    tifffile.imwrite(tmp_path / "a.tif", image(64, 64))
    (listing,) = find_pairs(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has no target: .*a_truth\.tif does not exist"):
        open_listing(listing)


def test_tensors_are_float32(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", image(64, 64), image(64, 64))
    assert {tensor.dtype for tensor in open_pairs(tmp_path).pairs[0].read()} == {torch.float32}
