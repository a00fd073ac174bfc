"""tools/check_layers.py on small made-up packages, each with one fault whose line is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_layers", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def package(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path inside fluorsr: content) below `root`, with an __init__.py in every folder."""
    for name, content in {"__init__.py": "", **files}.items():
        path = root / "fluorsr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(content, "utf-8")
    return root


GOOD = {
    "__init__.py": "from fluorsr.cli.main import main\n",  # the root is exempt
    "errors.py": "import json\n",
    "image.py": "from fluorsr.errors import InputError\n",
    "io/tiff.py": "from fluorsr.image import Image\n",
    "io/open.py": "import fluorsr.io.tiff\nfrom fluorsr.tiling import grid\n",
    "tiling/grid.py": "from fluorsr._core import Grid\n",
    "tiling/blend.py": "from fluorsr import _core\n",
    "cli/main.py": "from fluorsr.io import open as opening\nimport fluorsrx\n",
}


def test_good_package_passes(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(package(tmp_path, GOOD))]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("files", "where", "what"),
    [
        ({"io/a.py": "\nimport fluorsr.models.edsr\n"}, "fluorsr/io/a.py:2", "lies above it (models metrics"),
        ({"io/a.py": "from fluorsr.models import edsr\n"}, "fluorsr/io/a.py:1", "move what both need down"),
        ({"errors.py": "def f():\n    import fluorsr.tiling\n"}, "fluorsr/errors.py:2", "lies above it"),
        (
            {"data/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fluorsr.cli import main\n"},
            "fluorsr/data/a.py:3",
            "lies above it (cli __main__ above data losses predict)",
        ),
        (
            {"predict.py": "import importlib\nimportlib.import_module('fluorsr.pipeline.run')\n"},
            "fluorsr/predict.py:2",
            "lies above it",
        ),
        ({"cli/a.py": "import fluorsr\n"}, "fluorsr/cli/a.py:1", "imports from the package root; import the module"),
        ({"cli/a.py": "from fluorsr import errors\n", "errors.py": ""}, "fluorsr/cli/a.py:1", "package root"),
        ({"errors.py": "from fluorsr import _core, load\n"}, "fluorsr/errors.py:1", "package root"),
        ({"io/a.py": "\n\nfrom . import b\n"}, "fluorsr/io/a.py:3", "a relative import; write it in full"),
        ({"io/a.py": "from ..errors import InputError\n"}, "fluorsr/io/a.py:1", "a relative import"),
        ({"helpers.py": ""}, "fluorsr/helpers.py:1", "fluorsr.helpers is in no layer; give it a place in LAYERS"),
        ({"cli/a.py": "import fluorsr.utils\n"}, "fluorsr/cli/a.py:1", "fluorsr.utils is in no layer"),
    ],
)
def test_fault_is_named_with_file_line_and_remedy(
    tool: ModuleType, tmp_path: Path, files: dict[str, str], where: str, what: str
) -> None:
    faults = tool.check(package(tmp_path, files))
    assert faults
    assert all(fault.startswith(f"{where}: ") for fault in faults)
    assert what in faults[0]


def test_faults_are_printed_one_a_line(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(package(tmp_path, {"io/a.py": "import fluorsr\nimport fluorsr.cli\n"}))]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("fluorsr/io/a.py:1: ")
    assert second.startswith("fluorsr/io/a.py:2: ")


def test_from_import_of_a_module_is_an_import_of_it(tool: ModuleType, tmp_path: Path) -> None:
    # `from fluorsr.io import b` must lead to b.py, not to the folder, or this circle goes unseen.
    files = {"io/a.py": "from fluorsr.io import b\n", "io/b.py": "x = 1\nfrom fluorsr.io.a import f\n"}
    (fault,) = tool.check(package(tmp_path, files))
    assert "a circle of imports" in fault
    assert "fluorsr/io/a.py:1 (fluorsr.io.a)" in fault
    assert "fluorsr/io/b.py:2 (fluorsr.io.b)" in fault


def test_every_circle_is_reported(tool: ModuleType, tmp_path: Path) -> None:
    files = {
        "io/a.py": "import fluorsr.io.b\n",
        "io/b.py": "import fluorsr.io.c\n",
        "io/c.py": "def f():\n    import fluorsr.io.a\n",
        "metrics/p.py": "import fluorsr.metrics.q\n",
        "metrics/q.py": "import fluorsr.metrics.p\n",
    }
    faults = tool.check(package(tmp_path, files))
    assert len(faults) == 2
    three = next(fault for fault in faults if "fluorsr.io." in fault)
    assert "fluorsr/io/c.py:2 (fluorsr.io.c)" in three
    order = three.partition("a circle of imports, ")[2].partition(",")[0].split(" -> ")
    turns = ["fluorsr.io.a", "fluorsr.io.b", "fluorsr.io.c"] * 2
    assert len(order) == 4
    assert order == turns[turns.index(order[0]) :][:3] + order[:1]


def test_folder_that_imports_its_own_files_is_no_circle(tool: ModuleType, tmp_path: Path) -> None:
    files = {"io/__init__.py": "from fluorsr.io.open import f\n", "io/open.py": "from fluorsr.io.tiff import g\n"}
    assert tool.check(package(tmp_path, files | {"io/tiff.py": ""})) == []


def test_wrong_root_is_told(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(tmp_path)]) == 2
    assert "holds no folder fluorsr" in capsys.readouterr().err


def test_this_repository_passes(tool: ModuleType) -> None:
    assert tool.check(TOOL.parents[1]) == []
