"""What `fluorsr check` tells of restorations that are good, and of such as were spoilt on purpose."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from fluorsr.classical.bicubic import upsample
from fluorsr.cli.main import app
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.errors import InputError
from fluorsr.evaluate.check import Check, check
from fluorsr.evaluate.findings import judge_samples, uncertain_light
from fluorsr.evaluate.planes import match_planes
from fluorsr.evaluate.trials import bent, smoothed, with_filaments, with_seams
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image, open_image
from fluorsr.io.provenance import read_provenance
from fluorsr.io.writer import Layout
from fluorsr.models.reach import measure_module
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.weights import save_weights
from fluorsr.pipeline.run import infer
from fluorsr.report.check_page import to_markdown, write_check
from fluorsr.restorer import RestorerSpec

SIZE = 256
PIXEL_UM = 0.06


def save(path: Path, pixels: NDArray[np.generic], size_um: float) -> Path:
    sizes = {"y": size_um, "x": size_um}
    writer = create_image(path, Layout("yx", pixels.shape, pixels.dtype.name, sizes, block=pixels.shape), provenance={})
    writer.write(PlaneIndex(), 0, 0, np.ascontiguousarray(pixels))
    writer.finish()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dim field as the camera saw it, its truth, and what the shipped model makes of it in tiles of 88."""
    folder = tmp_path_factory.mktemp("check")
    config = configure("confocal-280", fixed=True, size_px=SIZE, photons=100, density=2, pixel_size_um=PIXEL_UM)
    field = simulate_pair(config, 2**32 + 9, 0, "microtubules")
    save(folder / "input.tif", field.degraded.reshape(SIZE, SIZE), PIXEL_UM)
    save(folder / "truth.tif", field.target, PIXEL_UM / 2)
    infer(folder / "input.tif", folder / "restored.zarr", tile=88 + 40, dtype="float32", precision="fp32")
    return folder


@pytest.fixture(scope="module")
def restored(folder: Path) -> torch.Tensor:
    return torch.from_numpy(open_image(folder / "restored.zarr").to_numpy())


@pytest.fixture(scope="module")
def spoilt(
    folder: Path, restored: torch.Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[torch.Tensor], Check]:
    """Saves what was spoilt and checks it."""
    where = tmp_path_factory.mktemp("spoilt")

    def run(pixels: torch.Tensor, **options: int) -> Check:
        path = where / f"{len(list(where.iterdir()))}.tif"
        return check(folder / "input.tif", save(path, pixels.numpy(), PIXEL_UM / 2), **options)

    return run


def warned(found: Check) -> set[str]:
    return {one.rule for one in found.warnings}


def test_a_good_restoration_is_not_flagged(folder: Path) -> None:
    for output in ("restored.zarr", "truth.tif"):
        found = check(folder / "input.tif", folder / output)
        assert warned(found) == set(), found.warnings
        assert found.figures["disagreement_over_noise"] == pytest.approx(1, abs=0.05)
        assert 150 < found.figures["fitted_blur_nm"] < 280
        assert found.figures["resolution_after_nm"] < 0.6 * found.figures["resolution_before_nm"]
        assert len(found.trusted) == 5
        assert "it is the model's inference" in found.doubted[-1]


def test_the_output_tells_model_and_tiles(folder: Path) -> None:
    assert read_provenance(folder / "restored.zarr")["model"] == "edsr-confocal-sted-x2"
    assert read_provenance(folder / "truth.tif") == {}
    found = {one.rule: one for one in check(folder / "input.tif", folder / "restored.zarr").findings}
    assert "as edsr-confocal-sted-x2 was trained at" in found["pixel-size"].message
    assert "trained at 10 to 1000" in found["light-level"].message
    assert "every 176 x 176 pixels" in found["seams"].message


def test_a_seam_of_one_percent_is_found(folder: Path, restored: torch.Tensor, spoilt: Callable[..., Check]) -> None:
    seamed = with_seams(restored, 128)
    assert warned(spoilt(seamed, tile=128)) == {"seams"}
    looked_for = spoilt(seamed)
    assert warned(looked_for) == {"seams"}
    assert re.search(r"about every 12[789] ", looked_for.warnings[0].message)
    assert "Lines at the borders of tiles: they are not in the specimen." in looked_for.doubted
    assert warned(spoilt(restored, tile=128)) == set()


def test_invented_filaments_are_found(restored: torch.Tensor, spoilt: Callable[..., Check]) -> None:
    found = spoilt(with_filaments(restored, 0.11 / (PIXEL_UM / 2)))
    assert "invented" in warned(found)
    assert warned(found) <= {"invented", "explained"}
    assert "Look at the map before counting" in " ".join(found.doubted)
    added = with_filaments(restored, 3.7) - restored
    near = torch.nn.functional.max_pool2d(added[None], 18, 2, 8)[0] > 0.5 * added.max()
    assert float(found.invented[~near].sum()) < 0.02 * float(found.invented.sum())


def test_an_over_smoothed_image_is_found(restored: torch.Tensor, spoilt: Callable[..., Check]) -> None:
    found = spoilt(smoothed(restored, 10.0))
    assert warned(found) >= {"smoothed", "sharper"}
    assert found.figures["power_kept"] < 0.5


def test_sharpened_noise_is_found(folder: Path, spoilt: Callable[..., Check]) -> None:
    image = torch.from_numpy(open_image(folder / "input.tif").to_numpy().astype(np.float32))
    found = spoilt(upsample(image[None, None], 2)[0, 0])
    assert warned(found) >= {"noise", "sharper"}


