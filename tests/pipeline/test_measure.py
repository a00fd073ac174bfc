"""`wiener-sim` and raw frames through the pipeline: tiles agree, what was measured is recorded, wrong input is told."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from torch import Tensor

import fluorsr
from fluorsr.classical.sim_parameters import SimParameters
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
SETTINGS = {"numerical_aperture": 1.4, "emission_nm": 525.0, "damping": 0.9}
SIM = {"model": "wiener-sim", "options": SETTINGS, "dtype": "float32"}


@pytest.fixture(scope="module")
def simulated():
    path = Path(__file__).parents[1] / "classical" / "conftest.py"
    spec = importlib.util.spec_from_file_location("sim_series_of_pipeline", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sim_series_of_pipeline"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def series(simulated):
    return simulated.take(simulated.THREE_BEAMS.model_copy(update={"phase_error_rad": 0.0}), 500, side=128)


@pytest.fixture
def frames(series) -> Tensor:
    return series.frames.flatten(0, 1).clone()


def write(path: Path, stack: Tensor, axis: str = "Z") -> Path:
    """Camera counts as an ImageJ TIFF of 60 nm pixels."""
    counts = stack.round().clamp(0, 65535).numpy().astype(np.uint16)
    size = {"imagej": True, "metadata": {"axes": f"{axis}YX", "unit": "um"}, "resolution": (1 / 0.06, 1 / 0.06)}
    tifffile.imwrite(path, counts, **size)
    return path


def difference(image: np.ndarray, reference: np.ndarray) -> float:
    """RMS difference over the reference's spread, 16 pixels from the edges."""
    inner = (..., slice(16, -16), slice(16, -16))
    return float(np.sqrt(np.mean((image[inner] - reference[inner]) ** 2)) / reference[inner].std())


def test_tiles_agree_with_the_whole_and_the_record_tells_the_stripes(tmp_path: Path, series, frames) -> None:
    source = write(tmp_path / "raw.tif", frames)
    whole = fluorsr.infer(source, tmp_path / "whole.zarr", frames_axis="z", tile=128 + 2 * 34, overlap=0, **SIM)
    fluorsr.infer(source, tmp_path / "tiled.zarr", frames_axis="z", tile=64 + 2 * 34 + 32, overlap=32, **SIM)
    tiled, reference = (open_image(tmp_path / f"{name}.zarr").to_numpy() for name in ("tiled", "whole"))
    assert difference(tiled, reference) < 0.01
    inner = reference[64:-64, 64:-64]  # at the image's edges light is missing that lies beyond them
    assert float(inner.mean()) == pytest.approx(float(frames[:, 32:-32, 32:-32].mean()), rel=0.02)
    measured = zarr.open_group(tmp_path / "whole.zarr", mode="r").attrs["fluorsr"]["measured"]
    assert len(measured) == 1
    assert measured[0]["period_nm"] == pytest.approx([494] * 3, rel=1e-3)
    found = SimParameters.from_json(measured[0])
    turned = torch.remainder(torch.rad2deg(found.phase_rad - series.stripes.phase_rad.reshape(3, 5)) + 180, 360) - 180
    assert float(turned.abs().max()) < 3
    assert any("not exact" in note for note in whole.notes)


