"""The sharper image of a pair is found over structures, light levels and noise in either image."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from fluorsr.data.registration import measure_shift
from fluorsr.data.sharpness import Sharpness, all_inputs_sharper, compare_sharpness
from fluorsr.data.simulate import simulate_field

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
STRUCTURES = ("microtubules", "vesicles", "nuclei")


@cache
def pair(structure: str, photons: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Input, truth and a noisy photon-limited image of the truth, [Y, X] on the input's pixels of 60 nm."""
    field = simulate_field(160, structure, seed, photons=photons, haze=0.3, thickness=0.0)
    truth = torch.nn.functional.avg_pool2d(torch.from_numpy(field.target)[None, None].double(), 2)[0, 0]
    light = (truth - truth.min()) / (truth.max() - truth.min())
    generator = torch.Generator().manual_seed(seed)
    dim = torch.poisson(40 * light + 1, generator=generator) + torch.randn(light.shape, generator=generator)
    return torch.from_numpy(field.degraded[0].astype(np.float32)), truth, dim


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("photons", [3, 30, 1000])
def test_a_right_pair_is_never_called_swapped(structure: str, photons: float) -> None:
    for seed in (1, 2, 3):
        pixels, truth, dim = pair(structure, photons, seed)
        assert compare_sharpness(pixels, truth).verdict != "input"
        assert compare_sharpness(pixels, dim).verdict != "input"
        assert compare_sharpness(truth, pixels).verdict != "target"
        assert compare_sharpness(dim, pixels).verdict != "target"


@pytest.mark.parametrize("structure", STRUCTURES[:2])
@pytest.mark.parametrize("photons", [30, 1000])
@pytest.mark.parametrize("clean", [True, False])
def test_a_swapped_pair_is_found_though_its_noise_looks_sharp(structure: str, photons: float, clean: bool) -> None:
    for seed in (1, 2, 3):
        pixels, truth, dim = pair(structure, photons, seed)
        assert compare_sharpness(truth if clean else dim, pixels).verdict == "input"
        assert compare_sharpness(pixels, truth if clean else dim).verdict == "target"


def test_the_blur_is_the_difference_of_the_two_spots() -> None:
    """254 nm and 110 nm on 60 nm pixels: sqrt(254^2 - 110^2) / 60 = 3.82 pixels, of a specimen almost in focus."""
    for seed in (1, 2, 3):
        pixels, truth, _ = pair("microtubules", 1000, seed)
        assert compare_sharpness(pixels, truth).blur_px == pytest.approx(3.82, abs=0.3)
        assert compare_sharpness(truth, pixels).blur_px == pytest.approx(-3.82, abs=0.3)


def test_a_known_gaussian_blur_is_measured() -> None:
    sharp = torch.nn.functional.avg_pool2d(
        torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0)), 3, 1, 1
    )
    fy, fx = torch.fft.fftfreq(256)[:, None], torch.fft.rfftfreq(256)[None, :]
    sigma = 3.0 / 2.3548
    blurred = torch.fft.irfft2(torch.fft.rfft2(sharp[0, 0]) * torch.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)))
    assert compare_sharpness(blurred, sharp[0, 0]).blur_px == pytest.approx(3.0, abs=0.05)


def test_equally_sharp_images_are_unclear_whatever_their_noise() -> None:
    """Two exposures of one view, as in a set for denoising: neither is the sharper."""
    _, truth, dim = pair("microtubules", 100, 1)
    assert compare_sharpness(truth, truth).verdict == "unclear"
    blur = abs(compare_sharpness(dim, truth).blur_px)
    assert blur < 1.5


def test_dim_pairs_tell_together_what_none_tells_alone() -> None:
    """Nuclei have little fine structure: most pairs are unclear, but a swapped folder is not."""
    right, swapped = [], []
    for seed in range(1, 9):
        pixels, truth, _ = pair("nuclei", 100, seed)
        right.append(compare_sharpness(pixels, truth))
        swapped.append(compare_sharpness(truth, pixels))
    assert all_inputs_sharper(swapped)
    assert not all_inputs_sharper(right)
    assert not all_inputs_sharper([Sharpness(-5.0, 0.1, "input")] * 2)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not at {DATA}")
@pytest.mark.parametrize("name", ["fov1_high_light", "fov2_high_light", "fov3_high_light", "fov1_low_light"])
def test_real_wide_field_and_sim(name: str) -> None:
    raw = torch.from_numpy(tifffile.imread(DATA / f"{name}_raw.tif").astype(np.float32)).mean(0)
    sim = torch.from_numpy(tifffile.imread(DATA / f"{name}_sim.tif").astype(np.float32))
    shift = measure_shift(raw, sim)
    assert shift.related
    assert shift.length < 1.5
    assert compare_sharpness(raw, sim, (shift.y, shift.x)).verdict == "target"
    assert compare_sharpness(sim, raw, (-shift.y, -shift.x)).verdict == "input"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not at {DATA}")
def test_real_frames_of_other_fields_are_no_pairs() -> None:
    raw = torch.from_numpy(tifffile.imread(DATA / "fov1_high_light_raw.tif").astype(np.float32)).mean(0)
    other = torch.from_numpy(tifffile.imread(DATA / "fov2_high_light_sim.tif").astype(np.float32))
    assert not measure_shift(raw, other).related
