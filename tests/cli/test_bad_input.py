"""Bad input to `fluorsr-infer`: one clear message, exit code 2, and nothing harmed or left behind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

import fluorsr
from fluorsr.cli.main import infer_main

Run = Callable[..., str]
SaveScript = Callable[[torch.nn.Module, Path], Path]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A good input: z 3, y 70, x 60."""
    path = tmp_path / "in.zarr"
    pixels = np.random.default_rng(0).poisson(100, (3, 70, 60)).astype(np.uint16)
    zarr.create_array(path, data=pixels, chunks=(1, 32, 32), dimension_names=("z", "y", "x"))
    return path


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run fluorsr-infer, which must end with exit code 2; returns its message, on one line."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["fluorsr-infer", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            infer_main()
        message = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 2, message
        assert "Traceback" not in message
        return message

    return run


def array(path: Path, shape: tuple[int, ...], dtype: str, names: tuple[str, ...] | None = None) -> Path:
    zarr.create_array(path, shape=shape, dtype=dtype, chunks=tuple(max(1, n) for n in shape), dimension_names=names)
    return path


def test_input_that_is_not_there_or_not_an_image(refused: Run, tmp_path: Path) -> None:
    assert "nothing.zarr does not exist" in refused(tmp_path / "nothing.zarr", tmp_path / "out.zarr")
    (tmp_path / "notes.txt").write_text("shopping list")
    assert "not an image that fluorsr reads" in refused(tmp_path / "notes.txt", tmp_path / "out.zarr")
    (tmp_path / "folder").mkdir()
    assert "folder" in refused(tmp_path / "folder", tmp_path / "out.zarr")
    (tmp_path / "half.tif").write_bytes(b"II*\x00\x08\x00")
    assert "half.tif" in refused(tmp_path / "half.tif", tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("shape", "dtype", "names", "message"),
    [
        ((4, 5), "uint16", ("c", "t"), "needs the axes y and x"),
        ((7,), "uint16", None, "1"),
        ((0, 5), "uint16", ("y", "x"), "is empty"),
        ((4, 5), "complex64", ("y", "x"), "complex64"),
        ((4, 5), "bool", ("y", "x"), "bool"),
    ],
)
def test_arrays_that_are_no_images(
    refused: Run, tmp_path: Path, shape: tuple[int, ...], dtype: str, names: tuple[str, ...] | None, message: str
) -> None:
    source = array(tmp_path / "in.zarr", shape, dtype, names)
    assert message in refused(source, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_object_dtype(refused: Run, tmp_path: Path) -> None:
    store = tmp_path / "in.zarr"
    store.mkdir()
    (store / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [4, 5], "chunks": [4, 5], "dtype": "|O", "compressor": null, "fill_value": null, '
        '"filters": [{"id": "pickle"}], "order": "C"}'
    )
    refused(store, tmp_path / "out.zarr")


def test_an_output_that_exists_is_neither_resumed_nor_overwritten(
    refused: Run, image: Path, small_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "precious").write_text("data")
    model = ("--model", small_model)
    assert "--resume" in refused(image, tmp_path / "out.zarr", *model)
    assert "holds no record" in refused(image, tmp_path / "out.zarr", *model, "--resume")
    assert "does not delete it" in refused(image, tmp_path / "out.zarr", *model, "--overwrite")
    assert "exclude each other" in refused(image, tmp_path / "new.zarr", *model, "--overwrite", "--resume")
    assert (tmp_path / "out.zarr" / "precious").read_text() == "data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]


def test_an_output_inside_the_input(refused: Run, image: Path, small_model: Path) -> None:
    assert "lies inside the input" in refused(image, image / "out.zarr", "--model", small_model)
    assert not (image / "out.zarr").exists()


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; skips where this process may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip() or 'not permitted'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs, which only Linux has")
def test_a_full_disk_stops_the_run_and_more_room_lets_it_go_on(refused: Run, small_model: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60_000, (1500, 1500), np.uint16)  # does not compress: 18 MB out
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    fluorsr.infer(tmp_path / "in.tif", tmp_path / "whole.zarr", model=small_model)
    with small_disk(tmp_path / "disk", "size=12m") as disk:
        command = (tmp_path / "in.tif", disk / "out.zarr", "--model", small_model)
        assert "the disk is full; free space" in refused(*command)
        assert not fluorsr.verify(disk / "out.zarr").complete
        assert not fluorsr.verify(disk / "out.zarr").faults  # what it calls done is done
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        fluorsr.infer(*command[:2], model=small_model, resume=True)
        assert fluorsr.verify(disk / "out.zarr").complete
        left = {path.relative_to(disk / "out.zarr") for path in (disk / "out.zarr").rglob("*")}
        whole = {path.relative_to(tmp_path / "whole.zarr") for path in (tmp_path / "whole.zarr").rglob("*")}
        assert left == whole


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs, which only Linux has")
def test_a_place_that_cannot_be_written(refused: Run, image: Path, small_model: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "ro") as disk:
        assert "read-only" in refused(image, disk / "out.zarr", "--model", small_model)
    (tmp_path / "file").write_text("")
    refused(image, tmp_path / "file" / "out.zarr", "--model", small_model)
    if os.getuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "permission denied" in refused(image, tmp_path / "locked" / "out.zarr", "--model", small_model)


class WrongShape(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, 1:, :]


class WrongType(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()


class Fifteen(torch.nn.Module):
    """Takes 15 frames and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(15, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(x)
        return mixed


def test_files_that_are_no_models(
    refused: Run, image: Path, small_model: Path, tmp_path: Path, save_script: SaveScript
) -> None:
    out = tmp_path / "out.zarr"
    assert "no model and no file named 'esdr'" in refused(image, out, "--model", "esdr")
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(small_model.read_bytes()[:-2000])
    assert "truncated.pt" in refused(image, out, "--model", truncated)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"\xff" * 100)
    assert "weights.safetensors" in refused(image, out, "--model", weights)
    harmful = tmp_path / "pickled.pt"
    harmful.write_bytes(pickle.dumps({"weights": 1}))
    assert "is a pickle" in refused(image, out, "--model", harmful)
    wrong = save_script(WrongShape(), tmp_path / "shape.pt")
    assert "scale must be one whole number" in refused(image, out, "--model", wrong)
    wrong = save_script(WrongType(), tmp_path / "type.pt")
    assert "torch.float64" in refused(image, out, "--model", wrong)
    assert not out.exists()


def test_what_does_not_fit_the_model(
    refused: Run, image: Path, small_model: Path, tmp_path: Path, save_script: SaveScript
) -> None:
    out = tmp_path / "out.zarr"
    fifteen = save_script(Fifteen(), tmp_path / "fifteen.pt")
    assert "fifteen turns 15 raw frames into one image" in refused(image, out, "--model", fifteen)
    assert "takes 15 frames, and 3 were found along z, 12 missing for 1 image" in refused(
        image, out, "--model", fifteen, "--frames-axis", "z"
    )
    model = ("--model", small_model)
    assert "tile 4 " in refused(image, out, *model, "--tile", 4)
    assert "precision 'fp8' is not one of" in refused(image, out, *model, "--precision", "fp8")
    assert "not one of auto, cpu, cuda" in refused(image, out, *model, "--device", "gpu")
    assert "cannot be written" in refused(image, out, *model, "--dtype", "int32")
    assert "OME-Zarr 0.3 cannot be written" in refused(image, out, *model, "--ngff", "0.3")
    assert "outside the image" in refused(image, out, *model, "--z", "3")
    assert "workers 0" in refused(image, out, *model, "--workers", 0)
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifteen.pt", "in.zarr"]


def test_a_corrupt_chunk_is_named_with_its_place(refused: Run, image: Path, small_model: Path, tmp_path: Path) -> None:
    (image / "c" / "2" / "1" / "0").write_bytes(b"broken")
    message = refused(image, tmp_path / "out.zarr", "--model", small_model)
    assert "in.zarr" in message
    assert "(2, 1, 0)" in message
