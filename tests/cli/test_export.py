from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import ModelError
from fluorsr.models.architectures import build
from fluorsr.models.load import load
from fluorsr.models.torchscript import TorchScriptFile
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_export_and_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("edsr-confocal-sted-x2", "--normalise", "100,2400")
    assert result.exit_code == 0, result.output
    path = tmp_path / "edsr-confocal-sted-x2.ts"
    assert f"--check {path.name}" in result.output
    assert TorchScriptFile(path).notes["normalise"] == "100,2400"
    result = run("--check", path)
    assert result.exit_code == 0, result.output
    assert result.output.count("infer") == 20
    assert "within 1e-05" in result.output


def test_a_file_that_differs_fails_the_check(tmp_path):
    """The weights change after the export: another model under the same name."""
    names = []
    for seed in (0, 1):
        torch.manual_seed(seed)

        module = build("edsr", {"blocks": 1, "width": 4})
        names.append(tmp_path / f"{seed}.safetensors")
        spec = RestorerSpec("x", scale=2, halo=8)
        save_weights(names[-1], module, architecture="edsr", config={"blocks": 1, "width": 4}, spec=spec, notes={})
    out = tmp_path / "x.ts"
    assert run(names[0], "--out", out).exit_code == 0
    assert run(names[0], "--check", out).exit_code == 0
    other = run(names[1], "--check", out)
    assert other.exit_code == 1
    assert "MORE THAN 1e-05" in other.output


def test_what_is_missing_is_said(tmp_path):
    assert "name a model to export" in str(run().exception)
    assert "'tensorrt' is not a format to export to; choose one of torchscript" in str(
        run("edsr-confocal-sted-x2", "--to", "tensorrt").exception
    )


def test_a_bf16_file_says_so_and_cannot_be_had_in_fp32(tmp_path):
    out = tmp_path / "half.ts"
    assert run("edsr-confocal-sted-x2", "--precision", "bf16", "--out", out).exit_code == 0
    model = load(out)
    assert model.precision == "bf16"
    with torch.inference_mode():
        assert model.restore(torch.rand(1, 1, 32, 32), torch.zeros(1, 2), 0).shape == (1, 1, 64, 64)
    with pytest.raises(ModelError, match="computes in bf16, as it was exported"):
        load(out, precision="fp32")
