"""`fluorsr-infer` as a user meets it: what it prints, what it warns of, what it writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import fluorsr
from fluorsr.cli.main import infer_main, main
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
from fluorsr.models.zoo_index import describe, zoo

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command that must succeed; returns what it printed to stdout. `.notes` of stderr are in `capsys`."""

    def run(*words: object, fails_with: int | None = None, columns: int = 200) -> str:
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        monkeypatch.setenv("COLUMNS", str(columns))
        entry = infer_main if words[0] == "fluorsr-infer" else main
        with pytest.raises(SystemExit) as ended:
            entry()
        shown = capsys.readouterr()
        assert (ended.value.code or 0) == (fails_with or 0), shown.err
        return shown.out + shown.err

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    pixels = np.random.default_rng(0).poisson(100, (2, 60, 70)).astype(np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYX", "unit": "um"}, resolution=(1 / 0.08, 1 / 0.08))
    return path


def test_the_summary_says_what_was_done(command: Command, image: Path, small_model: Path, tmp_path: Path) -> None:
    shown = command("fluorsr-infer", image, tmp_path / "out.zarr", "--model", small_model)
    for words in ("c 2, y 120, x 140", "uint16; pixels y 40 nm, x 40 nm", "million input pixels a second", "0 input"):
        assert words in shown


def test_json_is_one_object_and_nothing_else(
    image: Path, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fluorsr", "infer", str(image), str(tmp_path / "out.tif"), "--model", str(small_model), "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    summary = json.loads(capsys.readouterr().out)
    assert summary["output_shape"] == {"c": 2, "y": 120, "x": 140}
    assert summary["nonfinite_input"] == 0


def test_tiff_and_zarr_hold_the_same_pixels(command: Command, image: Path, small_model: Path, tmp_path: Path) -> None:
    for name in ("out.tif", "out.zarr"):
        command("fluorsr-infer", image, tmp_path / name, "--model", small_model, "--dtype", "float32")
    restored = fluorsr.open(tmp_path / "out.zarr")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), restored.to_numpy())
    assert fluorsr.open(tmp_path / "out.tif").pixel_size_um["x"] == pytest.approx(0.04)


def test_what_is_left_out_is_told(command: Command, image: Path, small_model: Path, tmp_path: Path) -> None:
    words = (image, tmp_path / "out.zarr", "--model", small_model, "--skip-empty", "1000", "--tta")
    shown = " ".join(command("fluorsr-infer", *words).split())
    assert "no mean over 4 x 4 pixels above 1000 counts (as given)" in shown
    assert "2 of 2 tiles were empty" in shown


def test_another_pixel_size_is_told_with_both_sizes(command: Command, image: Path, tmp_path: Path) -> None:
    shown = command("fluorsr-infer", image, tmp_path / "out.zarr")
    assert "pixels are 80.0 nm, edsr-confocal-sted-x2 was trained at 60.0 nm" in " ".join(shown.split())


def test_verify_tells_by_its_exit_code(command: Command, image: Path, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    command("fluorsr-infer", image, out, "--model", small_model)
    assert "complete and unchanged" in command("fluorsr", "verify", out)
    (out / "0" / "c" / "0" / "0" / "0").unlink()
    assert "damaged:" in command("fluorsr", "verify", out, fails_with=1)
    found = json.loads(command("fluorsr", "verify", out, "--json", fails_with=1))
    assert not found["complete"]


def test_info_and_models_print_what_there_is(command: Command, image: Path) -> None:
    shown = command("fluorsr", "info", image)
    assert "c 2, y 60, x 70" in shown
    assert "80 nm" in shown
    assert json.loads(command("fluorsr", "info", image, "--json"))["dtype"] == "uint16"
    assert "edsr-confocal-sted-x2" in command("fluorsr", "models")
    assert "bicubic, richardson-lucy, wiener-sim" in command("fluorsr", "models")
    assert "iterations=10" in command("fluorsr", "models", "richardson-lucy")
    assert json.loads(command("fluorsr", "models", "bicubic", "--json")) == {"bicubic": {"scale": 2}}
    card = json.loads(command("fluorsr", "models", "edsr-confocal-sted-x2", "--json"))["edsr-confocal-sted-x2"]
    assert card["spec"]["scale"] == 2
    assert card["spec"]["exact"]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_list_of_models_is_whole_in_a_narrow_terminal(command: Command, columns: int) -> None:
    shown = command("fluorsr", "models", columns=columns)
    listed, _, _ = shown.partition("classical methods")
    assert max(map(len, listed.splitlines())) <= columns
    words = " ".join(shown.split())
    for name in zoo():
        spec = describe(name).spec
        assert f"{name} {spec.scale}x, pixels of {1000 * spec.pixel_size_um:.0f} nm" in words
        assert f"{spec.modality} trained on {', '.join(spec.structures)} held-out fields: " in words


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not at {DATA}; set FLUORSR_DATA")
def test_a_real_image_as_tiff_and_as_ome_zarr(command: Command, tmp_path: Path) -> None:
    frames = tifffile.imread(DATA / "fov1_high_light_raw.tif").astype(np.float64)
    widefield = frames.mean(axis=0).reshape(128, 2, 128, 2).mean(axis=(1, 3)).round().astype(np.uint16)
    size = {"y": 0.06, "x": 0.06}
    tifffile.imwrite(
        tmp_path / "real.tif", widefield, imagej=True, metadata={"unit": "um"}, resolution=(1 / 0.06, 1 / 0.06)
    )
    writer = create_image(tmp_path / "real.zarr", Layout("yx", widefield.shape, "uint16", size), provenance={})
    writer.write(PlaneIndex(), 0, 0, widefield)
    writer.finish()
    restored = []
    for name in ("real.tif", "real.zarr"):
        shown = command("fluorsr-infer", tmp_path / name, tmp_path / f"restored-{name}")
        assert "was trained at" not in shown  # the same pixel size: nothing to warn of
        restored.append(fluorsr.open(tmp_path / f"restored-{name}").to_numpy())
    np.testing.assert_array_equal(restored[0], restored[1])
    image = restored[0].astype(np.float64)
    assert image.mean() == pytest.approx(widefield.mean(), rel=0.03)  # sharper, not brighter
    spectra = [
        np.abs(np.fft.fftshift(np.fft.fft2(i - i.mean()))) / i.std() / i.size**0.5
        for i in (image, widefield.repeat(2, 0).repeat(2, 1).astype(np.float64))
    ]
    y, x = np.indices(image.shape) - 128
    band = (np.hypot(y, x) > 30) & (np.hypot(y, x) < 60)  # periods of 256 to 128 nm: what the microscope blurred
    assert spectra[0][band].mean() > 1.4 * spectra[1][band].mean()


def test_help_teaches(command: Command) -> None:
    shown = command("fluorsr-infer", "--help")
    for words in ("--resume", "--region", "Everything has a default", "OME-Zarr", "--samples", "--tta", "--skip-empty"):
        assert words in shown
