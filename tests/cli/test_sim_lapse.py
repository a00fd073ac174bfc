"""A time-lapse of raw SIM frames on the command line: every time point has its own stripes, and a blank one is told."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from fluorsr.cli.main import main
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image, open_image
from fluorsr.io.writer import Layout

TIMES, BLANK, SIDE = 12, 6, 112
BLEACHED = 0.9
"""Share of the light that a time point has of the one before."""


@pytest.fixture(scope="module")
def lapse():
    """Series t by t: frames [15, Y, X] in dimming light, and the phases [3, 5] that they were drawn with."""
    path = Path(__file__).parents[1] / "classical" / "conftest.py"
    spec = importlib.util.spec_from_file_location("sim_series_of_lapse", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sim_series_of_lapse"] = module
    spec.loader.exec_module(module)
    taken = []
    for t in range(TIMES):
        drifted = tuple(start + 0.7 * (a + 1) * t for a, start in enumerate((0.3, 2.0, 4.0)))
        light = module.THREE_BEAMS.model_copy(update={"first_phases_rad": drifted})
        taken.append(module.take(light, 1500 * BLEACHED**t, side=SIDE))
    return taken


def write(path: Path, lapse, kept: list[int]) -> Path:
    frames = np.stack([each.frames.flatten(0, 1)[kept].numpy() for each in lapse])
    frames[BLANK] = 100 + 1.5 * np.random.default_rng(0).standard_normal(frames[BLANK].shape)
    counts = frames.round().clip(0).astype(np.uint16)
    layout = Layout("tzyx", counts.shape, "uint16", {"y": 0.06, "x": 0.06}, block=(SIDE, SIDE))
    writer = create_image(path, layout, provenance={})
    for t, z in np.ndindex(counts.shape[:2]):
        writer.write(PlaneIndex(t=t, z=z), 0, 0, counts[t, z])
    writer.finish()
    return path


def run(monkeypatch, capsys, *words: object) -> str:
    monkeypatch.setattr(sys, "argv", ["fluorsr", "infer", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert not ended.value.code, shown.err
    return " ".join((shown.err + shown.out).split())


@pytest.mark.parametrize(
    ("model", "kept", "right_deg"), [("unet-sim15-x2", list(range(15)), 5), ("unet-sim3-x2", [0, 5, 10], 25)]
)
def test_each_time_point_has_its_own_stripes(
    model: str, kept: list[int], right_deg: float, lapse, tmp_path: Path, monkeypatch, capsys
) -> None:
    source = write(tmp_path / "lapse.zarr", lapse, kept)
    output = tmp_path / "restored.zarr"
    told = run(monkeypatch, capsys, source, output, "--model", model, "--frames-axis", "z", "--dtype", "float32")
    assert f"1 of {TIMES} planes show no stripes above their noise (the first: t {BLANK})" in told
    restored = open_image(output)
    assert (restored.axes, restored.shape) == ("tyx", (TIMES, 2 * SIDE, 2 * SIDE))

    measured = zarr.open_group(output, mode="r").attrs["fluorsr"]["measured"]
    assert measured[BLANK] == measured[BLANK - 1]
    for t, (facts, true) in enumerate(zip(measured, lapse, strict=True)):
        if t == BLANK:
            continue
        np.testing.assert_allclose(facts["period_nm"], [494.0] * 3, rtol=0.01)
        assert phase_errors_deg(facts, true, kept).max() < right_deg, t

    planes = [restored.read(PlaneIndex(t=t), slice(16, -16), slice(16, -16)) for t in range(TIMES)]
    assert planes[BLANK].std() < 0.1 * planes[BLANK - 1].std()
    # Frames in which the same filaments dim, lit by other stripes each: the images agree.
    alike = [np.corrcoef(planes[0].ravel(), planes[t].ravel())[0, 1] for t in range(TIMES) if t != BLANK]
    assert min(alike) > 0.9


def phase_errors_deg(facts: dict[str, list[list[float]]], true, kept: list[int]) -> np.ndarray:
    """Of every frame's stripes in the middle of the field."""
    middle = SIDE / 2 * 0.06
    waves = np.array(facts["wave_per_um"])
    known = true.stripes.wave_per_um.reshape(3, 5, 2)[:, 0].numpy()
    sign = np.sign((waves * known).sum(1))[:, None]
    found = sign * (np.array(facts["phase_rad"]) + 2 * math.pi * middle * waves.sum(1)[:, None])
    drawn = true.stripes.phase_rad.numpy()[kept].reshape(found.shape) + 2 * math.pi * middle * known.sum(1)[:, None]
    return np.degrees(np.abs(np.angle(np.exp(1j * (found - drawn)))))
