"""The verbs that make data and models."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fluorsr.train
from fluorsr.cli.simulate import simulate
from fluorsr.cli.train import train
from fluorsr.data.pairs import open_pairs
from fluorsr.errors import InputError, OutputExistsError
from fluorsr.io.open import open_image
from fluorsr.models.weights import read_weights

app = typer.Typer()
app.command()(simulate)
app.command()(train)

RECIPE = str(Path(fluorsr.train.__file__).parent / "recipes" / "edsr-confocal-sted-x2.yaml")
TINY = ["--workers=0"] + [
    f"--set={change}"
    for change in (
        "batch=1",
        "patch=16",
        "pool=1",
        "model={blocks: 1, width: 4, scale: 2}",
        "data.size_px=32",
        "validate_every=2",
    )
]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return result.output


def test_simulate_writes_an_image_and_its_truth(tmp_path: Path) -> None:
    out = tmp_path / "cells.zarr"
    told = run("simulate", str(out), "--structure", "nuclei", "--structure", "vesicles", "--size", "40", "--scale", "4")
    assert str(tmp_path / "cells_truth.zarr") in told
    assert open_image(out).shape == (2, 40, 40)
    assert open_image(tmp_path / "cells_truth.zarr").shape == (2, 160, 160)


def test_simulate_takes_the_microscope_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "sim.tif"
    told = run("simulate", str(out), "--modality", "sim-raw", "--size", "32", "--na", "1.45", "--wavelength-nm", "580",
               "--photons", "100", "--pixel-size-um", "0.065")  # fmt: skip
    assert str(tmp_path / "sim_truth.tif") in told
    image = open_image(out)
    assert image.shape == (15, 32, 32)
    assert image.pixel_size_um["x"] == pytest.approx(0.065)


def test_simulate_writes_pairs_to_train_on(tmp_path: Path) -> None:
    asked = ["--count", "2", "--size", "48", "--preset", "widefield-sted", "--structure", "actin"]
    told = run("simulate", str(tmp_path / "set"), *asked)
    assert "2 pairs" in told
    pairs = open_pairs(tmp_path / "set")
    assert (len(pairs), pairs.scale, pairs.frames) == (2, 2, 1)


def test_train_writes_weights_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = run("train", RECIPE, "--out", str(out), "--steps", "2", *TINY)
    assert "done: 2 steps" in told
    weights = read_weights(out / "edsr-confocal-sted-x2.safetensors")
    assert weights.spec.halo == 6
    assert weights.config == {"blocks": 1, "width": 4, "scale": 2}
    assert weights.notes["steps"] == 2
    with pytest.raises(OutputExistsError, match="resume it with --resume"):
        run("train", RECIPE, "--out", str(out), "--steps", "4", *TINY)
    assert "done: 4 steps" in run("train", RECIPE, "--out", str(out), "--steps", "4", "--resume", *TINY)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(InputError, match="cannot simulate this: scale: Input should be 1, 2 or 4"):
        run("simulate", "unused.zarr", "--scale", "3")
    with pytest.raises(InputError, match="there is no modality 'sted'; use one of confocal-sted, widefield-sted"):
        run("simulate", "unused.zarr", "--modality", "sted")
    with pytest.raises(InputError, match="preset sim-3x3 is of sim-raw, not confocal-sted; use confocal-280"):
        run("simulate", "unused.zarr", "--modality", "confocal-sted", "--preset", "sim-3x3")
    with pytest.raises(InputError, match="--set takes KEY=VALUE, not 'batch'"):
        run("train", RECIPE, "--out", "unused", "--set", "batch")
    with pytest.raises(InputError, match="has faults"):
        run("train", RECIPE, "--out", "unused", "--set", "batch=-1")