@pytest.mark.parametrize("exponent", [0.5, 1.5])
def test_light_out_of_proportion_is_found(
    restored: torch.Tensor, spoilt: Callable[..., Check], exponent: float
) -> None:
    assert "light" in warned(spoilt(bent(restored, exponent)))


def test_a_swapped_pair_is_found(folder: Path, tmp_path: Path) -> None:
    truth = torch.from_numpy(open_image(folder / "truth.tif").to_numpy())
    sharp = save(tmp_path / "sharp.tif", torch.nn.functional.avg_pool2d(truth[None], 2)[0].numpy(), PIXEL_UM)
    found = check(sharp, folder / "input.tif")
    assert "smoothed" in warned(found)
    assert "input and restored are swapped" in to_markdown(found)
    with pytest.raises(InputError, match="are the two swapped"):
        check(folder / "restored.zarr", folder / "input.tif")


def test_broken_pixels_other_pixels_and_other_light(
    folder: Path, restored: torch.Tensor, spoilt: Callable[..., Check], tmp_path: Path
) -> None:
    broken = restored.clone()
    broken[5:9, 5] = torch.nan
    assert "not-finite" in warned(spoilt(broken))
    found = check(folder / "input.tif", folder / "restored.zarr", pixel_size_um=0.1)
    assert "pixels of 100 nm, and edsr-confocal-sted-x2 was trained at 60 nm" in found.warnings[0].message
    full = torch.where(restored > restored.quantile(0.98), 255, (255 * restored / restored.max()).clamp(0, 254))
    saturated = save(tmp_path / "full.tif", full.numpy().astype(np.uint8), PIXEL_UM / 2)
    assert "saturated" in warned(check(folder / "input.tif", saturated))


def test_what_cannot_be_checked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"planes along c; 3 is not one of them"):
        check(folder / "input.tif", folder / "truth.tif", channel=3)
    odd = save(tmp_path / "odd.tif", np.zeros((300, 300), np.float32), 0.03)
    with pytest.raises(InputError, match="a restored image has a whole multiple"):
        check(folder / "input.tif", odd)
    flat = save(tmp_path / "flat.tif", np.zeros((512, 512), np.float32), 0.03)
    with pytest.raises(InputError, match="is constant there"):
        check(folder / "input.tif", flat)
    with pytest.raises(InputError, match="tile 3 must be at least 8"):
        check(folder / "input.tif", folder / "truth.tif", tile=3)


def test_light_on_which_samples_differ_is_counted(folder: Path) -> None:
    matched = match_planes(folder / "input.tif", folder / "restored.zarr")
    light, deviation = torch.full((64, 64), 50.0), torch.zeros(64, 64)
    light[:8, :8], light[32:40, :24] = 150.0, 150.0
    deviation[:8, :8], deviation[32:40, :24] = 51.0, 49.0
    deviation[60:] = 10.0  # where there is no light, there is none to doubt
    drawn = replace(matched, restored=light, deviation=deviation, record={"samples": 4})
    assert math.isnan(uncertain_light(matched))
    assert uncertain_light(drawn) == pytest.approx(0.25)
    assert [(one.status, "25%" in one.message) for one in judge_samples(0.25, drawn)] == [("warning", True)]
    assert [one.status for one in judge_samples(0.05, drawn)] == ["fine"]
    assert judge_samples(math.nan, drawn) == []


def test_samples_are_checked_beside_their_mean(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SR3(SR3Config(width=8, multipliers=(1, 2), predicts="v", steps=2)).eval()
    spec = RestorerSpec("sr3", **vars(measure_module(network)))
    model = tmp_path / "sr3.safetensors"
    save_weights(model, network, architecture="sr3", config=network.config.model_dump(mode="json"), spec=spec, notes={})
    # 3 samples: an untrained model predicts nothing, so that two of mirrored noise cancel
    infer(folder / "input.tif", tmp_path / "out.zarr", model=model, samples=3, precision="fp32", region="0:64,0:64")
    found = check(folder / "input.tif", tmp_path / "out.zarr")
    assert math.isfinite(found.figures["uncertain_light"])
    assert any("samples" in line for line in (*found.trusted, *found.doubted))


def test_a_region_is_checked_against_its_own_part_of_the_input(folder: Path, tmp_path: Path) -> None:
    infer(folder / "input.tif", tmp_path / "part.tif", region="40:200,60:250", dtype="float32", precision="fp32")
    found = check(folder / "input.tif", tmp_path / "part.tif")
    assert warned(found) <= {"seams"}
    assert tuple(found.image.shape) == (160, 190)
    assert found.figures["disagreement_over_noise"] == pytest.approx(1, abs=0.05)


def test_the_page_and_the_command(folder: Path, restored: torch.Tensor, tmp_path: Path) -> None:
    page, picture = write_check(check(folder / "input.tif", folder / "restored.zarr"), tmp_path / "good")
    assert "no warnings" in page.read_text()
    assert picture.stat().st_size > 20_000
    bad = save(tmp_path / "bad.tif", smoothed(restored, 10.0).numpy(), PIXEL_UM / 2)
    arguments = ["check", str(folder / "input.tif"), str(bad)]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0
    assert "over-smoothed" in run.stdout
    run = CliRunner().invoke(app, [*arguments, "--strict", "--json"])
    assert run.exit_code == 1
    assert {one["rule"] for one in json.loads(run.stdout)["findings"] if one["status"] == "warning"} >= {"smoothed"}
