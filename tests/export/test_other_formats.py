"""ONNX Runtime and torch.export against Python, for every architecture."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import InputError, NotFoundError
from fluorsr.export.formats import FORMATS, export_model
from fluorsr.export.parity import OPENERS, check
from fluorsr.export.source import open_source
from fluorsr.models.architectures import ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_every_architecture_agrees_with_python(architecture, to, make_weights, tmp_path):
    path = export_model(make_weights(architecture), to, tmp_path / f"model{FORMATS[to].suffix}")
    assert str(tmp_path).encode() not in path.read_bytes().replace(str(make_weights(architecture)).encode(), b"")
    parity = check(path, count=8)
    assert len(parity.comparisons) == 8
    assert parity.holds, parity.comparisons


@pytest.mark.parametrize("to", ["torchscript", "onnx", "torch-export"])
def test_a_diffusion_models_steps_and_sampler_become_part_of_the_file(to, make_weights, tmp_path):
    weights, path = make_weights("sr3"), tmp_path / f"model{FORMATS[to].suffix}"
    options = ["--out", str(path), "--steps", "1", "--sampler", "ddim"]
    result = CliRunner().invoke(app, ["export", str(weights), "--to", to, *options])
    assert result.exit_code == 0, result.output
    assert check(path, count=3).holds
    exported, own = OPENERS[path.suffix](path), open_source(weights)
    assert (exported.notes["steps"], exported.notes["sampler"]) == (1, "ddim")
    assert own.notes["steps"] == 2
    sample = torch.rand(1, 1, 32, 32), torch.zeros(1, 2, dtype=torch.int64), 0
    assert float((exported.forward(*sample) - own.module(*sample)).abs().max()) > 1e-3
    assert open_source(weights, steps=1).spec.halo < own.spec.halo
    with pytest.raises(InputError, match=r"edsr is a edsr: it restores in one step; leave out --steps and --sampler"):
        export_model(make_weights("edsr"), to, path, steps=4)
    with pytest.raises(InputError, match="steps is 0; this model samples in 1 to 2000 steps"):
        export_model(weights, to, path, steps=0)
    with pytest.raises(InputError, match="sampler 'euler' is not one of ddpm, ddim"):
        export_model(weights, to, path, sampler="euler")


def test_what_does_not_fit(make_weights, tmp_path):
    with pytest.raises(InputError, match="onnx has no tile: it holds the network alone, in fp32; --to torchscript has"):
        export_model(make_weights("edsr"), "onnx", tmp_path / "x.onnx", tile=64)
    with pytest.raises(NotFoundError, match="there is no file"):
        check(tmp_path / "none.onnx")
    for name in ("bad.onnx", "bad.pt2"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(InputError, match=f"{name} is not "):
            check(tmp_path / name)
