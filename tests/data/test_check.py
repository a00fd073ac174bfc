"""Every wrong folder gives one report that names every file at fault."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fluorsr.data.check import check_pairs
from fluorsr.data.correct import write_corrected
from fluorsr.data.findings import Report
from fluorsr.data.pairs import open_pairs
from fluorsr.data.simulate import simulate_field
from fluorsr.data.survey import survey
from fluorsr.errors import InputError, OutputExistsError
from fluorsr.image import Image, PlaneIndex

Change = Callable[[Path], Any]


def write(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)


def edit(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
    return lambda path: tifffile.imwrite(path, change(tifffile.imread(path)), photometric="minisblack")


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four right pairs of 128 x 128, scale 1: three to train on, one to test."""
    root = tmp_path_factory.mktemp("pairs") / "good"
    for i in range(4):
        field = simulate_field(128, "microtubules", i + 1, photons=100, scale=1, thickness=0.0)
        folder = root / ("train" if i < 3 else "test")
        write(folder / "input" / f"cell{i}.tif", field.degraded[0])
        write(folder / "target" / f"cell{i}.tif", np.clip(np.rint(field.target), 0, 65535).astype(np.uint16))
    return root


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "set"))


def rules(report: Report, *, faults: bool = True) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in report.faults if faults else report.warnings:
        found.setdefault(finding.pair, set()).add(finding.rule)
    return found


def swap(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "input").rename(root / split / "hold")
        (root / split / "target").rename(root / split / "input")
        (root / split / "hold").rename(root / split / "target")


