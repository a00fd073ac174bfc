"""The Gaussian spot against scipy, its own definition, and Fourier's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fluorsr.errors import InputError
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_blur, gaussian_kernel, gaussian_otf, gaussian_radius


def test_kernel_sums_to_one_and_halves_at_half_the_width() -> None:
    kernel = gaussian_kernel(8.0, 40)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-15)
    assert (kernel[44] / kernel[40]).item() == pytest.approx(0.5, abs=1e-12)
    assert torch.equal(kernel, kernel.flip(0))


def test_blur_is_scipys() -> None:
    image = np.random.default_rng(1).random((31, 45))
    sigma = 2.3
    radius = gaussian_radius(sigma * FWHM_PER_SIGMA)
    ours = gaussian_blur(torch.from_numpy(image)[None], sigma * FWHM_PER_SIGMA)[0]
    theirs = gaussian_filter(image, sigma, mode="nearest", radius=radius)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-13)


def test_blur_differentiates_in_the_width() -> None:
    image = torch.rand(9, 9, dtype=torch.float64)
    width = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: gaussian_blur(image, w, radius=6), (width,))


def test_transfer_function_is_the_kernels_transform() -> None:
    size, fwhm = 64, 7.0
    kernel = torch.roll(gaussian_kernel(fwhm, 31), -31)
    spot = torch.zeros(size, size, dtype=torch.float64)
    spot[torch.arange(-31, 32)[:, None], torch.arange(-31, 32)] = torch.outer(*[gaussian_kernel(fwhm, 31)] * 2)
    assert kernel[0] == kernel.max()
    np.testing.assert_allclose(torch.fft.rfft2(spot).real.numpy(), gaussian_otf((size, size), fwhm), atol=1e-6)
    assert bool((gaussian_otf((8, 10), 0.0) == 1).all())


def test_widths_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"a width above 0 and a radius of at least 0, not 0.0 and 3"):
        gaussian_kernel(0.0, 3)
