"""PSNR and SSIM against scikit-image, FRC against its closed form, the fit against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fluorsr.errors import InputError
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.frc import frc, frc_curve
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.registry import ALL_METRICS, METRICS
from fluorsr.metrics.rings import BLOCK
from fluorsr.metrics.ssim import ssim
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_blur


def images(*shape: int, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    target = gaussian_blur(torch.rand(*shape, generator=generator, dtype=torch.float64), 4.0)
    return target + noise * torch.randn(*shape, generator=generator, dtype=torch.float64), target


def test_psnr_is_scikit_images() -> None:
    prediction, target = images(3, 40, 33)
    ours = psnr(prediction, target, data_range=0.7)
    assert ours.shape == (3,)
    for k in range(3):
        theirs = peak_signal_noise_ratio(target[k].numpy(), prediction[k].numpy(), data_range=0.7)
        assert ours[k].item() == pytest.approx(theirs, abs=1e-10)
    assert psnr(target, target, data_range=1.0)[0].item() == math.inf


@pytest.mark.parametrize("shape", [(11, 11), (37, 64), (1100, 20)])
def test_ssim_is_scikit_images(shape: tuple[int, int]) -> None:
    prediction, target = images(*shape, noise=0.05)
    theirs = structural_similarity(
        target.numpy(),
        prediction.numpy(),
        data_range=0.7,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(prediction, target, data_range=0.7).item() == pytest.approx(theirs, abs=1e-10)
    assert ssim(target, target, data_range=0.7).item() == pytest.approx(1, abs=1e-12)


def test_frc_of_independent_noise_is_none_and_of_equal_images_is_one() -> None:
    first, second = torch.randn(2, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    correlation = frc_curve(first, second).correlation
    assert correlation[20:].abs().max() < 0.3
    assert correlation[20:].mean().abs() < 0.02
    assert frc(first, second, pixel_size_um=0.03).item() > 1000
    frequency, correlation, _ = frc_curve(first, first)
    assert correlation == pytest.approx(1, abs=1e-12)
    assert frequency[-1] == 0.5
    assert frc(first, first, pixel_size_um=0.03).item() == pytest.approx(60)


def test_frc_finds_where_signal_meets_noise() -> None:
    """White light blurred to |F|^2 = T^2, plus white noise of power N in one image: FRC = T / sqrt(T^2 + N).

    It falls to 1/7 where T^2 = N / 48, and T = exp(-2 (pi sigma f)^2).
    """
    generator = torch.Generator().manual_seed(3)
    white, noise = torch.randn(2, 512, 512, dtype=torch.float64, generator=generator)
    sigma, power = 1.5, 0.01
    target = gaussian_blur(white, sigma * FWHM_PER_SIGMA)
    expected = math.sqrt(-math.log(power / 48) / 4) / (math.pi * sigma)
    measured = frc(target + math.sqrt(power) * noise, target, pixel_size_um=0.05).item()
    assert measured == pytest.approx(50 / expected, rel=0.04)


def test_frc_adds_up_the_blocks_of_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, target = images(64, 64)
    monkeypatch.setattr("fluorsr.metrics.rings.BLOCK", 64)
    tiled = [image.repeat(2, 3) for image in (prediction, target)]
    torch.testing.assert_close(frc_curve(*tiled).correlation, frc_curve(prediction, target).correlation)
    assert BLOCK == 1024


def test_the_fit_is_numpys_least_squares() -> None:
    prediction, target = images(2, 20, 30)
    fitted = fit_intensity(3 * prediction - 40, target)
    for k in range(2):
        slope, offset = np.polyfit(prediction[k].numpy().ravel(), target[k].numpy().ravel(), 1)
        np.testing.assert_allclose(fitted[k].numpy(), slope * prediction[k].numpy() + offset, atol=1e-9)
    flat = fit_intensity(torch.full((5, 5), 2.0), torch.arange(25.0).reshape(5, 5))
    assert torch.equal(flat, torch.full((5, 5), 12.0))


@pytest.mark.parametrize("name", ALL_METRICS)
def test_every_metric_refuses_what_cannot_be_compared(name: str) -> None:
    metric = ALL_METRICS[name].function
    image = torch.rand(20, 20)
    with pytest.raises(InputError, match=r"two images of one shape .* not \(20, 20\) and \(20, 19\)"):
        metric(image, image[:, 1:], data_range=1.0, pixel_size_um=0.1)
    with pytest.raises(InputError, match=r"data_range 0.0 must be above 0"):
        metric(image, image, data_range=0.0, pixel_size_um=0.1)
    with pytest.raises(InputError, match=r"metrics take floating point, not torch.int64"):
        metric(image.long(), image.long(), data_range=1.0, pixel_size_um=0.1)


def test_images_too_small_are_refused() -> None:
    image = torch.rand(10, 30)
    with pytest.raises(InputError, match="at least 11 x 11 pixels, not 10 x 30"):
        ssim(image, image, data_range=1.0)
    with pytest.raises(InputError, match="at least 16 x 16 pixels"):
        frc(image, image, pixel_size_um=0.1)
    with pytest.raises(InputError, match="pixel_size_um 0 must be above 0"):
        frc(torch.rand(20, 20), torch.rand(20, 20), pixel_size_um=0)


@pytest.mark.parametrize("name", [name for name in ALL_METRICS if "lpips" not in name])
def test_every_metric_says_nan_of_nan_and_takes_stacks(name: str) -> None:
    metric = ALL_METRICS[name].function
    prediction, target = images(2, 3, 176, 176)
    prediction[1, 2, 5, 5] = math.nan
    values = metric(prediction, target, data_range=1.0, pixel_size_um=0.1)
    assert values.shape == (2, 3)
    assert values.dtype == torch.float64
    assert values.isnan().tolist() == [[False] * 3, [False, False, True]]
    assert math.isnan(ALL_METRICS[name].mean(values.flatten().tolist()))
    one = metric(prediction[0, 1], target[0, 1], data_range=1.0, pixel_size_um=0.1)
    assert values[0, 1].item() == pytest.approx(one.item(), rel=1e-12)
    assert (metric(target, target, data_range=1.0, pixel_size_um=0.1)[0, 0] > one) == ALL_METRICS[name].higher_is_better


def test_a_mean_of_resolutions_counts_none_as_zero_frequency() -> None:
    assert METRICS["frc"].mean([100.0, math.inf]) == pytest.approx(200)
    assert METRICS["frc"].mean([math.inf]) == math.inf
    assert set(METRICS) < set(ALL_METRICS)
