"""`fluorsr evaluate`: streamed planes give the whole plane's figures; files and folders find their partners."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.evaluate.files import evaluate_files
from fluorsr.evaluate.streaming import Plane, stream_metrics
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
from fluorsr.metrics import lpips as module
from fluorsr.metrics.prepare import prepare
from fluorsr.metrics.registry import ALL_METRICS

PIXEL_METRICS = ("psnr", "ssim", "frc", "ms_ssim", "nrmse", "pearson")


def scene(shape: tuple[int, int], noise: float, seed: int) -> NDArray[np.float32]:
    """Smooth blobs under noise."""
    rng = np.random.default_rng(1)
    small = torch.from_numpy(rng.gamma(0.3, 300.0, (1, 1, shape[0] // 8 + 2, shape[1] // 8 + 2)))
    large = torch.nn.functional.interpolate(small, size=shape, mode="bicubic")[0, 0].numpy()
    return (large + 500 + np.random.default_rng(seed).normal(0, noise, shape)).astype(np.float32)


def save(path: Path, pixels: NDArray[np.generic], size_um: float | None = 0.03, axes: str = "yx") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {"y": size_um, "x": size_um} if size_um else {}
    writer = create_image(path, Layout(axes, pixels.shape, pixels.dtype.name, sizes), provenance={})
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    for z, plane in enumerate(planes):
        writer.write(PlaneIndex(z=z), 0, 0, np.ascontiguousarray(plane))
    for level in writer.tail:
        for block in writer.tail_blocks(level):
            writer.build_tail(level, block)
    writer.finish()
    return path


@pytest.mark.parametrize("shape", [(333, 301), (512, 200), (261, 777), (170, 164)])
@pytest.mark.parametrize("intensity", ["raw", "min-max", "least-squares"])
def test_a_streamed_plane_has_the_whole_planes_figures(
    shape: tuple[int, int], intensity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluorsr.evaluate.streaming.STRIP", 64)
    p, t = 0.7 * scene(shape, 25.0, 2) + 30, scene(shape, 5.0, 3)
    planes = [Plane(Image(pixels, "yx"), PlaneIndex(), 1) for pixels in (p, t)]
    streamed = stream_metrics(*planes, PIXEL_METRICS, intensity=intensity, pixel_size_um=0.03)
    ready = prepare(torch.from_numpy(p), torch.from_numpy(t), intensity=intensity, crop_px=1)
    for name in PIXEL_METRICS:
        whole = ALL_METRICS[name].function(
            ready.prediction, ready.target, data_range=ready.data_range, pixel_size_um=0.03
        )
        assert streamed[name] == pytest.approx(float(whole), rel=2e-5), name


def test_lpips_is_streamed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a random trunk: the same parts, hence the same figure."""
    torch.manual_seed(1)
    network = module.Lpips("alex")
    for parameter in network.parameters():
        parameter.copy_(torch.rand_like(parameter) - 0.3)
    monkeypatch.setattr(module, "load_lpips", lambda name: network)
    monkeypatch.setattr(module, "BLOCK", 64)
    p, t = scene((150, 100), 25.0, 2), scene((150, 100), 5.0, 3)
    planes = [Plane(Image(pixels, "yx"), PlaneIndex()) for pixels in (p, t)]
    streamed = stream_metrics(*planes, ["lpips"], intensity="raw", pixel_size_um=None)["lpips"]
    whole = module.lpips(torch.from_numpy(p), torch.from_numpy(t), data_range=float(t.max() - t.min()))
    assert streamed == pytest.approx(float(whole), rel=1e-6)
    assert streamed > 1e-6


def test_percentiles_of_a_streamed_plane_are_those_of_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluorsr.evaluate.streaming.STRIP", 64)
    p, t = (scene((200, 200), noise, 4).astype(np.uint16) for noise in (25.0, 5.0))
    planes = [Plane(Image(pixels, "yx"), PlaneIndex()) for pixels in (p, t)]
    streamed = stream_metrics(*planes, ["psnr"], intensity="percentile", pixel_size_um=None)
    ready = prepare(*(torch.from_numpy(i.astype("float32")) for i in (p, t)), intensity="percentile")
    whole = ALL_METRICS["psnr"].function(ready.prediction, ready.target, data_range=ready.data_range, pixel_size_um=1.0)
    assert streamed["psnr"] == pytest.approx(float(whole), abs=0.5)  # one rank apart


def test_equal_constant_and_small_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    t = scene((64, 64), 5.0, 3)
    own = Plane(Image(t, "yx"), PlaneIndex())
    found = stream_metrics(own, own, ["psnr", "ssim"], intensity="raw", pixel_size_um=None)
    assert math.isinf(found["psnr"])
    assert found["ssim"] == pytest.approx(1)
    flat = Plane(Image(np.ones_like(t), "yx"), PlaneIndex())
    with pytest.raises(InputError, match="the target is constant"):
        stream_metrics(own, flat, ["psnr"], intensity="raw", pixel_size_um=None)
    constant = stream_metrics(flat, own, ["pearson", "psnr"], intensity="least-squares", pixel_size_um=None)
    assert math.isnan(constant["pearson"])
    with pytest.raises(InputError, match="ms_ssim needs at least 161 pixels"):
        stream_metrics(own, own, ["ms_ssim"], intensity="raw", pixel_size_um=None)
    with pytest.raises(InputError, match="images of one shape"):
        stream_metrics(own, Plane(own.image, PlaneIndex(), 2), ["psnr"], intensity="raw", pixel_size_um=None)


