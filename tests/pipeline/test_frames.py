"""Raw frames along any axis: the right frames in the right order, however the file holds them, and clear refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray

import fluorsr
from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.open import open_image
from fluorsr.pipeline.frames import find_frames
from fluorsr.pipeline.journal import Journal


class Weighted(torch.nn.Module):
    """Frames -> sum of frame i times i + 1, so that any frame at a wrong place changes the result."""

    def __init__(self, frames: int, work: int = 1) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(frames, 1, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.arange(1.0, frames + 1).reshape(1, -1, 1, 1) / frames)
        self.work = work

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(1)
        for _ in range(self.work):
            out = self.mix(x)
        return out


@pytest.fixture
def models(tmp_path: Path, save_script: Callable[[torch.nn.Module, Path], Path]) -> dict[int, Path]:
    """Models of 3 and 15 frames; 150 is a slow one of 15."""
    kinds = ((3, 3, 1), (15, 15, 1), (150, 15, 100))
    return {name: save_script(Weighted(frames, work), tmp_path / f"weighted{name}.pt") for name, frames, work in kinds}


def raw(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 1000, (*shape, 40, 50)).astype(np.uint16)


def expected(series: NDArray[np.uint16]) -> NDArray[np.float64]:
    """[..., F, Y, X] -> [..., Y, X] as the model and its normalisation make it."""
    frames = series.shape[-3]
    low, high = (np.percentile(series, p, method="inverted_cdf") for p in (0.1, 99.9))
    weights = np.arange(1, frames + 1) / frames
    normalised = (series.astype(np.float64) - low) / (high - low)
    mixed: NDArray[np.float64] = np.einsum("...fyx,f->...yx", normalised, weights) * (high - low) + low
    return mixed


OPTIONS = {"precision": "fp32", "dtype": "float32"}


@pytest.mark.parametrize("axis", ["z", "c", "t", "q"])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_along_every_axis(tmp_path: Path, models: dict[int, Path], axis: str, count: int) -> None:
    frames = raw(count * 15)
    zarr.create_array(tmp_path / "raw.zarr", data=frames, dimension_names=(axis, "y", "x"))
    fluorsr.infer(tmp_path / "raw.zarr", tmp_path / "out.zarr", model=models[15], frames_axis=axis, **OPTIONS)
    restored = open_image(tmp_path / "out.zarr")
    assert restored.axes == ("yx" if count == 1 else f"{'t' if axis == 'q' else axis}yx")
    series = frames.reshape(count, 15, 40, 50)
    want = np.stack([expected(each) for each in series]) if axis == "c" else expected(series)  # channels have their own
    np.testing.assert_allclose(restored.to_numpy().reshape(want.shape), want, rtol=1e-4)


def test_an_axis_of_its_own_beside_all_others(tmp_path: Path, models: dict[int, Path]) -> None:
    frames = raw(2, 2, 2, 15)
    zarr.create_array(tmp_path / "raw.zarr", data=frames, dimension_names=("t", "c", "z", "q", "y", "x"))
    options = {"model": models[15], "frames_axis": "q", **OPTIONS}
    fluorsr.infer(tmp_path / "raw.zarr", tmp_path / "out.zarr", **options)
    restored = open_image(tmp_path / "out.zarr")
    assert (restored.axes, restored.shape) == ("tczyx", (2, 2, 2, 40, 50))
    for c in range(2):  # each channel is normalised with all of its own frames
        np.testing.assert_allclose(restored.to_numpy()[:, c], expected(frames[:, c]), rtol=1e-4)


def test_tiff_stacks_named_and_bare(tmp_path: Path, models: dict[int, Path]) -> None:
    frames = raw(45)
    want = expected(frames.reshape(3, 15, 40, 50))
    tifffile.imwrite(tmp_path / "bare.tif", frames, metadata=None)
    tifffile.imwrite(tmp_path / "two.tif", frames.reshape(3, 15, 40, 50), photometric="minisblack")
    tifffile.imwrite(tmp_path / "named.tif", frames, imagej=True, metadata={"axes": "TYX"})
    for name, axis in (("bare", "q"), ("two", "q"), ("named", "t")):
        for suffix in ("tif", "zarr"):
            out = tmp_path / f"out-{name}.{suffix}"
            fluorsr.infer(tmp_path / f"{name}.tif", out, model=models[15], frames_axis=axis, **OPTIONS)
            np.testing.assert_allclose(open_image(out).to_numpy(), want, rtol=1e-4)


def test_a_selection_of_time_points_is_that_part_of_the_whole(tmp_path: Path, models: dict[int, Path]) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", raw(60), imagej=True, metadata={"axes": "TYX"})
    options = {"model": models[15], "frames_axis": "t", "tile": 24, "block": 16, **OPTIONS}
    fluorsr.infer(tmp_path / "raw.tif", tmp_path / "all.zarr", **options)
    fluorsr.infer(tmp_path / "raw.tif", tmp_path / "some.zarr", t="1,3", region="16:40,8:48", workers=2, **options)
    whole, some = (open_image(tmp_path / name).to_numpy() for name in ("all.zarr", "some.zarr"))
    np.testing.assert_array_equal(some, whole[[1, 3], 16:40, 8:48])
    assert fluorsr.verify(tmp_path / "some.zarr").complete
    with pytest.raises(InputError, match=r"--t 4 is outside the image: t runs from 0 to 3"):
        fluorsr.infer(tmp_path / "raw.tif", tmp_path / "none.zarr", t="4", **options)


def test_killed_and_resumed(tmp_path: Path, models: dict[int, Path]) -> None:
    zarr.create_array(tmp_path / "raw.zarr", data=raw(90), dimension_names=("t", "y", "x"))
    options = {"model": models[150], "frames_axis": "t", "block": 16, "tile": 16}
    program = (
        "import fluorsr.pipeline.journal as journal; journal.FLUSH_S = 0; "  # record each block at once
        "import sys, fluorsr; a = sys.argv; "
        "fluorsr.infer(a[1], a[2], model=a[3], frames_axis='t', block=16, tile=16, threads=1)"
    )
    words = [str(tmp_path / "raw.zarr"), str(tmp_path / "out.zarr"), str(models[150])]
    run = subprocess.Popen([sys.executable, "-c", program, *words])
    while (
        not (tmp_path / "out.zarr" / "fluorsr" / "zarr.json").exists()
        or not Journal.open(tmp_path / "out.zarr").done.any()
    ):
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    summary = fluorsr.infer(tmp_path / "raw.zarr", tmp_path / "out.zarr", resume=True, **options)
    assert 0 < summary.blocks_resumed < summary.blocks
    assert fluorsr.verify(tmp_path / "out.zarr").complete
    fluorsr.infer(tmp_path / "raw.zarr", tmp_path / "whole.zarr", **options)
    np.testing.assert_array_equal(*(open_image(tmp_path / f"{name}.zarr").to_numpy() for name in ("out", "whole")))
    with pytest.raises(InputError, match=r"frames: was .*'chosen'"):
        fluorsr.infer(
            tmp_path / "raw.zarr",
            tmp_path / "out.zarr",
            resume=True,
            **options,
            frames="14,1,2,3,4,5,6,7,8,9,10,11,12,13,0",
        )


def test_some_frames_of_each_series(tmp_path: Path, models: dict[int, Path]) -> None:
    frames = raw(30)
    want = expected(frames.reshape(2, 15, 40, 50)[:, ::5])
    notes: list[str] = []
    tifffile.imwrite(tmp_path / "raw.tif", frames, metadata=None)
    options = {"model": models[3], "frames_axis": "q", "frames": "0,5,10 of 15", "tell": notes.append, **OPTIONS}
    fluorsr.infer(tmp_path / "raw.tif", tmp_path / "out.zarr", **options)
    np.testing.assert_allclose(open_image(tmp_path / "out.zarr").to_numpy(), want, rtol=1e-4)
    assert "the 30 frames along z make 2 images of 15 frames each, of which 0, 5, 10 are used" in notes
    image = Image(frames[:15], "zyx")
    alone = fluorsr.restore(image, models[3], frames_axis="z", frames="0,5,10", precision="fp32", dtype="float32")
    np.testing.assert_allclose(alone.to_numpy(), expected(frames[None, :15:5])[0], rtol=1e-4)


def test_a_view_reads_what_its_array_holds() -> None:
    frames = raw(6, 2)
    found = find_frames(Image(frames, "tcyx"), "model", 3, "t")
    assert found is not None
    image = found.view(Image(frames, "tcyx"))
    want = frames.reshape(2, 3, 2, 40, 50)
    assert (image.axes, image.shape) == ("tqcyx", want.shape)
    np.testing.assert_array_equal(image.to_numpy(), want)
    for plane in image.planes():
        pixels = image.read(plane, slice(3, 9), slice(0, 7))
        np.testing.assert_array_equal(pixels, want[plane.t, plane.q, plane.c, 3:9, :7])


@pytest.mark.parametrize(
    ("axes", "shape", "wanted", "axis", "frames", "message"),
    [
        ("zyx", (14,), 15, "z", None, r"takes 15 frames, and 14 were found along z, 1 missing for 1 image; give whole"),
        ("tyx", (46,), 15, "t", None, r"46 were found along t, 1 too many for 3 images; .*axes: t 46"),
        ("tyx", (44,), 15, "t", None, r"44 were found along t, 1 missing for 3 images"),
        ("zyx", (15,), 3, "z", None, r"for one image of all give --frames '0,5,10 of 15', for 5 images of 3 each"),
        ("zyx", (15,), 15, None, None, r"turns 15 raw frames into one image: .* --frames-axis .*z 15"),
        ("zyx", (15,), 15, "y", None, r"'y' must be one of z, c, t, q"),
        ("zyx", (15,), 15, "t", None, r"no axis t to hold frames \(this image's axes: z 15\)"),
        ("tzyx", (2, 15), 15, "q", None, r"no axis q; name one of its own .*t 2, z 15"),
        ("qzyx", (15, 2), 15, "z", None, r"has an axis q, .* give --frames-axis q, not z"),
        ("tqyx", (2, 30), 15, "q", None, r"q holds 30 frames, 2 series of 15, and t is there already"),
        ("zyx", (15,), 3, "z", "0,5,15", r"frame 15 is outside a series of 15"),
        ("zyx", (15,), 3, "z", "0,5", r"takes 3 different frames, and 2 are named"),
        ("zyx", (15,), 3, "z", "0:15:5", r"must be like '0,5,10' or '0,5,10 of 15'"),
        ("zyx", (14,), 3, "z", "0,5,10 of 15", r"takes 3 frames of every 15, and 14 were found along z, 1 missing"),
        ("zyx", (15,), 1, "z", None, r"takes 1 frame, so there is no axis of raw frames to name"),
        ("qyx", (15,), 1, None, None, r"has 15 raw frames along q, and model takes 1 frame"),
    ],
)
def test_what_does_not_fit_is_told(
    axes: str, shape: tuple[int, ...], wanted: int, axis: str | None, frames: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        find_frames(Image(np.zeros((*shape, 4, 4), np.uint8), axes), "model", wanted, axis, frames)
