"""What a hostile TorchScript file may not do, however it hides it."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
import torch
from torch import Tensor, nn

from fluorsr.errors import ModelError, StorageError
from fluorsr.models import trust
from fluorsr.models.load import load
from fluorsr.models.torchscript import TorchScriptFile, quiet_jit, script


def read_it(x: Tensor) -> Tensor:
    return x + torch.from_file("/etc/hostname", False, 1, dtype=torch.float32)


with quiet_jit():

    @torch.jit.interface
    class Reader:
        def read(self, x: Tensor) -> Tensor:
            pass


class FileReader:
    def __init__(self) -> None:
        self.name = "/etc/hostname"

    def read(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.name, False, 1, dtype=torch.float32)


class InForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("/etc/hostname", False, 1, dtype=torch.float32)


class InBranch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            if x.size(0) > 100:
                x = x + torch.from_file("/etc/hostname", True, 1, dtype=torch.float32)
        return x


class InFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return read_it(x)


class InInterface(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        reader: Reader = FileReader()
        return reader.read(x)


class InSubmodule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 1, 1), InForward())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class InOtherMethod(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def later(self, x: Tensor) -> Tensor:
        return read_it(x)


class WhileLoading(nn.Module):
    """`__setstate__` runs when the file is loaded, before any graph could be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.values = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.values, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.values = torch.from_file("/etc/hostname", False, 1, dtype=torch.float32)
        self.training = state[1]


class Harmless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def save(module: nn.Module, path):
    with quiet_jit():
        torch.jit.save(script(module.eval()), path)
    return path


@pytest.mark.parametrize(
    "module", [InForward, InBranch, InFunction, InInterface, InSubmodule, InOtherMethod, WhileLoading]
)
def test_reading_a_file_is_refused_and_named_before_it_is_loaded(module, tmp_path, monkeypatch):
    path = save(module(), tmp_path / "bad.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ModelError, match=r"bad\.pt calls aten::from_file, which no model of images needs"):
        load(path, trust=True)


def test_what_a_loaded_program_resolved_to_is_checked_as_well(tmp_path, monkeypatch):
    path = save(InSubmodule(), tmp_path / "bad.pt")
    monkeypatch.setattr("fluorsr.models.torchscript.check_code", lambda *_: None)
    with pytest.raises(ModelError, match="calls aten::from_file"):
        TorchScriptFile(path, trust=True)


def rewrite(path, change, compress=zipfile.ZIP_STORED, ends=".py"):
    """The same archive with its code (or what `ends` otherwise) changed by hand, as an attacker would."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compress) as new:
        for member in old.infolist():
            payload = old.read(member)
            if member.filename.endswith(ends):
                payload = change(payload.decode()).encode()
            new.writestr(member.filename, payload)
    path.write_bytes(out.getvalue())


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ('torch.from_file("/etc/hostname", False, 1)', "aten::from_file"),
        ('("/etc/hostname").from_file(False, 1)', "aten::from_file"),
        ('getattr("/etc/hostname", "from_file")(False, 1)', "aten::from_file"),
        ('ops.aten.from_file("/etc/hostname", False, 1)', "aten::from_file"),
        ('ops.rpc.rpc_sync("a", 1)', "rpc::rpc_sync"),
        ("ops.torchvision.nms(x, x, 0.5)", "torchvision::nms"),
        ("x.save()", "aten::save"),
        ("open(x)", "open"),
    ],
)
def test_code_written_by_hand(code, named, tmp_path):
    path = save(Harmless(), tmp_path / "hand.pt")
    rewrite(path, lambda text: text.replace("torch.mul(x, 2)", code))
    with pytest.raises(ModelError, match=rf"calls {named}, which"):
        load(path, trust=True)


@pytest.mark.parametrize("hidden", ["o = torch", "o = ops", "o = ops.rpc"])
def test_namespaces_under_another_name(hidden, tmp_path):
    path = save(Harmless(), tmp_path / "hand.pt")
    rewrite(path, lambda text: text.replace("    return", f"    {hidden}\n    return"))
    with pytest.raises(ModelError, match=rf"calls {hidden[4:]}, which"):
        load(path, trust=True)


def test_code_that_cannot_be_read_or_that_would_fill_the_memory(tmp_path):
    path = save(Harmless(), tmp_path / "odd.pt")
    rewrite(path, lambda text: text + "\n)")
    with pytest.raises(ModelError, match=r"its code .* cannot be read, so it is not run"):
        load(path, trust=True)
    path = save(Harmless(), tmp_path / "huge.pt")
    rewrite(path, lambda text: text + "\n" * (65 * 2**20), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(ModelError, match="would unpack to 65 MiB of code; at most 64 MiB"):
        load(path, trust=True)


def test_an_archive_of_another_version(tmp_path):
    path = save(Harmless(), tmp_path / "future.pt")
    rewrite(path, lambda _: "999\n", ends="/version")
    with pytest.raises(ModelError, match=r"future\.pt cannot be loaded as TorchScript: .*version 999, but the maximum"):
        load(path, trust=True)


def test_a_foreign_file_runs_once_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUORSR_TRUST", str(tmp_path / "list" / "trusted"))
    path = save(Harmless(), tmp_path / "foreign.pt")
    with pytest.raises(
        ModelError, match=r"not on your trust list; .* use --trust .*sha256sum .*foreign\.pt >> .*trusted"
    ):
        load(path)
    assert load(path, trust=True).spec.scale == 1
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    trust.remember(path, sha256)
    trust.remember(path, sha256)
    assert (tmp_path / "list" / "trusted").read_text() == f"{sha256}  foreign.pt\n"
    assert load(path).sha256 == sha256
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="not on your trust list"):
        load(path)


def test_where_the_trust_list_is(tmp_path, monkeypatch):
    monkeypatch.delenv("FLUORSR_TRUST")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert trust.trust_list() == tmp_path / "fluorsr" / "trusted"
    (tmp_path / "fluorsr").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cannot write the trust list .*; set FLUORSR_TRUST"):
        trust.remember(tmp_path, "0" * 64)
