"""MS-SSIM, NRMSE and Pearson against scikit-image and numpy; constant and tiny images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_root_mse, structural_similarity

from fluorsr.errors import InputError
from fluorsr.metrics.ms_ssim import SMALLEST, WEIGHTS, ms_ssim
from fluorsr.metrics.nrmse import NORMS, nrmse
from fluorsr.metrics.pearson import pearson
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.ssim import ssim
from fluorsr.optics.psf import gaussian_blur


def pair(*shape: int, noise: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    target = gaussian_blur(torch.rand(*shape, generator=generator, dtype=torch.float64), 4.0)
    return target + noise * torch.randn(*shape, generator=generator, dtype=torch.float64), target


def halve(image: np.ndarray) -> np.ndarray:
    image = np.pad(image, [(0, n % 2) for n in image.shape], mode="edge")
    return (image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]) / 4


@pytest.mark.parametrize("shape", [(161, 161), (177, 203), (256, 192)])
def test_ms_ssim_is_made_of_scikit_images_ssim(shape: tuple[int, int]) -> None:
    """With K1 without bounds, scikit-image's SSIM is its contrast-structure term alone: luminance becomes 1."""
    prediction, target = pair(*shape)
    x, y, expected = prediction.numpy(), target.numpy(), 1.0
    for scale, weight in enumerate(WEIGHTS):
        whole = structural_similarity(
            y,
            x,
            data_range=0.7,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01 if scale == 4 else 1e6,
        )
        expected *= whole**weight
        x, y = halve(x), halve(y)
    assert ms_ssim(prediction, target, data_range=0.7).item() == pytest.approx(expected, abs=1e-9)
    assert ms_ssim(target, target, data_range=0.7).item() == pytest.approx(1, abs=1e-12)


def test_ms_ssim_of_opposites_is_zero_and_small_images_are_refused() -> None:
    _, target = pair(SMALLEST, SMALLEST)
    assert ms_ssim(target.mean() * 2 - target, target, data_range=0.1).item() == 0
    with pytest.raises(InputError, match="at least 161 x 161 pixels, not 160 x 300"):
        ms_ssim(torch.rand(160, 300), torch.rand(160, 300), data_range=1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_nrmse_is_scikit_images(norm: str) -> None:
    prediction, target = pair(3, 40, 33)
    ours = nrmse(prediction, target, data_range=1.0, norm=norm)
    for k in range(3):
        theirs = normalized_root_mse(target[k].numpy(), prediction[k].numpy(), normalization=norm)
        assert ours[k].item() == pytest.approx(theirs, rel=1e-10)
    with pytest.raises(InputError, match="there is no norm 'max'; there are euclidean, min-max, mean"):
        nrmse(prediction, target, data_range=1.0, norm="max")


def test_pearson_is_numpys_whatever_the_gain_and_offset() -> None:
    prediction, target = pair(3, 40, 33)
    expected = [
        np.corrcoef(p.ravel(), t.ravel())[0, 1] for p, t in zip(prediction.numpy(), target.numpy(), strict=True)
    ]
    for image in (prediction, 7 * prediction + 1e4):
        torch.testing.assert_close(pearson(image, target), torch.tensor(expected), rtol=1e-9, atol=1e-9)
    assert pearson(-target, target).tolist() == pytest.approx([-1, -1, -1])
    # A shift by one pixel of noise leaves nothing in common.
    noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    assert abs(pearson(noise.roll(1, 1), noise).item()) < 0.02


def test_constant_images() -> None:
    flat, ramp = torch.full((20, 20), 0.1), torch.arange(400.0).reshape(20, 20)
    assert math.isnan(pearson(flat, ramp).item())
    assert math.isnan(pearson(flat, flat).item())
    assert psnr(flat, flat, data_range=1.0).item() == math.inf
    assert ssim(flat, flat, data_range=1.0).item() == pytest.approx(1)
    assert math.isnan(nrmse(0 * flat, 0 * flat, data_range=1.0).item())
    assert nrmse(flat, 0 * flat, data_range=1.0).item() == math.inf
    assert nrmse(2 * flat, flat, data_range=1.0).item() == pytest.approx(1)


def test_one_pixel() -> None:
    """By hand: 3 for 4 is an error of 1: 10 log10(2^2 / 1) = 6.02 dB, 1 / 4 of the target."""
    prediction, target = torch.tensor([[3.0]]), torch.tensor([[4.0]])
    assert psnr(prediction, target, data_range=2.0).item() == pytest.approx(20 * math.log10(2))
    assert nrmse(prediction, target, data_range=2.0).item() == 0.25
    assert math.isnan(pearson(prediction, target).item())


def test_float32_images_lose_nothing_to_a_large_offset() -> None:
    """Sums of 16-bit counts are float64: the same images as float32 give the same figures."""
    prediction, target = ((1000 * images + 30000).round() for images in pair(300, 300))
    for metric in (psnr, nrmse, pearson, ssim, ms_ssim):
        exact = metric(prediction, target, data_range=700.0).item()
        assert metric(prediction.float(), target.float(), data_range=700.0).item() == pytest.approx(exact, rel=1e-6)
