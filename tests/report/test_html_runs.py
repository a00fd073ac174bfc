"""Reports of training runs and of inference outputs, from folders as `train` and `infer` leave them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.metrics.squirrel import squirrel
from fluorsr.pipeline.run import DEFAULT_MODEL, infer
from fluorsr.report.html import report
from fluorsr.report.html_charts import Gallery
from fluorsr.report.html_inference import inference_page
from fluorsr.report.html_page import Page
from fluorsr.report.html_training import training_page

pytestmark = pytest.mark.usefixtures("undrawn")


def write_run(folder: Path, lines: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def line(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "seconds": 6.0 * step, "loss": 1 / step, "data_wait": 0.0, "skipped": 0, **more}


class TestTraining:
    def page(self, folder: Path, lines: list[dict[str, Any]]) -> Page:
        return training_page(write_run(folder, lines), Gallery(folder / "figures"))

    def test_curves_are_by_family_and_validations_a_table(self, tmp_path: Path) -> None:
        lines = [
            line(10),
            line(20, psnr=30.0, psnr_nuclei=28.0, psnr_vesicles=32.0),
            line(30),
            line(40, psnr=29.5, psnr_nuclei=29.0, psnr_vesicles=30.0),
        ]
        page = self.page(tmp_path, lines)
        assert [chart.title for chart in page.charts] == ["loss", "data_wait", "PSNR (dB)"]
        assert "last psnr 29.5, psnr_nuclei 29, psnr_vesicles 30" in page.charts[2].alternative
        rows = [[cell.text for cell in row] for row in page.tables[0].rows]
        assert rows == [["20", "2.0", "0.05000", "30.00"], ["40", "4.0", "0.02500", "29.50"]]
        assert [row[3].best for row in page.tables[0].rows] == [True, False]
        assert page.summary == ["PSNR (dB): best 30.00 at step 20, 29.50 last."]
        assert dict(page.facts)["Time"] == "4.0 min"

    def test_what_went_wrong_is_said(self, tmp_path: Path) -> None:
        psnrs = [30.0, 31.0, 30.5, 30.0, 29.0]
        lines = [line(n + 1, psnr=psnr, data_wait=0.4) for n, psnr in enumerate(psnrs)]
        lines[2]["loss"], lines[-1]["skipped"] = None, 3
        warnings = "\n".join(self.page(tmp_path, lines).warnings)
        assert "3 steps were skipped since their loss was not finite: lower the learning rate" in warnings
        assert "the loss was not finite at 1 reports, first at step 3" in warnings
        assert "40% of the time, in the median, went into waiting for data" in warnings
        assert "the validated PSNR fell from 31.00 dB (step 2) to 29.00 dB (step 5)" in warnings
        assert "there are no weights in this folder" in warnings

    def test_a_run_without_trouble_has_no_warning(self, tmp_path: Path, shipped: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(shipped.read_bytes())
        (tmp_path / "recipe.yaml").write_text("name: <b>me</b>\n")
        (tmp_path / "environment.json").write_text('{"device": "CPU", "packages": {"torch": "2.13"}}')
        page = self.page(tmp_path, [line(n + 1, psnr=30.0 + n) for n in range(6)])
        assert list(page.warnings) == []
        assert [card.title for card in page.cards] == ["model.safetensors", "Recipe", "Environment"]
        assert page.cards[2].facts == [("device", "CPU"), ("packages", "torch: '2.13'")]
        assert "name: &lt;b&gt;me&lt;/b&gt;" in report(tmp_path).read_text("utf-8")

    def test_a_crash_cut_line_and_odd_files_do_no_harm(self, tmp_path: Path) -> None:
        write_run(tmp_path, [line(1)])
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2, "lo')
        (tmp_path / "bad.safetensors").write_bytes(b"nothing")
        (tmp_path / "environment.json").write_text("[")
        page = training_page(tmp_path, Gallery(tmp_path / "figures"))
        assert dict(page.facts)["Steps"] == "1"
        assert "bad.safetensors cannot be read" in "\n".join(page.warnings)

    def test_a_log_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="holds no line with a step, so there is nothing to report"):
            self.page(tmp_path, [{"loss": 1}])


@pytest.fixture(scope="session")
def shipped() -> Path:
    return Path(__file__).parents[2] / "fluorsr" / "models" / "zoo" / f"{DEFAULT_MODEL}.safetensors"


def write_tiff(path: Path, pixels: np.ndarray[Any, Any], pixel_um: float) -> Path:
    axes = {"axes": "CYX", "unit": "um"}
    tifffile.imwrite(path, pixels, imagej=True, metadata=axes, resolution=(1 / pixel_um, 1 / pixel_um))
    return path


@pytest.fixture
def restored(tmp_path: Path, small_model: Path) -> Callable[..., Path]:
    """Restores uint16 [2, 70, 90] to OME-Zarr; `change` edits the pixels first."""

    def run(change: Callable[[np.ndarray[Any, Any]], None] = lambda pixels: None, **options: Any) -> Path:
        pixels = np.random.default_rng(0).poisson(200, (2, 70, 90)).astype(np.uint16)
        change(pixels)
        source = write_tiff(tmp_path / "cells.tif", pixels, 0.08)
        infer(source, tmp_path / "out.zarr", model=small_model, dtype="float32", threads=1, **options)
        return tmp_path / "out.zarr"

    return run


def fields_of(path: Path) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="fields">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    fields: list[dict[str, Any]] = json.loads(found[1])
    return fields


class TestInference:
    def test_input_and_output_stand_side_by_side_at_one_place(self, restored: Callable[..., Path]) -> None:
        path = report(restored(region="10:70,20:90"))
        assert path.name == "out.zarr.report.html"
        fields = fields_of(path)
        assert [field["name"] for field in fields] == ["channel 0", "channel 1"]
        for field in fields:
            given, made = field["images"]
            assert (given["name"], made["name"]) == ("input", "restored")
            assert (given["pixel"], made["pixel"]) == (pytest.approx(0.08), pytest.approx(0.04))
            assert (given["width"], given["height"]) == (made["width"], made["height"])
            assert field["truth"] is None

    def test_the_table_is_squirrel_of_the_squares(self, restored: Callable[..., Path], tmp_path: Path) -> None:
        import torch  # noqa: PLC0415
        import zarr  # noqa: PLC0415

        out = restored()
        page = inference_page(out, Gallery(tmp_path / "figures"))
        given = torch.from_numpy(tifffile.imread(tmp_path / "cells.tif").astype(np.float64))
        made = torch.from_numpy(np.asarray(zarr.open(out)["0"]).astype(np.float64))
        found = squirrel(made, given, pixel_size_um=0.08)
        for row, rsp, rse in zip(page.tables[0].rows, found.rsp, found.rse, strict=True):
            assert row[1].sort == pytest.approx(float(rsp), abs=1e-6)
            assert row[2].sort == pytest.approx(float(rse), rel=1e-6)

    def test_what_speaks_against_the_image_is_said(self, restored: Callable[..., Path], tmp_path: Path) -> None:
        def spoil(pixels: np.ndarray[Any, Any]) -> None:
            pixels[0, :3, :3] = 65535
            pixels[1, 5, 5] = 2000  # too few to widen the range that the image is normalised by

        page = inference_page(restored(spoil), Gallery(tmp_path / "figures"))
        warnings = "\n".join(page.warnings)
        assert "channel 0: 0.1% of the input pixels shown are saturated" in warnings
        assert "channel 1: the brightest input pixel shown lies" in warnings
        assert len(page.warnings) == 2

    def test_a_pixel_size_outside_the_training_is_said(self, tmp_path: Path) -> None:
        source = write_tiff(tmp_path / "cells.tif", np.full((1, 40, 40), 7, np.uint16), 0.13)
        infer(source, tmp_path / "out.zarr", threads=1)
        page = inference_page(tmp_path / "out.zarr", Gallery(tmp_path / "figures"))
        assert "the image's pixels are 130.0 nm, edsr-confocal-sted-x2 was trained at 60.0 nm" in page.warnings[0]
        assert page.cards[0].title == DEFAULT_MODEL
        assert "The model was trained on microtubules, actin, nuclei" in page.summary[1]

    def test_an_input_that_is_gone_or_another_is_said(self, restored: Callable[..., Path], tmp_path: Path) -> None:
        out = restored()
        (tmp_path / "cells.tif").rename(tmp_path / "moved.tif")
        page = inference_page(out, Gallery(tmp_path / "figures"))
        assert "the input cannot be shown beside:" in page.warnings[0]
        assert [image.name for image in page.fields[0].images] == ["restored"]
        write_tiff(tmp_path / "cells.tif", np.zeros((1, 70, 90), np.uint16), 0.08)
        page = inference_page(out, Gallery(tmp_path / "figures"))
        assert "now has shape [70, 90], not [2, 70, 90]: not shown" in page.warnings[0]

    def test_unfinished_blocks_are_counted(self, restored: Callable[..., Path], tmp_path: Path) -> None:
        out = restored()
        record = next(p for p in (out / "fluorsr" / "blocks" / "c").rglob("*") if p.is_file())
        record.unlink()  # a chunk that is not there reads as -1: nothing is done
        page = inference_page(out, Gallery(tmp_path / "figures"))
        assert re.fullmatch(r"(\d+) of \1 blocks are not done: go on with fluorsr infer --resume", page.warnings[0])


def test_the_verb_writes_the_report_where_it_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [line(1)])
    for arguments, path in (([], run / "report.html"), (["--out", str(tmp_path / "x.html")], tmp_path / "x.html")):
        result = CliRunner().invoke(app, ["report", str(run), *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        assert str(path) in result.output.replace("\n", "")
        assert path.read_text("utf-8").startswith("<!doctype html>")


def test_what_is_no_run_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name a comparison, a training run or a restored OME-Zarr"):
        report(tmp_path / "none")
    with pytest.raises(InputError, match=r"it holds neither comparison.json \(of fluorsr compare\) nor metrics.jsonl"):
        report(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(InputError, match="only a folder keeps a record to report on: restore to OME-Zarr"):
        report(tmp_path / "a.tif")
