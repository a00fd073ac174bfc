"""ONNX Runtime and torch.export against Python, for every architecture."""

from __future__ import annotations

import pytest

from fluorsr.errors import InputError, NotFoundError
from fluorsr.export.formats import FORMATS, export_model
from fluorsr.export.parity import check
from fluorsr.models.architectures import ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_every_architecture_agrees_with_python(architecture, to, make_weights, tmp_path):
    path = export_model(make_weights(architecture), to, tmp_path / f"model{FORMATS[to].suffix}")
    assert str(tmp_path).encode() not in path.read_bytes().replace(str(make_weights(architecture)).encode(), b"")
    parity = check(path, count=8)
    assert len(parity.comparisons) == 8
    assert parity.holds, parity.comparisons


def test_what_does_not_fit(make_weights, tmp_path):
    with pytest.raises(InputError, match="onnx has no tile: it holds the network alone, in fp32; --to torchscript has"):
        export_model(make_weights("edsr"), "onnx", tmp_path / "x.onnx", tile=64)
    with pytest.raises(NotFoundError, match="there is no file"):
        check(tmp_path / "none.onnx")
    for name in ("bad.onnx", "bad.pt2"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(InputError, match=f"{name} is not "):
            check(tmp_path / name)
