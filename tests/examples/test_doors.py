"""The examples in docs/doors run: each page in a folder of its own, in order. Plain text is for reading.

What calls fluorsr-host or its library runs where tools/host.sh has built them. C++ is compiled against the LibTorch of
the installed torch.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fluorsr.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "build/host/fluorsr-host"
BLOCK = re.compile(r"^```(python|bash|cpp)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"onnx.md": "onnxruntime", "micro-manager.md": "mm_test_adapters", "bioimageio.md": "bioimageio.core"}


def run_line(line: str) -> None:
    name, *arguments = shlex.split(line)
    if name == "fluorsr-host":
        if HOST.is_file():
            subprocess.run([HOST, *arguments], check=True, timeout=120)
        return
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


def compile_and_run(source: Path) -> None:
    torch_folder = Path(torch.__file__).parent
    include = [f"-isystem{torch_folder / 'include' / part}" for part in ("", "torch/csrc/api/include")]
    libraries = [f"-L{torch_folder / 'lib'}", f"-Wl,-rpath,{torch_folder / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
    program = source.with_suffix("")
    subprocess.run(["c++", "-std=c++20", *include, source, "-o", program, "-Wl,--no-as-needed", *libraries], check=True)
    subprocess.run([program], check=True, timeout=120, cwd=source.parent)


@pytest.mark.parametrize("page", sorted((ROOT / "docs/doors").glob("*.md")), ids=lambda path: path.name)
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if page.name in NEEDS:
        pytest.importorskip(NEEDS[page.name], reason="an extra is not installed")
    (tmp_path / "build").symlink_to(ROOT / "build")
    blocks = BLOCK.findall(page.read_text("utf-8"))
    assert blocks
    for number, (kind, code) in enumerate(blocks):
        if kind == "bash":
            for line in code.splitlines():
                run_line(line)
            continue
        if kind == "cpp":
            (tmp_path / "example.cpp").write_text(code, "utf-8")
            if shutil.which("c++"):
                compile_and_run(tmp_path / "example.cpp")
            continue
        if "build/host" in code and not HOST.is_file():
            continue
        program = tmp_path / f"block_{number}.py"
        program.write_text(code, "utf-8")
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
