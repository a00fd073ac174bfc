"""Packages that AOTInductor compiles."""

from __future__ import annotations

import shutil

import pytest
from torch._inductor import config

from fluorsr.errors import InputError, MissingDependencyError, ModelError
from fluorsr.export.aoti import is_aoti
from fluorsr.export.formats import export_model
from fluorsr.export.parity import check

pytestmark = pytest.mark.filterwarnings("default")  # of torch's compiler about its own parts


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="it compiles, and there is no g++")
def test_machine_code_agrees_with_python(make_weights, tmp_path, monkeypatch):
    path = export_model(make_weights("unet_sim"), "aoti", tmp_path / "model.aoti.pt2")
    assert is_aoti(path)
    parity = check(path, count=6)
    assert len(parity.comparisons) == 6
    assert parity.holds, parity.comparisons
    monkeypatch.setenv("FLUORSR_TRUST", str(tmp_path / "other"))
    with pytest.raises(ModelError, match=r"model\.aoti\.pt2 is machine code, a program .* not on your trust list"):
        check(path)


def test_faults(make_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(MissingDependencyError, match=r"no C\+\+ compiler was found; install one .* CXX"):
        export_model(make_weights("edsr"), "aoti", tmp_path / "x.aoti.pt2")
    with pytest.raises(InputError, match="aoti has no precision: it holds the network alone, in fp32"):
        export_model(make_weights("edsr"), "aoti", tmp_path / "x.aoti.pt2", precision="bf16")
    plain = export_model(make_weights("edsr"), "torch-export", tmp_path / "plain.pt2")
    assert not is_aoti(plain)
