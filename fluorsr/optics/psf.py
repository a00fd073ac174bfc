"""Point spread functions. So far a Gaussian, the usual stand-in for a confocal or STED spot seen laterally.

Everything is torch and differentiable, in the image and in the width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian of standard deviation 1."""


def gaussian_kernel(fwhm_px: float | Tensor, radius: int) -> Tensor:
    """A sampled Gaussian of unit sum: [2 * radius + 1] float64, its centre at index `radius`.

    fwhm_px    full width at half maximum in pixels; a float64 tensor keeps its gradient
    Raises InputError where the width is not positive or the radius negative.
    """
    width = torch.as_tensor(fwhm_px, dtype=torch.float64)
    if not bool(width > 0) or radius < 0:
        raise InputError(f"a Gaussian needs a width above 0 and a radius of at least 0, not {fwhm_px} and {radius}")
    return sampled_gaussian(width, radius)


def sampled_gaussian(fwhm_px: Tensor, radius: int) -> Tensor:
    """The same of a float64 tensor, unchecked: TorchScript, which reads no constant from outside."""
    x = torch.arange(-radius, radius + 1, dtype=torch.float64, device=fwhm_px.device)
    kernel = torch.exp(-0.5 * (x * (2 * math.sqrt(2 * math.log(2))) / fwhm_px) ** 2)
    return kernel / kernel.sum()


def gaussian_radius(fwhm_px: float, sigmas: float = 4.0) -> int:
    """Pixels after which a Gaussian is cut: `sigmas` standard deviations, at least 1."""
    return max(1, math.ceil(sigmas * fwhm_px / FWHM_PER_SIGMA))


def gaussian_blur(images: Tensor, fwhm_px: float | Tensor, *, radius: int | None = None) -> Tensor:
    """Blur along y and x, edges replicated: [..., Y, X] -> [..., Y, X], same dtype.

    A convolution along y, then one along x; each is cut at `radius` pixels (4 standard deviations where not given).
    """
    radius = gaussian_radius(float(fwhm_px)) if radius is None else radius
    return blur_with(images, gaussian_kernel(fwhm_px, radius))


def blur_with(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [..., Y, X] along y and along x with a kernel of odd length, edges replicated: TorchScript."""
    kernel, radius = kernel.to(images), kernel.numel() // 2
    stack = images.reshape([-1, 1, images.shape[-2], images.shape[-1]])
    stack = functional.pad(stack, [radius, radius, radius, radius], mode="replicate")
    stack = functional.conv2d(stack, kernel.view(1, 1, -1, 1))
    stack = functional.conv2d(stack, kernel.view(1, 1, 1, -1))
    return stack.reshape(images.shape)


def gaussian_otf(shape: tuple[int, int], fwhm_px: float | Tensor) -> Tensor:
    """Transfer function of a Gaussian blur for `torch.fft.rfft2`: [Y, X // 2 + 1] float32, 1 at zero frequency.

    exp(-2 (pi sigma f)^2) with f in cycles a pixel. A width of 0 gives 1 everywhere.
    """
    sigma = torch.as_tensor(fwhm_px, dtype=torch.float64) / FWHM_PER_SIGMA
    fall = -2 * (math.pi * sigma) ** 2
    fy = torch.fft.fftfreq(shape[0], dtype=torch.float64)
    fx = torch.fft.rfftfreq(shape[1], dtype=torch.float64)
    return (torch.exp(fall * fy**2)[:, None] * torch.exp(fall * fx**2)[None, :]).float()
