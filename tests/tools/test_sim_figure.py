"""The figure of SIM on real frames: drawn whole, and its figures are those that the tests of the methods know."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
def test_the_figure_and_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "tools" / "sim_figure.py"
    spec = importlib.util.spec_from_file_location("sim_figure", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sim_figure", tool)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "zoo", dict)
    monkeypatch.setattr(sys, "argv", ["sim_figure.py", str(DATA), "--out", str(tmp_path)])
    tool.main()
    assert imread(tmp_path / "sim.png").ndim == 3
    rows = [line.split(" | ") for line in (tmp_path / "sim.md").read_text().splitlines() if line.startswith("| field ")]
    figures = {(row[0].strip("| "), row[1]): row[2:] for row in rows[1:]}
    assert len(figures) == 12
    assert float(figures["field 1, bright", "wide-field"][0]) == pytest.approx(20.2, abs=0.2)
    assert float(figures["field 1, bright", "Wiener SIM, 15"][0]) > 26.9
    assert float(figures["field 1, 1/100 of the light", "conventional, 15"][0]) == pytest.approx(26.0, abs=0.3)
