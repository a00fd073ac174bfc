"""Every shipped model restores the same image in every runtime. tools/parity.py does the same on more images."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluorsr.errors import InputError
from fluorsr.export.parity import Exported
from fluorsr.export.runtimes import HostModel, compare_runtimes
from fluorsr.models.zoo_index import describe, zoo

LIBRARY = Path(__file__).parents[2] / "build/host/libfluorsr_host.so"
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")


NAMES = [pytest.param(name, marks=pytest.mark.slow if describe(name).spec.stochastic else ()) for name in zoo()]


@pytest.mark.parametrize("name", NAMES)
def test_all_runtimes_agree_with_python(name, tmp_path):
    """A diffusion model with two evaluations: ten, with their halo of 140 pixels, would take minutes."""
    host = LIBRARY if LIBRARY.is_file() else None  # built by tools/host.sh
    how = {"steps": 2, "count": 3, "largest": 24} if describe(name).spec.stochastic else {"count": 5, "largest": 40}
    found = compare_runtimes(name, tmp_path, host=host, **how)
    assert set(found) == {"TorchScript", "ONNX Runtime", "torch.export"} | ({"C++ host"} if host else set())
    for runtime, cases in found.items():
        assert {case.dtype for case in cases} == {"uint8", "uint16", "float32"}
        assert max(case.difference for case in cases) <= 1e-5, (runtime, cases)


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
