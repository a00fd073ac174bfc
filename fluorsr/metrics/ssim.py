"""Structural similarity (Wang et al. 2004, IEEE Trans. Image Process. 13, 600)."""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.blur import separable
from fluorsr.metrics.check import check_pair
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_kernel

SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03
STRIP = 128
"""Rows compared at a time, which bounds the memory for large images and keeps a strip in the cache."""


def ssim(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0) -> Tensor:
    """Mean SSIM over the pixels whose whole window lies inside: [..., Y, X] twice -> [...] float64.

    Window: 11 x 11 Gaussian of sigma 1.5 (the paper's section III-B), K1 = 0.01, K2 = 0.03, population covariances.
    The pixel size does not matter. Raises InputError for images smaller than the window.
    """
    check_pair(prediction, target, data_range)
    rows, columns = target.shape[-2:]
    if min(rows, columns) <= 2 * RADIUS:
        raise InputError(f"SSIM needs images of at least 11 x 11 pixels, not {rows} x {columns}")
    return similarity(prediction, target, data_range)[0]


def similarity(prediction: Tensor, target: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure term of [..., Y, X] twice: [...] float64 each."""
    rows, columns = target.shape[-2:]
    kernel = gaussian_kernel(SIGMA * FWHM_PER_SIGMA, RADIUS).to(target.device)
    x_all, y_all = (images.reshape(-1, rows, columns) for images in (prediction, target))
    total = torch.zeros(2, x_all.shape[0], dtype=torch.float64, device=target.device)
    for first in range(0, rows - 2 * RADIUS, STRIP):
        strip = slice(first, min(first + STRIP, rows - 2 * RADIUS) + 2 * RADIUS)
        luminance, structure = _terms(x_all[:, strip].double(), y_all[:, strip].double(), kernel, data_range)
        total += torch.stack([(luminance * structure).sum((1, 2)), structure.sum((1, 2))])
    mean = total / ((rows - 2 * RADIUS) * (columns - 2 * RADIUS))
    return mean[0].reshape(target.shape[:-2]), mean[1].reshape(target.shape[:-2])


def _terms(x: Tensor, y: Tensor, kernel: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """The two factors of the SSIM map of [N, Y, X] (equation 13), from local means and covariances (eqs. 14 to 16).

    They are luminance (equation 6) and contrast times structure (equations 9 and 10 with C3 = C2 / 2).
    """
    stack = torch.cat([x, y, x * x, y * y, x * y])
    mu_x, mu_y, xx, yy, xy = separable(stack, kernel).chunk(5)
    mu_xy, mu_x2y2 = mu_x * mu_y, mu_x**2 + mu_y**2
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mu_xy + c1) / (mu_x2y2 + c1)
    return luminance, (2 * (xy - mu_xy) + c2) / (xx + yy - mu_x2y2 + c2)
