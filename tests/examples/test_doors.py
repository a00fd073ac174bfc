"""The examples in docs/doors run: each page in a folder of its own, in order. C++ and plain text are for reading."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fluorsr.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"onnx.md": "onnxruntime", "micro-manager.md": "mm_test_adapters", "bioimageio.md": "bioimageio.core"}


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
                result = CliRunner().invoke(app, shlex.split(line)[1:])
                assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
            continue
        if "build/host" in code and not (ROOT / "build/host/libfluorsr_host.so").is_file():
            continue  # built by tools/host.sh
        program = tmp_path / f"block_{number}.py"
        program.write_text(code, "utf-8")
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
