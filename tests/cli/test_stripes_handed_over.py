"""Stripes measured once on a bright recording, then handed over on the command line to dark ones and to few frames."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fluorsr.cli.main import main
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.io.open import open_image

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
PARTS = {15: range(15), 9: (0, 1, 2, 5, 6, 7, 10, 11, 12), 3: (0, 5, 10)}


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["fluorsr", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert (ended.value.code or 0) == (2 if fails else 0), shown.err
        return " ".join((shown.err if fails else shown.out).split())

    return call


def write(path: Path, frames: np.ndarray, pixel_um: float = 0.06) -> Path:
    size = {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}, "resolution": (1 / pixel_um, 1 / pixel_um)}
    tifffile.imwrite(path, frames.round().clip(0, 65535).astype(np.uint16), **size)
    return path


def simulated(photons: float, preset: str = "sim-3x5") -> np.ndarray:
    config = configure(preset, fixed=True, size_px=128, photons=(photons, photons), pixel_size_um=0.06)
    return simulate_pair(config, 2**32 + 3, 0, "microtubules").degraded


@pytest.fixture
def scope(run, tmp_path: Path) -> Path:
    bright = write(tmp_path / "bright.tif", simulated(1000))
    shown = run("info", bright, "--frames-axis", "z", "--save-stripes", tmp_path / "scope.json")
    assert f"stripes {tmp_path / 'scope.json'}" in shown
    return tmp_path / "scope.json"


def recorded(output: Path) -> dict[str, object]:
    return dict(zarr.open_group(output, mode="r").attrs["fluorsr"])


def test_dark_frames_take_them_and_the_output_names_them(run, scope: Path, tmp_path: Path) -> None:
    dark = write(tmp_path / "dark.tif", simulated(4)[list(PARTS[9])])
    words = ("infer", dark, tmp_path / "out.zarr", "--model", "unet-sim9-x2", "--frames-axis", "z")
    handed = ("--set", f"stripes={scope}")
    run(*words, *handed)
    assert open_image(tmp_path / "out.zarr").shape == (256, 256)
    facts, file = recorded(tmp_path / "out.zarr"), json.loads(scope.read_text())
    assert facts["options"] == {"stripes": file}
    assert facts["measured"][0]["wave_per_um"] == [angle["wave_per_um"] for angle in file["angles"]]
    run(*words, *handed, "--resume")
    assert run("verify", tmp_path / "out.zarr", "--repair")  # the record holds what the file held
    scope.write_text(json.dumps(file | {"source": "another.tif"}))
    assert "was begun with other parameters" in run(*words, *handed, "--resume", fails=True)
    assert "was begun with other parameters" in run(*words, "--resume", fails=True)
    assert "blocks" in run("plan", dark, "--model", "unet-sim9-x2", "--frames-axis", "z", "--seconds", "1", *handed)


def test_what_does_not_fit_is_told_and_nothing_is_written(run, scope: Path, tmp_path: Path) -> None:
    frames = simulated(1000)

    def told(source: Path, model: str, *words: object) -> str:
        message = run("infer", source, tmp_path / "no.zarr", "--model", model, "--frames-axis", "z", *words, fails=True)
        assert not (tmp_path / "no.zarr").exists()
        return message

    handed = ("--set", f"stripes={scope}")
    other = write(tmp_path / "other.tif", frames, 0.062)
    for model in ("wiener-sim", "unet-sim15-x2"):
        assert "camera pixels of 60 nm, and these are 62 nm" in told(other, model, *handed)
    source = tmp_path / "bright.tif"
    assert "cycles per um, and the microscope passes 3.11" in told(
        source, "wiener-sim", "--set", "emission_nm=900", *handed
    )
    assert "they have 3 angles, and wiener-sim takes 5" in told(
        source, "wiener-sim", "--set", "angles=5", "--set", "phases=3", "--set", "beams=2", *handed
    )
    assert "cannot be read for its stripes" in told(source, "wiener-sim", "--set", "stripes=none.json")
    assert "which has no options" in told(source, "unet-sim3-x2", "--set", "notch=1", "--frames", "0,5,10")
    empty = write(tmp_path / "empty.tif", np.random.default_rng(0).poisson(100, (3, 128, 128)))
    message = told(empty, "unet-sim3-x2", *handed)
    assert "do not show the stripes whose vectors are known" in message
    assert "take brighter frames" in message
    by_phase = write(tmp_path / "phase.tif", frames.reshape(3, 5, 128, 128).swapaxes(0, 1).reshape(15, 128, 128))
    assert "phase-major" in run(
        "info", by_phase, "--frames-axis", "z", "--save-stripes", tmp_path / "no.json", fails=True
    )
    assert not (tmp_path / "no.json").exists()
    assert "--save-stripes writes the stripes of raw frames" in run("info", source, "--save-stripes", "x", fails=True)


def test_two_beams_go_to_methods_that_take_them(run, tmp_path: Path) -> None:
    bright = write(tmp_path / "bright.tif", simulated(1000, "sim-3x3"))
    scope = tmp_path / "scope.json"
    run("info", bright, "--frames-axis", "z", "--phases", 3, "--save-stripes", scope)
    file = json.loads(scope.read_text())
    assert (file["beams"], file["phases"]) == (2, 3)
    assert [angle["period_nm"] for angle in file["angles"]] == pytest.approx([220] * 3, rel=5e-3)
    dark = write(tmp_path / "dark.tif", simulated(20, "sim-3x3"))
    waves = np.array([angle["wave_per_um"] for angle in file["angles"]])
    for model, part, words in (
        ("unet-sim9-x2", 2, ()),
        ("wiener-sim", 1, ("--set", "phases=3", "--set", "beams=2", "--set", "emission_nm=530")),
    ):
        out = tmp_path / f"{model}.zarr"
        run("infer", dark, out, "--model", model, "--frames-axis", "z", "--set", f"stripes={scope}", *words)
        np.testing.assert_allclose(part * np.array(recorded(out)["measured"][0]["wave_per_um"]), waves, rtol=1e-9)
    message = run("infer", dark, tmp_path / "no.zarr", "--model", "wiener-sim", "--frames-axis", "z", "--set",
                  "phases=3", "--set", "beams=3", "--set", f"stripes={scope}", fails=True)  # fmt: skip
    assert "they are of 2 beams, and wiener-sim takes 3" in message


@needs_data
@pytest.mark.parametrize(
    ("model", "frames", "alike"),
    [("wiener-sim", 15, 0.74), ("unet-sim15-x2", 15, 0.78), ("unet-sim9-x2", 9, 0.74), ("unet-sim3-x2", 3, 0.61)],
)
def test_real_dark_frames_with_the_stripes_of_bright_ones(run, tmp_path, model: str, frames: int, alike: float) -> None:
    def camera(light: str) -> np.ndarray:
        raw = tifffile.imread(DATA / f"fov1_{light}_light_raw.tif").astype(np.float64)
        return raw.reshape(15, 128, 2, 128, 2).mean((2, 4))

    bright = write(tmp_path / "bright.tif", camera("high"))
    optics = ("--numerical-aperture", "1.49", "--emission-nm", "600")
    run("info", bright, "--frames-axis", "z", *optics, "--save-stripes", tmp_path / "scope.json")
    dark = write(tmp_path / "dark.tif", camera("low")[list(PARTS[frames])])
    words = ("infer", dark, tmp_path / "out.zarr", "--model", model, "--frames-axis", "z", "--dtype", "float32")
    if model == "wiener-sim":
        words += ("--set", "numerical_aperture=1.49", "--set", "emission_nm=600")
    elif frames < 15:
        assert "do not stand out" in run(*words, fails=True)
    run(*words, "--set", f"stripes={tmp_path / 'scope.json'}")
    found = open_image(tmp_path / "out.zarr").to_numpy()[8:-8, 8:-8]
    reference = tifffile.imread(DATA / "fov1_high_light_sim.tif").astype(np.float64)[8:-8, 8:-8]
    wide = camera("low").mean(0).repeat(2, 0).repeat(2, 1)[8:-8, 8:-8]
    found, wide = (np.corrcoef(image.ravel(), reference.ravel())[0, 1] for image in (found, wide))
    assert found > max(alike, wide + 0.05)
