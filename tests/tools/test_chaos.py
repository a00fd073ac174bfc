"""A few runs of the chaos that tools/chaos.py makes: whatever happens to a run, it ends with the undisturbed bytes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def chaos() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "chaos.py"
    spec = importlib.util.spec_from_file_location("chaos", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_whatever_happens_to_a_run_it_ends_with_the_undisturbed_bytes(chaos: ModuleType, tmp_path: Path) -> None:
    outcomes = chaos.chaos(tmp_path, 3, 1, ("kill-coordinator", "kill-worker", "enospc"))
    assert [outcome.faults for outcome in outcomes] == [[], [], []]


def test_a_difference_would_be_seen(chaos: ModuleType, tmp_path: Path) -> None:
    bench = chaos.Bench(tmp_path, {"0/c/0/0/0": "another hash"})

    class Done:
        returncode = 0

        def wait(self, timeout: float) -> int:
            (tmp_path / "run0" / "out.zarr").mkdir(exist_ok=True)
            (tmp_path / "run0" / ".out.zarr.12345678.partial").mkdir(exist_ok=True)
            return 0

    object.__setattr__(bench, "start", lambda *words: Done())
    chaos.disturb = lambda *words: None
    outcome = chaos.one_run(bench, 0, __import__("random").Random(0), "eio")
    assert outcome.faults == [
        "differs from the undisturbed store in 0/c/0/0/0",
        "left beside it: .out.zarr.12345678.partial",
    ]
