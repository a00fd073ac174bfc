"""The verbs that make data and models."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fluorsr.train
from fluorsr.cli.simulate import simulate
from fluorsr.cli.train import train
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
    with pytest.raises(InputError, match="scale 3 must be 1, 2 or 4"):
        run("simulate", "unused.zarr", "--scale", "3")
    with pytest.raises(InputError, match="--set takes KEY=VALUE, not 'batch'"):
        run("train", RECIPE, "--out", "unused", "--set", "batch")
    with pytest.raises(InputError, match="has faults"):
        run("train", RECIPE, "--out", "unused", "--set", "batch=-1")
