"""The demo at a small size, with a model that only interpolates, so that what it must find is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from fluorsr.classical.bicubic import upsample
from fluorsr.errors import InputError, NotFoundError, OutputExistsError
from fluorsr.io.open import open_image
from fluorsr.report.demo import MADE_BY, run_demo


class Interpolate(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)


@pytest.fixture
def model(tmp_path: Path, save_script: Callable[[torch.nn.Module, Path], Path]) -> Path:
    return save_script(Interpolate(), tmp_path / "interpolate.pt")


def test_demo_simulates_restores_and_compares(model: Path, tmp_path: Path) -> None:
    told: list[str] = []
    out = tmp_path / "demo"
    first = run_demo(out, size=96, seed=3, model=model, tell=told.append)

    images = {name: open_image(out / f"{name}.ome.zarr") for name in ("input", "restored", "input_truth")}
    assert images["input"].shape == (2, 96, 96)
    assert images["restored"].shape == images["input_truth"].shape == (2, 192, 192)
    assert images["restored"].pixel_size_um == pytest.approx(images["input_truth"].pixel_size_um)
    assert images["restored"].translation_um == pytest.approx(images["input_truth"].translation_um)
    assert [channel.name for channel in images["restored"].channels] == ["microtubules", "vesicles"]

    # The model interpolates, so `restored` must score what the interpolated input scores, but for rounding.
    assert [(score.channel, score.image) for score in first.scores] == [
        ("microtubules", "input"),
        ("microtubules", "restored"),
        ("vesicles", "input"),
        ("vesicles", "restored"),
    ]
    for given, restored in (first.scores[:2], first.scores[2:]):
        assert restored.figures["psnr"] == pytest.approx(given.figures["psnr"], abs=0.1)
        assert restored.figures["ssim"] == pytest.approx(given.figures["ssim"], abs=0.01)
        assert restored.figures["frc"] == pytest.approx(given.figures["frc"], rel=0.05)
        assert restored.light == pytest.approx(given.light, abs=0.01)
        assert restored.light == pytest.approx(1.0, abs=0.1)

    picture = imread(first.picture)
    assert picture.shape[1] > picture.shape[0] > 1000
    written = json.loads((out / "scores.json").read_text())
    assert len(written["scores"]) == 4
    assert any("simulating" in line for line in told)

    # A second run keeps the field, restores it again and finds the same.
    before = {path: path.stat().st_mtime_ns for path in (out / "input.ome.zarr").rglob("*")}
    told.clear()
    second = run_demo(out, size=96, seed=3, model=model, tell=told.append)
    assert second.scores == first.scores
    assert before == {path: path.stat().st_mtime_ns for path in (out / "input.ome.zarr").rglob("*")}
    assert any("simulated earlier" in line for line in told)

    # Another field replaces the first.
    third = run_demo(out, size=64, seed=4, model=model)
    assert open_image(out / "input_truth.ome.zarr").shape == (2, 128, 128)
    assert third.scores != first.scores


def test_field_that_was_cut_short_is_simulated_again(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "demo.json").write_text(json.dumps({"made_by": MADE_BY}))  # as a killed run leaves it
    (out / "input.ome.zarr").mkdir()
    run_demo(out, size=64, model=model)
    assert open_image(out / "input.ome.zarr").shape == (2, 64, 64)


@pytest.mark.parametrize("content", [None, "{}", "not JSON", '["fluorsr demo"]'])
def test_folder_of_another_is_left_alone(model: Path, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    if content is not None:
        (tmp_path / "demo.json").write_text(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputExistsError, match="holds files that the demo did not make; choose another folder"):
        run_demo(tmp_path, size=64, model=model)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_output_that_is_a_file_is_refused(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "inside"):
        with pytest.raises(OutputExistsError, match="is not a folder"):
            run_demo(path, size=64, model=model)


@pytest.mark.parametrize(("size", "seed"), [(63, 0), (16385, 0), (64, -1)])
def test_arguments_out_of_range_are_told_before_anything_is_made(tmp_path: Path, size: int, seed: int) -> None:
    with pytest.raises(InputError, match=r"not \d+; try 1024|must be at least 0"):
        run_demo(tmp_path / "demo", size=size, seed=seed)
    assert not (tmp_path / "demo").exists()


def test_missing_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        run_demo(tmp_path / "demo", size=64, model=tmp_path / "nowhere.safetensors")


def test_truth_and_input_lie_on_one_another(model: Path, tmp_path: Path) -> None:
    """Shifting the interpolated input by one target pixel either way must fit the truth worse than not shifting it."""
    run_demo(tmp_path / "demo", size=128, model=model)
    stores = (tmp_path / "demo" / f"{name}.ome.zarr" for name in ("input", "input_truth"))
    given, truth = (np.asarray(open_image(store).data[:, :, :]) for store in stores)
    enlarged = upsample(torch.from_numpy(given[None].astype(np.float32)), 2)[0].numpy()
    inner = (slice(None), slice(8, -8), slice(8, -8))

    def agreement(shift: tuple[int, int]) -> float:
        moved = np.roll(enlarged, shift, (1, 2))[inner]
        return float(np.corrcoef(moved.ravel(), truth[inner].ravel())[0, 1])

    assert max(agreement(shift) for shift in [(0, 1), (0, -1), (1, 0), (-1, 0)]) < agreement((0, 0))
