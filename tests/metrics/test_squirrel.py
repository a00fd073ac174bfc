"""SQUIRREL against nanopyx, known blurs, and images with something lost, moved or added; power spectra."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.metrics.spectrum import power_kept, power_spectrum
from fluorsr.metrics.squirrel import squirrel
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_blur

PIXEL_UM = 0.025


def test_it_is_nanopyx_but_for_the_edges(reference: ModuleType, values: dict[str, Any]) -> None:
    """nanopyx mirrors the image at its edges, which we repeat. A plain search over widths does it either way.

    It gives nanopyx's figures to its float32, and ours as far as our transforms fade at the edges.
    """
    sharp, blurred = reference.restored_and_input()
    theirs = values["squirrel"]

    def compare(sigma: float, edges: str) -> tuple[float, float]:
        image = gaussian_filter(sharp, sigma, mode=edges)
        gain, offset = np.polyfit(image.ravel(), blurred.ravel(), 1)
        rse = np.sqrt(np.mean((gain * image + offset - blurred) ** 2))
        return float(rse), float(np.corrcoef(image.ravel(), blurred.ravel())[0, 1])

    def search(edges: str) -> float:
        return float(minimize_scalar(lambda s: compare(s, edges)[0], bounds=(0.5, 20), method="bounded").x)

    sigma = search("reflect")
    assert sigma == pytest.approx(theirs["sigma_px"], rel=1e-4)
    assert compare(sigma, "reflect") == pytest.approx((theirs["rse"], theirs["rsp"]), rel=1e-4)
    ours = squirrel(torch.from_numpy(sharp), torch.from_numpy(blurred), pixel_size_um=PIXEL_UM)
    sigma = search("nearest")
    assert ours.fwhm_nm.item() == pytest.approx(sigma * FWHM_PER_SIGMA * 25, rel=0.02)
    assert (ours.rse.item(), ours.rsp.item()) == pytest.approx(compare(sigma, "nearest"), rel=2e-3)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("fwhm_nm", [100, 200, 300, 400, 500])
def test_the_known_blur_is_found(fwhm_nm: int, scale: int, reference: ModuleType) -> None:
    sharp = gaussian_blur(torch.from_numpy(reference.filaments(512)), 3.0)
    blurred = functional.avg_pool2d(gaussian_blur(sharp, fwhm_nm / 25)[None], scale)[0]
    generator = torch.Generator().manual_seed(fwhm_nm)
    image = torch.poisson(blurred / blurred.max() * 200, generator=generator) + 100
    found = squirrel(sharp, image, pixel_size_um=PIXEL_UM * scale)
    assert found.fwhm_nm.item() == pytest.approx(fwhm_nm, rel=0.02)
    assert found.gain.item() == pytest.approx(200 / blurred.max().item(), rel=0.02)
    assert found.offset.item() == pytest.approx(100, abs=0.5)
    # What is left is the photons' own noise.
    assert found.rse.item() == pytest.approx((image - 100).mean().sqrt().item(), rel=0.03)
    assert found.error_map.shape == image.shape
    assert found.rsp.item() > 0.97


def test_what_is_lost_moved_or_added_shows(reference: ModuleType) -> None:
    sharp, blurred = (torch.from_numpy(image) for image in reference.restored_and_input())
    good = squirrel(sharp, blurred, pixel_size_um=PIXEL_UM)
    lost, added = sharp.clone(), sharp.clone()
    lost[:, :96] = sharp.min()
    added[90:93] += sharp.max()
    for wrong in (lost, added, sharp.roll(8, 1), sharp.flip(0)):
        bad = squirrel(wrong, blurred, pixel_size_um=PIXEL_UM)
        assert bad.rsp < good.rsp - 0.02
        assert bad.rse > 1.3 * good.rse
    half = squirrel(lost, blurred, pixel_size_um=PIXEL_UM).error_map
    row = squirrel(added, blurred, pixel_size_um=PIXEL_UM).error_map.mean(1)
    assert half[:, :96].mean() > half[:, 96:].mean()
    assert abs(int(row.argmax()) - 91) < 12


def test_gain_and_offset_of_the_restored_image_do_not_matter(reference: ModuleType) -> None:
    sharp, blurred = (torch.from_numpy(image) for image in reference.restored_and_input())
    one = squirrel(sharp, blurred, pixel_size_um=PIXEL_UM)
    other = squirrel(0.01 * sharp + 5, blurred, pixel_size_um=PIXEL_UM)
    assert other.rsp.item() == pytest.approx(one.rsp.item(), abs=1e-5)
    assert other.gain.item() == pytest.approx(100 * one.gain.item(), rel=1e-3)


def test_an_image_explains_itself_without_blur(reference: ModuleType) -> None:
    _, blurred = (torch.from_numpy(image) for image in reference.restored_and_input())
    found = squirrel(blurred, blurred, pixel_size_um=PIXEL_UM)
    assert found.fwhm_nm.item() == pytest.approx(0, abs=0.1)
    assert found.rsp.item() == pytest.approx(1)
    assert found.rse.item() == pytest.approx(0, abs=1e-3)


def test_stacks_nan_and_constant_images() -> None:
    restored = torch.rand(3, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    images = functional.avg_pool2d(restored, 2)
    images[1, 0, 3, 3] = math.nan
    restored[2, 1] = 4.0
    found = squirrel(restored, images, pixel_size_um=0.05)
    assert found.error_map.shape == (3, 2, 32, 32)
    assert found.rsp.isnan().tolist() == [[False, False], [True, False], [False, True]]
    assert found.error_map[1, 0].isnan().all()
    assert found.rse[2, 1].item() == pytest.approx(images[2, 1].double().std(correction=0).item())
    assert found.gain[2, 1] == 0


def test_shapes_are_checked() -> None:
    for shape in ((65, 64), (32, 64), (16, 16), (2, 64, 64)):
        with pytest.raises(InputError, match="a restored image is a whole multiple of its input along y and x, not"):
            squirrel(torch.rand(shape), torch.rand(32, 32), pixel_size_um=0.1)
    with pytest.raises(InputError, match="SQUIRREL needs at least 16 x 16 pixels, not 1 x 1"):
        squirrel(torch.rand(1, 1), torch.rand(1, 1), pixel_size_um=0.1)


@pytest.mark.parametrize("shape", [(64, 64), (100, 300), (33, 33)])
def test_white_noise_has_its_variance_at_every_frequency(shape: tuple[int, int]) -> None:
    noise = 3 * torch.randn(20, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 500
    frequency, power = power_spectrum(noise)
    assert power.shape == (20, min(shape) // 2)
    assert frequency[-1].item() <= 0.5
    assert power.mean(0)[4:] == pytest.approx(9, rel=0.25)
    assert power[:, 2:].mean().item() == pytest.approx(9, rel=0.02)


def test_the_power_kept_by_a_blur_is_its_transfer_function() -> None:
    white = torch.randn(512, 512, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    sigma = 1.0
    kept = power_kept(gaussian_blur(white, sigma * FWHM_PER_SIGMA), white, bands=(0.0, 0.25, 0.5, 1.0))
    f = torch.linspace(0, 0.5, 4001, dtype=torch.float64)
    transfer = torch.exp(-4 * (math.pi * sigma * f) ** 2) * f
    for k, (low, high) in enumerate(((0.0, 0.125), (0.125, 0.25), (0.25, 0.5))):
        band = (f > low) & (f <= high)
        assert kept[k].item() == pytest.approx((transfer[band].sum() / f[band].sum()).item(), rel=0.05)
    assert power_kept(2 * white + 9, white).tolist() == pytest.approx([4, 4, 4, 4])
    with pytest.raises(InputError, match=r"no frequency lies in the band 0.0 to 0.01"):
        power_kept(white[:32, :32], white[:32, :32], bands=(0.0, 0.01, 1.0))
