"""`fluorsr info` on raw SIM frames: what it prints is what the simulation was given, and wrong frames are named."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread

from fluorsr.cli.main import main


@pytest.fixture(scope="module")
def series():
    path = Path(__file__).parents[1] / "classical" / "conftest.py"
    spec = importlib.util.spec_from_file_location("sim_series_of_cli", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sim_series_of_cli"] = module
    spec.loader.exec_module(module)
    return module.take(module.THREE_BEAMS, 1000)


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["fluorsr", "info", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == (2 if fails else 0)
        shown = capsys.readouterr()
        return shown.err if fails else shown.out

    return call


def write(path: Path, frames: np.ndarray) -> Path:
    size = {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}, "resolution": (1 / 0.06, 1 / 0.06)}
    tifffile.imwrite(path, frames.round().clip(0).astype(np.uint16), **size)
    return path


def test_the_stripes_are_told_as_they_were_simulated(run, series, tmp_path: Path) -> None:
    source = write(tmp_path / "raw.tif", series.frames.flatten(0, 1).numpy())
    picture = tmp_path / "spectra.png"
    shown = run(source, "--frames-axis", "z", "--picture", picture)
    assert "raw frames: angle-major, 3 angles x 5 phases" in shown
    assert "14.32°" in shown or "14.33°" in shown
    assert "the frames are what was declared" in shown
    assert imread(picture).shape == (540, 1440, 4)
    told = json.loads(run(source, "--frames-axis", "z", "--json"))["series"]
    assert [angle["period_nm"] for angle in told["angles"]] == pytest.approx([494.0] * 3, rel=1e-3)
    true = series.stripes.phase_rad.reshape(3, 5).numpy() - 2 * np.pi / 5 * np.arange(5)
    true = np.degrees(true - true.mean(1, keepdims=True))
    np.testing.assert_allclose([angle["phase_errors_deg"] for angle in told["angles"]], true, atol=2.5)
    assert told["fault"] == ""
    assert all(angle["strength"] > 3 for angle in told["angles"])


def test_wrong_frames_are_named(run, series, tmp_path: Path) -> None:
    frames = series.frames.flatten(0, 1).numpy()
    by_phase = write(tmp_path / "phase.tif", frames.reshape(3, 5, 128, 128).swapaxes(0, 1).reshape(15, 128, 128))
    assert "if the frames are phase-major" in " ".join(run(by_phase, "--frames-axis", "z", fails=True).split())
    assert "declared" in run(by_phase, "--frames-axis", "z", "--order", "phase")
    blank = frames.copy()
    blank[3] = 100
    message = run(write(tmp_path / "blank.tif", blank), "--frames-axis", "z", fails=True)
    assert "frame 3 of 15 (counted from 0) is blank" in " ".join(message.split())
    drifted = frames.copy()
    drifted[5:10] = np.roll(drifted[5:10], 3, -1)
    told = run(write(tmp_path / "drift.tif", drifted), "--frames-axis", "z")
    assert "wrong: the specimen moved between the angles" in told
    message = run(write(tmp_path / "less.tif", frames[:14]), "--frames-axis", "z", fails=True)
    assert "14 were found along z, 1 missing" in " ".join(message.split())
    assert "say which axis" in " ".join(run(by_phase, "--picture", "x.png", fails=True).split())
