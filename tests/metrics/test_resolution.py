"""Resolutions of filaments behind an ideal lens: against its cut-off, closed forms, cubic and nanopyx."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from scipy.special import j0

from fluorsr.errors import InputError
from fluorsr.metrics.decorrelation import decorrelation, decorrelation_curves
from fluorsr.metrics.frc import THRESHOLDS, frc, frc_curve
from fluorsr.metrics.frc_single import SPLITS, frc_single, frc_single_curve
from fluorsr.metrics.rings import tapered
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_blur

PIXEL_UM = 0.025
PHOTONS = 300
CUTOFFS = (100, 200, 300, 400, 500)

RAYLEIGH = 1.22
"""Rayleigh's distance over the finest period that a lens passes: 0.61 wavelength / NA over 0.5 wavelength / NA."""


def exposures(reference: ModuleType, cutoff_nm: float, photons: float = PHOTONS) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = reference.exposures(cutoff_nm, photons)
    return torch.from_numpy(first), torch.from_numpy(second)


@pytest.mark.parametrize("cutoff_nm", CUTOFFS)
def test_known_blur_gives_the_known_resolution(cutoff_nm: int, reference: ModuleType, values: dict[str, Any]) -> None:
    first, second = exposures(reference, cutoff_nm)
    theirs = values["resolutions"][CUTOFFS.index(cutoff_nm)]
    assert theirs["cutoff_nm"] == cutoff_nm
    for threshold in THRESHOLDS:
        two = frc(first, second, pixel_size_um=PIXEL_UM, threshold=threshold).item()
        assert two == pytest.approx(cutoff_nm, rel=0.1)
    assert frc(first, second, pixel_size_um=PIXEL_UM).item() == pytest.approx(theirs["frc_cubic"], rel=0.04)
    for split in SPLITS:
        one = frc_single(first, pixel_size_um=PIXEL_UM, split=split).item()
        # Photons in half: a checkerboard cannot see what is finer than four pixels.
        assert one == pytest.approx(cutoff_nm, rel=0.12 if cutoff_nm == 100 else 0.1)
    # What decorrelation analysis, ours and others', calls the resolution of a lens is Rayleigh's distance.
    alone = decorrelation(first, pixel_size_um=PIXEL_UM).item()
    assert alone == pytest.approx(RAYLEIGH * cutoff_nm, rel=0.1)
    assert alone == pytest.approx(theirs["decorrelation_cubic"], rel=0.07)
    assert alone == pytest.approx(theirs["decorrelation_nanopyx"], rel=0.07)


def test_gain_offset_and_shift_leave_a_resolution_alone(reference: ModuleType) -> None:
    first, second = exposures(reference, 200)
    two = frc(first, second, pixel_size_um=PIXEL_UM).item()
    assert frc(5 * first + 900, second, pixel_size_um=PIXEL_UM).item() == pytest.approx(two)
    alone = decorrelation(first, pixel_size_um=PIXEL_UM).item()
    assert decorrelation(5 * first + 900, pixel_size_um=PIXEL_UM).item() == pytest.approx(alone)
    assert decorrelation(first.roll(7, 0), pixel_size_um=PIXEL_UM).item() == pytest.approx(alone, rel=0.03)
    assert decorrelation(first, pixel_size_um=2 * PIXEL_UM).item() == pytest.approx(2 * alone)
    checker = frc_single(first, pixel_size_um=PIXEL_UM).item()
    assert frc_single(5 * first + 900, pixel_size_um=PIXEL_UM).item() == pytest.approx(checker)


def test_a_shift_leaves_a_bessel_function() -> None:
    """White noise moved by d along x: the mean of cos(2 pi d f cos(angle)) around a ring is J0(2 pi d f)."""
    white = torch.randn(512, 512, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    frequency, correlation, _ = frc_curve(white, white.roll(4, 1))
    error = correlation.numpy()[10:] - j0(2 * math.pi * 4 * frequency.numpy())[10:]
    # A ring of n frequencies scatters by 1 / sqrt(n).
    assert float((error**2).mean()) < 0.07**2
    assert abs(float(error.mean())) < 0.01
    # Told of the shift, it takes it back: the second image's pixel 0 lies at the first's -4.
    assert frc_curve(white, white.roll(4, 1), (0.0, -4.0)).correlation.min() > 0.9


def test_noise_passes_three_sigma_as_often_as_it_should() -> None:
    """Rings of independent noise, three averaged: the threshold is three times their own spread."""
    generator = torch.Generator().manual_seed(2)
    ratios = []
    for _ in range(40):
        _, correlation, members = frc_curve(*torch.randn(2, 128, 128, generator=generator))
        smooth = (correlation[8:-2] + correlation[9:-1] + correlation[10:]) / 3
        ratios.append(3 * smooth / THRESHOLDS["3-sigma"](3 * members[9:-1]))
    assert torch.stack(ratios).std().item() == pytest.approx(1, rel=0.1)


def test_the_half_bit_threshold_by_hand() -> None:
    """For ever more members: 0.2071 / 1.2071, where FRC = S / (S + 1) of half images has half a bit, S = 0.2071."""
    assert THRESHOLDS["half-bit"](torch.tensor([1e12])).item() == pytest.approx(0.17157, abs=1e-4)
    assert math.log2(1 + 2 * 0.2071) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("split", "noises"), [("checkerboard", 4), ("binomial", 2)])
