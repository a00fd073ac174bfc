"""`fluorsr data check` as a user meets it: a table, warnings, one error with every file, exit code 2."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fluorsr.cli.main import main
from fluorsr.data.simulate import simulate_field

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `fluorsr data check`: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fluorsr", "data", "check", *(str(word) for word in words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, split in enumerate(("train", "train", "test")):
        field = simulate_field(128, "microtubules", i + 1, photons=100, thickness=0.0)
        for side, pixels in (("input", field.degraded[0]), ("target", field.target)):
            (tmp_path / "set" / split / side).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "set" / split / side / f"cell[{i}].tif", pixels)
    return tmp_path / "set"


def test_a_good_set(command: Command, folder: Path, tmp_path: Path) -> None:
    code, shown, errors = command(folder, "--contact-sheet", tmp_path / "sheet.png")
    assert (code, errors) == (0, "")
    for words in ("train/cell[0]", "128 x 128 uint16", "good", "3 pairs (2 train, 1 test), 0 at fault"):
        assert words in shown
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_every_faulty_file_is_in_one_error(command: Command, folder: Path) -> None:
    train = folder / "train"
    (train / "target" / "cell[0].tif").unlink()
    path = train / "target" / "cell[1].tif"
    tifffile.imwrite(path, np.roll(tifffile.imread(path), 40, 0))
    (folder / "test" / "input" / "cell[2].tif").write_bytes(b"nonsense")
    code, shown, errors = command(folder)
    assert code == 2
    assert errors.startswith(f"error: {folder}: 3 of 3 pairs cannot be used:\n")
    for words in (
        "[missing] ",
        "cell[0].tif has no target",
        "[shifted] ",
        "[unreadable] ",
        "cell[2].tif is not an",
    ):
        assert words in errors
    assert re.search(r"by (19\.[89]|20\.[012])", errors)
    assert "3 at fault" in shown
    assert "Traceback" not in errors


def test_json_is_one_object_even_where_pairs_are_at_fault(command: Command, folder: Path) -> None:
    (folder / "train" / "target" / "cell[0].tif").unlink()
    code, shown, _ = command(folder, "--json")
    found = json.loads(shown)
    assert code == 2
    assert (found["pairs"], found["usable"], len(found["measured"])) == (3, False, 2)
    assert [finding["rule"] for finding in found["findings"]] == ["missing"]
    assert found["measured"][0]["input_blurrier_by_px"] == pytest.approx(3.8, abs=0.7)


def test_a_corrected_set_is_written_and_is_good(command: Command, folder: Path, tmp_path: Path) -> None:
    path = folder / "train" / "target" / "cell[1].tif"
    tifffile.imwrite(path, np.roll(tifffile.imread(path), 40, 0))
    assert command(folder)[0] == 2
    code, shown, _ = command(folder, "--correct", tmp_path / "new")
    assert code == 0
    assert f"corrected set written to {tmp_path / 'new'}" in shown
    code, shown, _ = command(tmp_path / "new")
    assert (code, "3 pairs (2 train, 1 test), 0 at fault" in shown) == (0, True)


def test_what_is_no_set(command: Command, tmp_path: Path) -> None:
    code, _, errors = command(tmp_path)
    assert code == 2
    assert "holds no pairs: fluorsr looks for train/input/*.tif" in errors


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not at {DATA}")
def test_real_sim_recordings_pass(command: Command, tmp_path: Path) -> None:
    lines = ["input,target,split,fov"]
    for fov, split in (("fov1", "train"), ("fov2", "test"), ("fov3", "train")):
        lines.append(f"{DATA}/{fov}_high_light_raw.tif,{DATA}/{fov}_high_light_sim.tif,{split},{fov}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    code, shown, errors = command(tmp_path / "list.csv")
    assert code == 0, errors
    assert shown.count("15 x 256 x 256 uint16") == 3
