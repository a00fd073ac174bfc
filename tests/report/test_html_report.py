"""The report of a comparison: what stands in it, what is left out and said, and the files beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fluorsr.evaluate.results import Comparison, PairedTest
from fluorsr.report.html import report, write_report
from fluorsr.report.html_charts import Gallery
from fluorsr.report.html_fields import Scene, make_field
from fluorsr.report.html_tables import caption, every_image, groups, overview, pairwise, ranking

Made = Callable[..., Comparison]


def fields_of(path: Path) -> list[dict[str, Any]]:
    page = path.read_text("utf-8")
    start = page.index('<script type="application/json" id="fields">') + 44
    fields: list[dict[str, Any]] = json.loads(page[start : page.index("</script>", start)])
    return fields


def test_the_ranking_goes_from_best_to_what_has_no_figure(comparison: Made) -> None:
    table = ranking(comparison())
    assert [row[0].text for row in table.rows] == ["sharp", "soft", "lost"]
    assert [row[1].text for row in table.rows] == ["0.050", "0.200", "\N{EN DASH}"]
    assert [[cell.best for cell in row[1:4]] for row in table.rows] == [[True, True, False], [False] * 3, [False] * 3]
    assert [column.better for column in table.columns[1:4]] == ["lower", "higher", ""]


def test_groups_pairs_and_images_each_have_their_rows(comparison: Made) -> None:
    made = comparison()
    assert [(row[0].text, row[1].text) for row in groups(made).rows][:4] == [
        ("a", "sharp"),
        ("a", "soft"),
        ("a", "lost"),
        ("b", "sharp"),
    ]
    assert [cell.text for cell in pairwise(made).rows[0]] == [
        "LPIPS", "sharp", "soft", "\N{MINUS SIGN}0.150", "0.0100", "0.0300", "sharp is better",
    ]  # fmt: skip
    assert pairwise(made).rows[0][3].note == "\N{MINUS SIGN}0.200 to \N{MINUS SIGN}0.100"
    assert len(every_image(made).rows) == 9


def test_the_overview_has_a_row_a_group_and_a_column_a_method(comparison: Made) -> None:
    table = overview(comparison())
    assert [column.heading for column in table.columns] == ["Images", "sharp", "soft", "lost"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a", "0.050", "0.200", "\N{EN DASH}"],
        ["b", "0.050", "0.200", "\N{EN DASH}"],
    ]
    assert table.rows[0][0].note == "3 images"
    assert [cell.best for cell in table.rows[0]] == [False, True, False, False]


def test_a_caption_names_figures_with_their_units(comparison: Made) -> None:
    values = {"lpips": math.nan, "psnr": 34.0, "light": 1.0}
    assert caption(values, comparison().metrics) == "PSNR 34.00 dB, light 1.00"


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_what_was_found(comparison: Made, tmp_path: Path) -> None:
    page = write_report(replace(comparison(), pictures=()), tmp_path / "report.html").read_text("utf-8")
    assert "sharp ranks first of 3 by LPIPS. Its lead over soft is more than chance (p = 0.03)." in page
    assert "sharp, a 1, a 2, b 1: was not trained on this" in page


@pytest.mark.usefixtures("undrawn")
def test_a_lead_that_may_be_chance_is_called_so(comparison: Made, tmp_path: Path) -> None:
    test = PairedTest("lpips", "sharp", "soft", 3, -0.1, -0.2, 0.1, 0.25, 0.5, "")
    path = tmp_path / "report.html"
    page = write_report(replace(comparison(), tests=(test,), pictures=()), path).read_text("utf-8")
    assert "Its lead over soft may be chance (p = 0.5, 3 images)." in page
    page = write_report(replace(comparison(), tests=(), pictures=()), path).read_text("utf-8")
    assert "Whether its lead over soft is more than chance was not tested." in page


@pytest.mark.usefixtures("undrawn")
def test_fields_take_groups_in_turn_and_hold_every_image(comparison: Made, tmp_path: Path) -> None:
    fields = fields_of(write_report(comparison(), tmp_path / "report.html"))
    assert [field["name"] for field in fields] == ["a 1", "b 1", "a 2"]
    assert [image["name"] for image in fields[0]["images"]] == ["input", "sharp", "soft", "lost", "truth"]
    assert [image["pixel"] for image in fields[0]["images"]] == [0.06, *[0.03] * 4]
    assert (fields[0]["left"], fields[0]["right"], fields[0]["truth"], fields[0]["unit"]) == (0, 1, 4, "µm")


def test_every_chart_stands_beside_as_svg_and_png(comparison: Made, tmp_path: Path) -> None:
    write_report(comparison(("a 1",)), tmp_path / "report.html")
    folder = tmp_path / "report_figures"
    stems = {"means-lpips", "means-psnr", "means-light", "frc-a-1", "spectra-a-1", "histograms-a-1", "images-a-1"}
    assert {path.name for path in folder.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    for stem in stems:
        assert matplotlib.image.imread(folder / f"{stem}.png")[..., :3].std() > 0.01


@pytest.mark.usefixtures("undrawn")
def test_pictures_that_are_missing_or_do_not_fit_are_left_out_and_named(comparison: Made, tmp_path: Path) -> None:
    made = comparison(("a 1", "a 2"))
    (tmp_path / "0-soft.ome.tif").unlink()
    tifffile.imwrite(tmp_path / "1-soft.ome.tif", np.zeros((50, 96), np.float32))
    path = write_report(made, tmp_path / "report.html")
    assert [[image["name"] for image in field["images"]] for field in fields_of(path)] == [
        ["input", "sharp", "lost", "truth"],
        ["input", "sharp", "lost", "truth"],
    ]
    page = path.read_text("utf-8")
    assert "a 1: the picture of soft is not shown:" in page
    assert "a 2: the picture of soft is not shown: it is 50 x 96 pixels, and the truth&#39;s 96 x 96 are no" in page


@pytest.mark.usefixtures("undrawn")
def test_without_pictures_the_figures_stand_alone(comparison: Made, tmp_path: Path) -> None:
    page = write_report(replace(comparison(), pictures=()), tmp_path / "report.html").read_text("utf-8")
    assert 'id="viewer"' not in page
    assert "Ranking by LPIPS" in page


@pytest.mark.usefixtures("undrawn")
def test_a_folder_is_reported_from_its_json(comparison: Made, tmp_path: Path) -> None:
    comparison(("a 1",)).save(tmp_path / "comparison.json")
    assert report(tmp_path) == report(tmp_path / "comparison.json") == tmp_path / "report.html"
    assert len(fields_of(tmp_path / "report.html")) == 1


def scene(images: dict[str, NDArray[np.float32]], **change: Any) -> Scene:
    names = list(images)
    usual = Scene("field", images, dict.fromkeys(names, "#000000"), {}, "target", "target", "input", "sharp", 2.88)
    return replace(usual, **change)


@pytest.mark.usefixtures("undrawn")
def test_fits_are_those_of_numpy(images: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    field = make_field(scene(images), 96, Gallery(tmp_path))
    shown = {one.name: one for one in field.images}
    gain, offset = np.polyfit(images["soft"].ravel().astype(float), images["target"].ravel().astype(float), 1)
    np.testing.assert_allclose(shown["soft"].fit, (gain, offset), rtol=1e-9)
    assert shown["lost"].fit == (0.0, pytest.approx(images["target"].mean()))
    assert shown["input"].fit is None
    assert shown["target"].fit is None


@pytest.mark.usefixtures("undrawn")
def test_crops_of_all_images_cover_the_same_place(images: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    field = make_field(scene(images), 33, Gallery(tmp_path))
    shown = {one.name: one.pixels for one in field.images}
    assert shown["target"].shape == (32, 32)
    assert shown["input"].shape == (16, 16)
    binned = shown["target"].reshape(16, 2, 16, 2).mean((1, 3)).round()
    np.testing.assert_array_equal(binned, shown["input"])
    assert "of 96 x 96 pixels: the square in which the target varies most." in field.remark


@pytest.mark.usefixtures("undrawn")
def test_the_first_line_crosses_what_there_is_to_see(images: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    x0, y0, x1, y1 = make_field(scene(images), 96, Gallery(tmp_path)).line
    assert y0 == y1
    assert x0 <= 30.5 * 0.03 <= x1  # the bright line stands at pixel 30


@pytest.mark.usefixtures("undrawn")
def test_odd_pixels_and_odd_fields_still_make_a_page(images: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    broken = {name: image.copy() for name, image in images.items()}
    broken["soft"][3, 4] = np.nan
    broken["lost"][:] = np.inf
    field = make_field(scene(broken, width_um=None), 96, Gallery(tmp_path))
    assert field.unit == "px"
    assert [chart.title for chart in field.charts] == ["Fourier ring correlation", "Power spectra", "Histograms"]
    single = {name: np.ones((1, 1), np.float32) for name in images}
    assert make_field(scene(single), 96, Gallery(tmp_path)).charts == []


def test_file_names_are_plain_and_never_taken_twice(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    names = [gallery.file_name(name) for name in ("../../a b", "a/b", "ü", "x" * 300)]
    assert names == ["a-b", "a-b-2", "chart", "x" * 80]