def test_every_plane_has_its_own_stripes_and_workers_change_no_byte(tmp_path: Path, simulated, frames) -> None:
    other = simulated.THREE_BEAMS.model_copy(update={"first_phases_rad": (3.0, 1.0, 0.2), "phase_error_rad": 0.0})
    second = simulated.take(other, 500).frames.flatten(0, 1)
    source = write(tmp_path / "lapse.tif", torch.cat([frames, second]), "T")
    options = {"frames_axis": "t", "tile": 196, "overlap": 0, **SIM}
    fluorsr.infer(source, tmp_path / "one.zarr", **options)
    fluorsr.infer(source, tmp_path / "two.zarr", workers=2, **options)
    one, two = (open_image(tmp_path / f"{name}.zarr").to_numpy() for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    last = fluorsr.restore(
        Image(second.round().numpy().astype(np.uint16), "zyx", {"y": 0.06, "x": 0.06}),
        "wiener-sim",
        frames_axis="z",
        options=SETTINGS,
        dtype="float32",
    )
    assert difference(one[1], last.to_numpy()) < 0.02
    assert fluorsr.verify(tmp_path / "two.zarr").complete
    summary = fluorsr.infer(source, tmp_path / "one.zarr", resume=True, **options)
    assert summary.blocks_resumed == summary.blocks


def test_a_plane_without_stripes_takes_those_of_its_neighbour(tmp_path: Path, frames) -> None:
    generator = torch.Generator().manual_seed(0)
    dark = 100 + 3 * torch.randn(frames.shape, generator=generator, dtype=torch.float64)
    source = write(tmp_path / "lapse.tif", torch.cat([frames, dark]), "T")
    notes: list[str] = []
    fluorsr.infer(source, tmp_path / "out.zarr", frames_axis="t", check_frames=False, tell=notes.append, **SIM)
    assert any("1 of 2 planes show no stripes above their noise (the first: t 1)" in note for note in notes)
    measured = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["fluorsr"]["measured"]
    assert measured[0] == measured[1]
    with pytest.raises(InputError, match="t 1: the frames hold no structure above their noise"):
        fluorsr.infer(source, tmp_path / "no.zarr", frames_axis="t", t="1", **SIM)


def told(tmp_path: Path, stack: Tensor, **options: object) -> str:
    """What is said of frames that a 15-frame method is given; nothing may be written."""
    source = write(tmp_path / "wrong.tif", stack)
    with pytest.raises(InputError) as caught:
        fluorsr.infer(source, tmp_path / "out.zarr", frames_axis="z", **{**SIM, **options})
    assert not (tmp_path / "out.zarr").exists()
    return str(caught.value)


def test_wrong_input_is_told_before_any_computing(tmp_path: Path, frames) -> None:
    assert "takes 15 frames, and 14 were found along z, 1 missing" in told(tmp_path, frames[:14])
    by_phase = frames.reshape(3, 5, 128, 128).transpose(0, 1).flatten(0, 1)
    message = told(tmp_path, by_phase)
    assert "the frames are not angle-major, 3 angles x 5 phases" in message
    assert "if the frames are phase-major, 3 angles x 5 phases" in message
    blank = frames.clone()
    blank[7] = 100
    assert "frame 7 of 15 (counted from 0) is blank" in told(tmp_path, blank)
    bright = frames.clone()
    bright[4] = bright[4].clamp(max=float(torch.quantile(bright[4], 0.97)))
    assert "frame 4 of 15 (counted from 0) is saturated" in told(tmp_path, bright)
    drifted = frames.clone()
    drifted[5:10] = drifted[5:10].roll(3, -1)
    assert "the specimen moved between the angles" in told(tmp_path, drifted)
    assert "anglez: Extra inputs" in told(tmp_path, frames, options={"anglez": 3})


def test_another_order_is_put_right(tmp_path: Path, frames) -> None:
    by_phase = frames.reshape(3, 5, 128, 128).transpose(0, 1).flatten(0, 1)
    fluorsr.infer(write(tmp_path / "a.tif", frames), tmp_path / "a.zarr", frames_axis="z", **SIM)
    source = write(tmp_path / "b.tif", by_phase)
    fluorsr.infer(source, tmp_path / "b.zarr", frames_axis="z", frame_order="phase", **SIM)
    np.testing.assert_array_equal(*(open_image(tmp_path / f"{name}.zarr").to_numpy() for name in "ab"))


def test_a_network_is_told_too(tmp_path: Path, frames, save_script) -> None:
    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Conv2d(15, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x)

    model = save_script(Mean(), tmp_path / "mean.pt")
    by_phase = frames.reshape(3, 5, 128, 128).transpose(0, 1).flatten(0, 1)
    assert "if the frames are phase-major" in told(tmp_path, by_phase, model=model, options=None)
    fluorsr.infer(tmp_path / "wrong.tif", tmp_path / "anyway.zarr", model=model, frames_axis="z", check_frames=False)
    noise = 100 + 50 * torch.rand(15, 96, 96, generator=torch.Generator().manual_seed(0))
    notes: list[str] = []
    source = write(tmp_path / "noise.tif", noise)
    fluorsr.infer(source, tmp_path / "noise.zarr", model=model, frames_axis="z", tell=notes.append)
    assert any("the order of the frames could not be checked: no stripes were found" in note for note in notes)


def test_other_classical_methods_by_name(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).poisson(100, (60, 50)).astype(np.uint16)
    image = Image(pixels, "yx", {"y": 0.06, "x": 0.06})
    assert fluorsr.restore(image, "bicubic", options={"scale": 4}).shape == (240, 200)
    sharp = fluorsr.restore(image, "richardson-lucy", options={"iterations": 5})
    same = fluorsr.restore(Image(pixels, "yx"), "richardson-lucy", options={"iterations": 5, "fwhm_px": 280 / 60})
    np.testing.assert_array_equal(sharp.to_numpy(), same.to_numpy())
    with pytest.raises(InputError, match="does not tell its pixel size, so a spot of 280 nm"):
        fluorsr.restore(Image(pixels, "yx"), "richardson-lucy")
    with pytest.raises(InputError, match="bicubic runs on the CPU in fp32, not on cuda"):
        fluorsr.restore(image, "bicubic", device="cuda")
    with pytest.raises(InputError, match="is a network, which has no options"):
        fluorsr.restore(image, options={"scale": 2})


@needs_data
def test_real_frames_through_the_pipeline(tmp_path: Path) -> None:
    """As the wiener test of one whole field, but from a file and tiled; and the same field at 1/100 of the light."""
    raw = tifffile.imread(DATA / "fov1_high_light_raw.tif").astype(np.float64)
    camera = torch.from_numpy(raw).reshape(15, 128, 2, 128, 2).mean((2, 4))
    source = write(tmp_path / "fov1.tif", camera)
    settings = {"numerical_aperture": 1.49, "emission_nm": 600.0}
    options = {"model": "wiener-sim", "options": settings, "dtype": "float32", "frames_axis": "z"}
    fluorsr.infer(source, tmp_path / "tiled.zarr", tile=64 + 68 + 64, overlap=64, **options)
    fluorsr.infer(source, tmp_path / "whole.zarr", **options)
    tiled, whole = (open_image(tmp_path / f"{name}.zarr") for name in ("tiled", "whole"))
    assert difference(tiled.to_numpy(), whole.to_numpy()) < 0.05
    reference = tifffile.imread(DATA / "fov1_high_light_sim.tif").astype(np.float64)
    pixels = whole.read(PlaneIndex(), slice(8, -8), slice(8, -8)).astype(np.float64)
    assert np.corrcoef(pixels.ravel(), reference[8:-8, 8:-8].ravel())[0, 1] > 0.9
    dark = tifffile.imread(DATA / "fov1_low_light_raw.tif").astype(np.float64).reshape(15, 128, 2, 128, 2).mean((2, 4))
    # A hundredth of the light: the vectors come from single frames' autocorrelation, and go into the record too.
    fluorsr.infer(write(tmp_path / "dark.tif", torch.from_numpy(dark)), tmp_path / "dark.zarr", **options)
    restored = open_image(tmp_path / "dark.zarr").read(PlaneIndex(), slice(8, -8), slice(8, -8)).astype(np.float64)
    wide = dark.mean(0).repeat(2, 0).repeat(2, 1)[8:-8, 8:-8]
    alike = [np.corrcoef(image.ravel(), reference[8:-8, 8:-8].ravel())[0, 1] for image in (restored, wide)]
    assert alike[0] > alike[1] + 0.05
