"""Structural similarity (Wang et al. 2004, IEEE Trans. Image Process. 13, 600)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_kernel

SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03
STRIP = 512
"""Rows compared at a time, which bounds the memory for large images."""


def ssim(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0) -> Tensor:
    """Mean SSIM over the pixels whose whole window lies inside: [..., Y, X] twice -> [...] float64.

    Window: 11 x 11 Gaussian of sigma 1.5 (the paper's section III-B), K1 = 0.01, K2 = 0.03, population covariances.
    The pixel size does not matter. Raises InputError for images smaller than the window.
    """
    check_pair(prediction, target, data_range)
    rows, columns = target.shape[-2:]
    if min(rows, columns) <= 2 * RADIUS:
        raise InputError(f"SSIM needs images of at least 11 x 11 pixels, not {rows} x {columns}")
    kernel = gaussian_kernel(SIGMA * FWHM_PER_SIGMA, RADIUS).to(target.device)
    x_all, y_all = (images.reshape(-1, 1, rows, columns) for images in (prediction, target))
    total = torch.zeros(x_all.shape[0], dtype=torch.float64, device=target.device)
    for first in range(0, rows - 2 * RADIUS, STRIP):
        strip = slice(first, min(first + STRIP, rows - 2 * RADIUS) + 2 * RADIUS)
        x, y = x_all[:, :, strip].double(), y_all[:, :, strip].double()
        total += _similarity(x, y, kernel, data_range).sum((1, 2, 3))
    return (total / ((rows - 2 * RADIUS) * (columns - 2 * RADIUS))).reshape(target.shape[:-2])


def _similarity(x: Tensor, y: Tensor, kernel: Tensor, data_range: float) -> Tensor:
    """The SSIM map of [N, 1, Y, X]: equation 13, from the local means, variances and covariance (eqs. 14 to 16)."""

    def local(images: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(images, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))

    mu_x, mu_y = local(x), local(y)
    sigma_x2, sigma_y2 = local(x * x) - mu_x**2, local(y * y) - mu_y**2
    sigma_xy = local(x * y) - mu_x * mu_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similarity: Tensor = ((2 * mu_x * mu_y + c1) * (2 * sigma_xy + c2)) / (
        (mu_x**2 + mu_y**2 + c1) * (sigma_x2 + sigma_y2 + c2)
    )
    return similarity