def test_stacks_in_stores_plane_by_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.stack([scene((96, 80), 5.0, seed) for seed in (1, 2)])
    other = np.stack([scene((96, 80), 30.0, seed) for seed in (3, 4)])
    files = save(tmp_path / "p.ome.zarr", other, axes="zyx"), save(tmp_path / "t.tif", stack, axes="zyx")
    found = evaluate_files(*files)
    assert [row.name for row in found.rows] == ["p.ome.zarr [z 0]", "p.ome.zarr [z 1]"]
    assert found.mean["psnr"] == pytest.approx(np.mean([row.values["psnr"] for row in found.rows]))
    monkeypatch.setattr("fluorsr.evaluate.files.WHOLE_PX", 100)
    streamed = evaluate_files(*files)
    for one, two in zip(found.rows, streamed.rows, strict=True):
        assert one.values == pytest.approx(two.values, rel=1e-4)


def test_folders_are_matched_by_name(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"p/{name}.tif", scene((40, 40), 20.0, 1), None)
        save(tmp_path / f"t/{name}.ome.zarr", scene((40, 40), 2.0, 1), None)
    found = evaluate_files(tmp_path / "p", tmp_path / "t", metrics=["psnr", "frc"])
    assert [row.name for row in found.rows] == ["a", "b"]
    assert math.isnan(found.mean["frc"])
    assert "a does not tell its pixel size" in found.warnings[0]
    assert evaluate_files(tmp_path / "p", tmp_path / "t", metrics=["frc"], pixel_size_um=0.03).mean["frc"] >= 60
    save(tmp_path / "p/c.tif", scene((40, 40), 20.0, 1))
    save(tmp_path / "t/d.tif", scene((40, 40), 20.0, 1))
    with pytest.raises(InputError, match=r"c\.tif has no target in .*d\.tif has no prediction in .*names must be"):
        evaluate_files(tmp_path / "p", tmp_path / "t")
    with pytest.raises(InputError, match="must both be folders of images, or both images"):
        evaluate_files(tmp_path / "p", tmp_path / "t/d.tif")
    with pytest.raises(NotFoundError, match="none does not exist"):
        evaluate_files(tmp_path / "none", tmp_path / "t")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no images"):
        evaluate_files(tmp_path / "empty", tmp_path / "t")


def test_what_cannot_be_compared_and_what_is_told(tmp_path: Path) -> None:
    one = save(tmp_path / "one.tif", scene((40, 40), 20.0, 1))
    with pytest.raises(InputError, match=r"one\.tif: the prediction has yx \(40, 40\), the target yx \(80, 80\)"):
        evaluate_files(one, save(tmp_path / "large.tif", scene((80, 80), 20.0, 1)))
    with pytest.raises(InputError, match="a crop of 20 pixels off each edge leaves nothing"):
        evaluate_files(one, one, crop_px=20)
    with pytest.raises(InputError, match="no metric 'mse'"):
        evaluate_files(one, one, metrics=["mse"])
    with pytest.raises(InputError, match="no intensity 'log'"):
        evaluate_files(one, one, intensity="log")
    with pytest.raises(InputError, match=r"one\.tif: MS-SSIM needs images of at least 161"):
        evaluate_files(one, one, metrics=["ms_ssim"])
    flat = evaluate_files(one, save(tmp_path / "flat.tif", np.ones((40, 40), np.float32)))
    assert math.isnan(flat.mean["psnr"])
    assert "the target is constant" in flat.warnings[0]
    holes = scene((40, 40), 20.0, 1)
    holes[3, 3] = np.nan
    assert "it holds NaN" in evaluate_files(save(tmp_path / "holes.tif", holes), one).warnings[0]


def test_the_command_prints_in_four_ways(tmp_path: Path) -> None:
    one, two = (save(tmp_path / f"{noise}.tif", scene((40, 40), noise, 1)) for noise in (20, 2))

    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["evaluate", str(one), str(two), "--metrics", "psnr,ssim", *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    found = json.loads(run("--json", "--intensity", "minmax", "--crop", "2"))
    assert found["how"].startswith("intensity min-max per plane, edges 2 px cropped")
    rows = list(csv.DictReader(io.StringIO(run("--csv"))))
    assert float(rows[0]["psnr"]) == pytest.approx(json.loads(run("--json"))["mean"]["psnr"])
    assert "| mean | " in run("--markdown")
    assert "PSNR (dB)" in run()
    result = CliRunner().invoke(app, ["evaluate", str(one), str(two), "--json", "--csv"])
    assert "choose one" in str(result.exception)
