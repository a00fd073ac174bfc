"""The contact sheet shows faulty pairs first and lists those that do not open."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import tifffile

import fluorsr.report.contact_sheet as sheet
from fluorsr.data.check import check_pairs
from fluorsr.data.pairs import open_pairs
from fluorsr.errors import StorageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pairs of 200 x 300: the same blobs blurred and sharp; one black, one without its target."""
    y, x = np.mgrid[:200, :300]
    for i in range(5):
        rng = np.random.default_rng(i)
        spots = rng.uniform(0, 1, (60, 2)) * (200, 300)
        for side, sigma in (("input", 3.0), ("target", 1.2)):
            (tmp_path / side).mkdir(exist_ok=True)
            image = sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2)) for cy, cx in spots)
            pixels = rng.poisson(300 * image + 5).astype(np.uint16)
            if i == 3 and side == "input":
                pixels[:] = 0
            tifffile.imwrite(tmp_path / side / f"cell{i}.tif", pixels)
    (tmp_path / "target" / "cell4.tif").unlink()
    return tmp_path


def test_a_sheet_is_drawn_with_the_faulty_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = sheet._draw_pair
    monkeypatch.setattr(
        sheet, "_draw_pair", lambda row, one, titled: (drawn.append(one.pair.name), draw(row, one, titled=titled))
    )
    report = check_pairs(folder)
    sheet.draw_contact_sheet(report, tmp_path / "sheet.png")
    assert drawn == ["cell3", "cell0", "cell1", "cell2"]
    shown = matplotlib.image.imread(tmp_path / "sheet.png")
    assert shown.shape[1] == round((2 * 0.3 + 2 * (3 * 1.5 + 2 * 0.06) + 0.35) * 150)
    assert shown[..., :3].std() > 0.05
    monkeypatch.setattr(sheet, "MOST_PAIRS", 2)
    drawn.clear()
    sheet.draw_contact_sheet(report, tmp_path / "short.png")
    assert drawn == ["cell3", "cell0"]
    with pytest.raises(StorageError, match="cannot be written"):
        sheet.draw_contact_sheet(report, tmp_path / "nowhere" / "sheet.png")


def test_the_crop_is_where_the_target_varies_most(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400), np.uint16)
    pixels[300:310, 40:50] = 1000
    for side, array in (("input", pixels), ("target", np.kron(pixels, np.ones((2, 2), np.uint16)))):
        (tmp_path / side).mkdir()
        tifffile.imwrite(tmp_path / side / "a.tif", array)
    first, second = sheet._crop(open_pairs(tmp_path).pairs[0])
    assert (first.shape, second.shape) == ((160, 160), (320, 320))
    assert first.max() == second.max() == 1000
    assert second.sum() == 4 * first.sum()


def test_a_sheet_of_nothing_but_missing_files_still_lists_them(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    tifffile.imwrite(tmp_path / "input" / "a.tif", np.zeros((64, 64), np.uint16))
    sheet.draw_contact_sheet(check_pairs(tmp_path), tmp_path / "sheet.png")
    assert matplotlib.image.imread(tmp_path / "sheet.png").shape[0] > 100
