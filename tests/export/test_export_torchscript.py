from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from fluorsr.errors import ModelError, NotFoundError, StorageError
from fluorsr.export import source
from fluorsr.export.torchscript import export_torchscript
from fluorsr.models.architectures import build
from fluorsr.models.torchscript import quiet_jit
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec


def save_model(scale, folder):
    torch.manual_seed(scale)
    config = {"blocks": 2, "width": 8, "scale": scale}
    module = build("edsr", config).eval()
    spec = RestorerSpec("tiny", scale=scale, halo=8, structures=("filaments",))
    path = folder / "tiny.safetensors"
    save_weights(path, module, architecture="edsr", config=config, spec=spec, notes={})
    return path, module, spec


@pytest.fixture
def model(tmp_path):
    return save_model(2, tmp_path)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_parity_and_spec(scale, tmp_path):
    path, module, spec = save_model(scale, tmp_path)
    export_torchscript(path, tmp_path / "tiny.ts")
    extra = {"fluorsr.json": ""}
    with quiet_jit():
        program = torch.jit.load(tmp_path / "tiny.ts", _extra_files=extra)
    assert RestorerSpec.from_json(json.loads(extra["fluorsr.json"])) == spec
    assert not list(program.parameters())  # frozen
    for shape in ((1, 1, 33, 70), (3, 1, 64, 64), (2, 1, 5, 7)):
        tiles = torch.rand(shape)
        with torch.inference_mode():
            expected, found = module(tiles), program(tiles)
        assert found.dtype == torch.float32
        assert float((expected - found).abs().max()) <= 1e-5 * float(expected.max() - expected.min())


def test_it_runs_where_fluorsr_is_not_installed(model, tmp_path):
    path, _, spec = model
    export_torchscript(path, tmp_path / "tiny.ts")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); import torch\n"
        f"print(list(torch.jit.load({str(tmp_path / 'tiny.ts')!r})(torch.zeros(1, 1, 8, 9)).shape))\n"
        "assert not any(name.startswith('fluorsr') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split("\n")[0] == str([1, 1, 8 * spec.scale, 9 * spec.scale])


def test_a_forward_that_tracing_does_not_keep(tmp_path, monkeypatch):
    class ByValue(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.shape[0] if int(x.shape[0]) > 1 else x

    monkeypatch.setattr(source, "load_module", lambda _, **__: (ByValue().eval(), RestorerSpec("x")))
    message = r"differs from the model by .* tracing does not keep"
    with pytest.warns(torch.jit.TracerWarning), pytest.raises(ModelError, match=message):
        export_torchscript("x", tmp_path / "x.ts")
    assert not (tmp_path / "x.ts").exists()


def test_faults(model, tmp_path):
    with pytest.raises(NotFoundError, match="there is no model file"):
        export_torchscript(tmp_path / "none.safetensors", tmp_path / "x.ts")
    with pytest.raises(StorageError, match="cannot write"):
        export_torchscript(model[0], tmp_path / "nowhere" / "x.ts")
    export_torchscript(model[0], tmp_path / "x.ts")
    with pytest.raises(ModelError, match="PyTorch archive or pickle"):
        export_torchscript(tmp_path / "x.ts", tmp_path / "y.ts")
