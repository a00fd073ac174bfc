"""What tools/same_bytes.py holds, at a small size: neither blocks nor a kill change a byte, for each kind of model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import zarr


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "same_bytes.py"
    spec = importlib.util.spec_from_file_location("same_bytes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["same_bytes"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("name", "workers"), [("edsr", [1, 2]), ("unet_sim", [1]), ("sr3", [1])])
def test_blocks_workers_and_a_kill_change_no_byte(
    tool: ModuleType, tmp_path: Path, name: str, workers: list[int]
) -> None:
    case = tool.Case.make(tmp_path, name, 80, 600, 64)
    rows = tool.compare(case, [64, 128, 256], workers)
    assert len(rows) == 3 + len(workers)
    assert [row["faults"] for row in rows] == [[]] * len(rows)
    assert set(rows[0]["arrays"]) == {"0", "1"}


def test_a_difference_would_be_seen(tool: ModuleType, tmp_path: Path) -> None:
    class Fickle:
        name, folder = "fickle", tmp_path
        runs = 0

        def run(self, output: Path, **_: object) -> None:
            self.runs += 1
            zarr.create_array(output, data=np.full((4, 4), self.runs, np.uint8))

    one, two = tool.compare(Fickle(), [64], [1, 2], kill=False)
    assert one["faults"] == []
    assert two["faults"] == ["other pixels than the first run", "other files than the first run in blocks of 64"]
