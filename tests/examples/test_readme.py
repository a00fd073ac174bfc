"""Every code block of README.md runs, in order, in a folder that holds what the text takes for granted.

Python blocks run as programs of their own. Of shell blocks the lines run that call fluorsr; the others install it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.data.simulate import simulate_field
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIZE = 128


def steps() -> Iterator[tuple[str, str, int]]:
    """(kind, code, line in README.md): a Python block, or one shell line that calls fluorsr."""
    text = (ROOT / "README.md").read_text("utf-8")
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 2
        if block[1] == "python":
            yield "python", block[2], line
            continue
        for number, command in enumerate(block[2].splitlines()):
            if command.startswith("fluorsr"):
                yield "shell", command, line + number


STEPS = list(steps())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds cells.ome.zarr, two small channels; recipe.yaml, the shipped model's, and a few pairs."""
    path = tmp_path_factory.mktemp("readme")
    layout = Layout(
        axes="cyx",
        shape=(2, SIZE, SIZE),
        dtype="uint16",
        pixel_size_um={"y": 0.06, "x": 0.06},
        channels=(Channel("tubulin", "00FF00"), Channel("vesicles", "FF00FF")),
    )
    writer = create_image(path / "cells.ome.zarr", layout, provenance={})
    for c, structure in enumerate(("microtubules", "vesicles")):
        writer.write(PlaneIndex(c=c), 0, 0, np.ascontiguousarray(simulate_field(SIZE, structure, c).degraded[0]))
    writer.finish()
    recipe = yaml.safe_load((ROOT / "fluorsr/train/recipes/edsr-confocal-sted-x2.yaml").read_text("utf-8"))
    recipe["name"] = "mine"
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    for number in range(5):
        field = simulate_field(96, "microtubules", number, photons=800.0)
        for side, image in (("input", field.degraded[0]), ("target", field.target)):
            (path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path / "pairs" / side / f"{number}.tif", image)
    return path


def shortened(arguments: list[str]) -> list[str]:
    """Training of two steps on little data."""
    short = ["steps=2", "batch=2", "patch=16", "pool=2", "validate_every=2"]
    short += [] if "--data" in arguments else ["data.size_px=48", "data.structures={vesicles: 1}"]
    return [*arguments, "--workers=0", *(f"--set={change}" for change in short)]


def test_there_is_something_to_run() -> None:
    assert sum(kind == "python" for kind, _, _ in STEPS) >= 3
    assert {shlex.split(code)[1] for kind, code, _ in STEPS if kind == "shell"} >= {"info", "models", "verify", "train"}


@pytest.mark.parametrize(("kind", "code", "line"), STEPS, ids=[f"line-{line}" for _, _, line in STEPS])
def test_readme(kind: str, code: str, line: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if kind == "python":
        program = folder / f"line_{line}.py"
        program.write_text(code, "utf-8")
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
    else:
        name, *arguments = shlex.split(code)
        if arguments[0] == "train":
            arguments = shortened(arguments)
        result = CliRunner().invoke(app, ["infer", *arguments] if name == "fluorsr-infer" else arguments)
        assert result.exit_code == 0, f"{code}\n{result.output}\n{result.exception!r}"
