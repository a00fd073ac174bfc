"""Every shipped model restores the same image in every runtime. tools/parity.py does the same on more images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import InputError
from fluorsr.export.formats import export_model
from fluorsr.export.parity import Exported, check
from fluorsr.export.runtimes import HostModel, compare_runtimes
from fluorsr.models.architectures import build
from fluorsr.models.weights import save_weights
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.restorer import RestorerSpec

LIBRARY = Path(__file__).parents[2] / "build/host/libfluorsr_host.so"
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")


# A sample of a diffusion model takes many evaluations with a wide halo: minutes a case. Small ones have their tests.
@pytest.mark.parametrize("name", [name for name in zoo() if not describe(name).spec.stochastic])
def test_all_runtimes_agree_with_python(name, tmp_path):
    host = LIBRARY if LIBRARY.is_file() else None  # built by tools/host.sh
    found = compare_runtimes(name, tmp_path, host=host, count=5, largest=40)
    assert set(found) == {"TorchScript", "ONNX Runtime", "torch.export"} | ({"C++ host"} if host else set())
    for runtime, cases in found.items():
        assert {case.dtype for case in cases} == {"uint8", "uint16", "float32"}
        assert max(case.difference for case in cases) <= 1e-5, (runtime, cases)


def test_a_sim_network_of_orders_is_exported_alone_and_says_so(tmp_path):
    torch.manual_seed(0)
    config = {"frames": 15, "widths": (4, 8), "scale": 2, "periods_um": (0.42, 0.56)}
    module = build("unet_sim", config).eval()
    spec = RestorerSpec("orders", frames=15, scale=2, halo=24, multiple=2)
    weights = tmp_path / "orders.safetensors"
    save_weights(weights, module, architecture="unet_sim", config=config, spec=spec, notes={})
    result = CliRunner().invoke(app, ["export", str(weights), "--out", str(tmp_path / "orders.ts")])
    assert result.exit_code == 0, result.output
    assert f"it takes {module.config.inputs} images that fluorsr.classical.sim_demodulate makes of 15" in result.output
    assert check(tmp_path / "orders.ts", count=3).holds
    with pytest.raises(
        InputError, match=r"orders takes .* which no BioImage\.IO host can make; export its network alone"
    ):
        export_model(weights, "bioimageio", tmp_path / "orders.zip")


def test_other_weights_in_one_runtime_would_be_seen(make_weights, tmp_path, monkeypatch):
    nearest = Exported(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), {})
    monkeypatch.setattr("fluorsr.export.runtimes.open_torch_export", lambda path: nearest)
    found = compare_runtimes(make_weights("edsr"), tmp_path, count=3)
    assert max(case.difference for case in found["ONNX Runtime"]) <= 1e-5
    assert max(case.difference for case in found["torch.export"]) > 0.01


@pytest.mark.skipif(not LIBRARY.is_file(), reason="fluorsr-host is not built: bash tools/host.sh builds it")
def test_the_hosts_own_words(tmp_path):
    with pytest.raises(InputError, match=r"none\.ts cannot be loaded as TorchScript on cpu"):
        HostModel(LIBRARY, tmp_path / "none.ts")