def test_one_image_splits_into_what_its_closed_form_says(split: str, noises: int) -> None:
    """White light of variance P, blurred to T^2 = exp(-4 (pi sigma f)^2), and photon noise of variance N, the mean.

    Halved photons have half the light and half the noise: a power of P / 4 over N / 2 a frequency. A quarter of the
    pixels has all the noise, white, but the light's power is spread over four times the frequencies: P / 4 over N.
    FRC = 1 / (1 + noises N / (T^2 P)), with noises 2 or 4, falls to 1/7 where T^2 P = noises N / 6.
    """
    generator = torch.Generator().manual_seed(7)
    sigma, mean, contrast = 3.0, 400.0, 60.0
    light = gaussian_blur(torch.randn(512, 512, generator=generator, dtype=torch.float64), sigma * FWHM_PER_SIGMA)
    # The blur takes white light of variance 1 to T^2 at each frequency.
    expected = mean + contrast * light
    photons = torch.poisson(expected, generator=generator)
    cutoff = math.sqrt(math.log(6 * contrast**2 / (noises * mean)) / 4) / (math.pi * sigma)
    measured = frc_single(photons, pixel_size_um=0.05, split=split).item()
    assert measured == pytest.approx(50 / cutoff, rel=0.05)


def test_the_checkerboards_shift_is_taken_back() -> None:
    """A noiseless smooth image: its quarters are the same wave at other points."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    wave = torch.cos(2 * math.pi * (x + 0.5 * y) / 9)
    curve = frc_single_curve(wave)
    ring = round(math.hypot(1, 0.5) / 9 * 2 * 64) - 1
    assert curve.correlation[ring].item() > 0.98


def test_decorrelation_curves_obey_their_equation() -> None:
    """Equation 1 summed over pixels of the transform, without rings, at one radius."""
    image = gaussian_blur(torch.rand(65, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), 5.0)
    frequency, curves = decorrelation_curves(image, [math.inf])
    transform = torch.fft.fft2((image - image.mean()) * tapered(65, 0.1))
    f = torch.fft.fftfreq(65, dtype=torch.float64)
    radius = torch.hypot(f[:, None], f[None, :])
    whole = (radius <= 32.5 / 65) & (radius > 0)
    for k in (3, 10, 20):
        inside = (radius < (k + 1.5) / 65) & (radius > 0)
        d = transform[inside].abs().sum() / (transform[whole].abs().square().sum() * inside.sum()).sqrt()
        assert curves[0, k].item() == pytest.approx(d.item(), rel=1e-6)
        assert frequency[k].item() == pytest.approx((k + 1) / 65)


def test_images_without_a_resolution() -> None:
    flat = torch.full((32, 32), 3.0)
    assert decorrelation(flat, pixel_size_um=0.1).item() == math.inf
    assert frc_single(flat, pixel_size_um=0.1).item() == math.inf
    hole = torch.rand(2, 32, 32)
    hole[0, 3, 3] = math.nan
    for metric in (decorrelation, frc_single):
        found = metric(hole, pixel_size_um=0.1)
        assert found.shape == (2,)
        assert found.isnan().tolist() == [True, False]
    assert frc_single(hole[:1], pixel_size_um=0.1, split="binomial").isnan().all()


@pytest.mark.parametrize("metric", [decorrelation, frc_single])
def test_what_has_no_resolution_is_refused(metric: Any) -> None:
    with pytest.raises(InputError, match="needs at least 16 x 16 pixels"):
        metric(torch.rand(1, 1), pixel_size_um=0.1)
    with pytest.raises(InputError, match="pixel_size_um 0 must be above 0"):
        metric(torch.rand(64, 64), pixel_size_um=0)
    with pytest.raises(InputError, match=r"images \[..., Y, X\] are needed"):
        metric(torch.rand(64), pixel_size_um=0.1)
    with pytest.raises(InputError, match="metrics take floating point"):
        metric(torch.ones(64, 64, dtype=torch.int32), pixel_size_um=0.1)


def test_names_and_photons_are_checked() -> None:
    image = torch.rand(64, 64)
    with pytest.raises(InputError, match="there is no threshold '1/2'; there are 1/7, 3-sigma, half-bit"):
        frc(image, image, pixel_size_um=0.1, threshold="1/2")
    with pytest.raises(InputError, match="there is no split 'rows'; there are checkerboard, binomial"):
        frc_single(image, pixel_size_um=0.1, split="rows")
    with pytest.raises(InputError, match="a binomial split takes photons, and -40 is below 0: take off"):
        frc_single(torch.full((64, 64), -40.0), pixel_size_um=0.1, split="binomial")