def test_a_right_set_has_no_fault_and_no_warning(good: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_pairs(good, progress=lambda done, of: calls.append((done, of)))
    assert report.findings == ()
    report.raise_if_faulty()
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    for one in report.measured:
        assert one.shift is not None
        assert one.shift.length < 0.3
        assert one.sharpness is not None
        assert one.sharpness.blur_px == pytest.approx(3.8, abs=0.7)


WRONG: dict[str, tuple[str, Change, str, str]] = {
    "missing": ("target/cell1.tif", Path.unlink, "missing", r"input/cell1\.tif has no target"),
    "sizes": ("target/cell1.tif", edit(lambda a: a[:100]), "unfit", r"cell1\.tif has 100 x 128 pixels and"),
    "corrupt": ("input/cell1.tif", lambda p: p.write_bytes(p.read_bytes()[:9000]), "unreadable", "is truncated"),
    "text": (
        "input/cell1.tif",
        lambda p: p.write_text("not an image"),
        "unreadable",
        "not an image that fluorsr reads",
    ),
    "rgb": (
        "input/cell1.tif",
        lambda p: tifffile.imwrite(p, np.zeros((128, 128, 3), np.uint8), photometric="rgb"),
        "unfit",
        "is a colour",
    ),
    "shift": ("target/cell1.tif", edit(lambda a: np.roll(a, 20, 1)), "shifted", "along y and (19|20)"),
    "black": ("input/cell1.tif", edit(np.zeros_like), "empty", r"its pixels are all 0 \(black\)"),
    "constant": ("target/cell1.tif", edit(lambda a: np.full_like(a, 100)), "empty", "its pixels are all 100;"),
    "nan": (
        "target/cell1.tif",
        edit(lambda a: np.where(np.arange(128) == 5, np.nan, a).astype(np.float32)),
        "not-finite",
        "holds 128 pixels that are NaN",
    ),
    "burnt": ("input/cell1.tif", edit(lambda a: np.where(a > np.median(a), 4095, a)), "saturated", "saturated at 4095"),
    "flipped": ("target/cell1.tif", edit(np.flipud), "unrelated", "do not correlate"),
    "tiny": ("input/cell1.tif", edit(lambda a: a[:20, :20]), "unfit", "cell1.tif 20 x 20"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named_and_the_others_are_still_checked(folder: Path, name: str) -> None:
    where, change, rule, words = WRONG[name]
    change(folder / "train" / where)
    report = check_pairs(folder)
    assert rules(report) == {"train/cell1": {rule}}
    (finding,) = report.faults
    assert any(path.name == "cell1.tif" for path in finding.files)
    assert len(report.measured) >= 3
    with pytest.raises(InputError, match=rf"1 of 4 pairs cannot be used:\n  \[{rule}\] .*{words}"):
        report.raise_if_faulty()


def test_swapped_folders_name_every_pair(folder: Path) -> None:
    swap(folder)
    report = check_pairs(folder)
    assert rules(report) == {
        f"{name}": {"swapped"} for name in ("train/cell0", "train/cell1", "train/cell2", "test/cell3")
    }
    with pytest.raises(InputError, match="4 of 4 pairs") as told:
        report.raise_if_faulty()
    for i in range(4):
        told.match(rf"(?s).*input/cell{i}\.tif is sharper than its target .*swap the two")


def test_a_swapped_folder_too_dim_pair_by_pair_is_found_as_a_whole(tmp_path: Path) -> None:
    for i in range(6):
        field = simulate_field(160, "nuclei", i + 1, photons=20, scale=1, haze=0.3)
        write(tmp_path / "swapped" / "input" / f"{i}.tif", field.target)
        write(tmp_path / "swapped" / "target" / f"{i}.tif", field.degraded[0])
        write(tmp_path / "right" / "input" / f"{i}.tif", field.degraded[0])
        write(tmp_path / "right" / "target" / f"{i}.tif", field.target)
    report = check_pairs(tmp_path / "swapped")
    assert rules(report) == {str(i): {"swapped"} for i in range(6)}
    assert {one.sharpness.verdict for one in report.measured if one.sharpness} >= {"unclear"}
    with pytest.raises(InputError, match="all pairs of the set together tell that its inputs are the sharper ones"):
        report.raise_if_faulty()
    assert rules(check_pairs(tmp_path / "right")) == {}


def test_all_that_is_wrong_with_a_folder_is_told_at_once(folder: Path) -> None:
    (folder / "train" / "target" / "cell0.tif").unlink()
    edit(np.zeros_like)(folder / "train" / "target" / "cell1.tif")
    edit(lambda a: np.roll(a, 20, 0))(folder / "train" / "target" / "cell2.tif")
    (folder / "test" / "input" / "cell3.tif").write_bytes(b"II*\0")
    report = check_pairs(folder)
    assert rules(report) == {
        "train/cell0": {"missing"},
        "train/cell1": {"empty"},
        "train/cell2": {"shifted"},
        "test/cell3": {"unreadable"},
    }
    with pytest.raises(InputError, match="4 of 4 pairs") as told:
        report.raise_if_faulty()
    for i in range(4):
        told.match(rf"(?s).*cell{i}\.tif")
    assert report.to_json()["usable"] is False


def test_oddities_are_warnings(folder: Path) -> None:
    edit(lambda a: (a >> 2).clip(0, 255).astype(np.uint8))(folder / "train" / "input" / "cell0.tif")
    edit(lambda a: np.minimum(a * (4095 / np.quantile(a, 0.99)), 4095).astype(a.dtype))(
        folder / "train" / "input" / "cell1.tif"
    )
    edit(lambda a: np.roll(a, 1, 0))(folder / "train" / "target" / "cell2.tif")
    report = check_pairs(folder)
    assert rules(report) == {}
    assert rules(report, faults=False) == {
        "train/cell0": {"dtype"},
        "train/cell1": {"saturated"},
        "train/cell2": {"shifted"},
    }


def test_one_scale_and_one_number_of_frames_a_set(folder: Path) -> None:
    edit(lambda a: np.kron(a, np.ones((2, 2), a.dtype)))(folder / "train" / "target" / "cell1.tif")
    edit(lambda a: np.stack([a, a, a]))(folder / "train" / "input" / "cell2.tif")
    report = check_pairs(folder)
    assert rules(report)["train/cell1"] >= {"scale"}
    assert rules(report)["train/cell2"] >= {"frames"}
    assert rules(check_pairs(folder, scale=2)).keys() == {"train/cell0", "train/cell2", "test/cell3"}


def test_what_is_tested_was_never_trained_on(folder: Path) -> None:
    for side in ("input", "target"):
        shutil.copy(folder / "train" / side / "cell0.tif", folder / "test" / side / "again.tif")
    report = check_pairs(folder)
    assert rules(report) == {"test/again": {"copy"}}
    assert len(report.faults) == 2
    lines = ["input,target,split,fov"]
    lines += [f"{s}/input/cell{i}.tif,{s}/target/cell{i}.tif,{s},dish" for i, s in ((0, "train"), (3, "test"))]
    (folder / "list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"\[leak\] the field of view dish is in train and test"):
        check_pairs(folder / "list.csv").raise_if_faulty()


def test_a_target_that_is_its_input_is_refused(folder: Path) -> None:
    shutil.copy(folder / "train" / "input" / "cell1.tif", folder / "train" / "target" / "cell1.tif")
    assert "copy" in rules(check_pairs(folder))["train/cell1"]


def test_shifts_are_corrected_in_a_new_folder(folder: Path, tmp_path: Path) -> None:
    edit(lambda a: np.roll(a, (5, -9), (0, 1)))(folder / "train" / "target" / "cell1.tif")
    with pytest.raises(InputError, match="shifted"):
        write_corrected(check_pairs(folder), tmp_path / "new")
    write_corrected(check_pairs(folder, max_shift_px=math.inf), tmp_path / "new")
    report = check_pairs(tmp_path / "new")
    assert report.findings == ()
    corrected = {pair.name: pair for pair in open_pairs(tmp_path / "new")}["train/cell1"]
    assert corrected.input.dtype == np.uint16
    assert 128 - 5 - 3 <= corrected.size[0] <= 128 - 4
    assert 128 - 9 - 3 <= corrected.size[1] <= 128 - 8
    for side in ("input", "target"):  # pairs that lie right keep their pixels
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "new" / "train" / side / "cell0.tif"),
            tifffile.imread(folder / "train" / side / "cell0.tif"),
        )
    with pytest.raises(OutputExistsError, match="name a new folder"):
        write_corrected(report, tmp_path / "new")


def test_a_survey_of_cells_is_that_of_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 300, (2500, 1100)).astype(np.uint16)
    pixels[0, 0] = pixels[2499, 1099] = 4095
    found = survey(Image(pixels, "yx"), PlaneIndex())
    assert (found.low, found.high, found.nonfinite, len(found.spread)) == (0, 4095, 0, 2)
    assert found.saturated == pytest.approx(2 / pixels.size)
    pixels[5, 5] ^= 1
    assert survey(Image(pixels, "yx"), PlaneIndex()).digest != found.digest
