"""SQUIRREL: does the restored image, blurred back, give the image it was made from?

Culley et al. 2018, Nat. Methods 15, 263 (Online Methods, "Theory of SQUIRREL"):

    I_RS = (gain * I_SR + offset) convolved with a Gaussian, then binned to the input's pixels
    RSP  = Pearson's correlation of I_RS with the input
    RSE  = sqrt(mean (I_RS - input)^2), in the input's counts
    error map = |I_RS - input|

Gain, offset and width are those of the least RSE. No truth is needed. Detail that was invented and vanishes in the blur
goes unseen; structure that was lost, moved or added in bulk does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.metrics.blur import separable
from fluorsr.metrics.check import check_images, check_pixel_size, check_range
from fluorsr.metrics.pearson import pearson
from fluorsr.metrics.rings import rings, spectrum, square_side, squares, tapered
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_kernel, gaussian_radius

TAPER = 0.25
STRIP = 512
"""Rows of the input that are compared at a time."""
WIDTHS = 400
"""Widths tried between none and a quarter of a square, before the best is refined."""


@dataclass(frozen=True)
class Squirrel:
    """What was found for images [..., Y, X]; all float64 but the maps.

    rsp         [...] 1 where the input is explained wholly; NaN where an image is constant or has NaN
    rse         [...] in the input's counts
    fwhm_nm     [...] of the fitted Gaussian: how much sharper the restored image is
    gain, offset   [...] of the restored image's intensity
    error_map   [..., Y, X] float32, in the input's counts
    """

    rsp: Tensor
    rse: Tensor
    fwhm_nm: Tensor
    gain: Tensor
    offset: Tensor
    error_map: Tensor


def squirrel(restored: Tensor, images: Tensor, *, data_range: float = 1.0, pixel_size_um: float) -> Squirrel:
    """Compare restored [..., sY, sX] with the images [..., Y, X] they were made from, s = 1, 2, 3, ...

    pixel_size_um   of the images
    data_range does not matter. Raises InputError where the shapes are no multiples or below 16 x 16 pixels.
    """
    check_images(restored)
    check_images(images)
    check_range(data_range)
    check_pixel_size(pixel_size_um)
    scale = restored.shape[-1] // images.shape[-1]
    if scale < 1 or restored.shape != (*images.shape[:-2], *(scale * n for n in images.shape[-2:])):
        raise InputError(
            f"a restored image is a whole multiple of its input along y and x, "
            f"not {tuple(restored.shape)} of {tuple(images.shape)}"
        )
    height, width = images.shape[-2:]
    pairs = zip(restored.reshape(-1, *restored.shape[-2:]), images.reshape(-1, height, width), strict=True)
    each = [_compare(high, low, scale, pixel_size_um) for high, low in pairs]
    figures = torch.tensor([row[0] for row in each], dtype=torch.float64).reshape(*images.shape[:-2], 5).unbind(-1)
    maps = torch.stack([row[1] for row in each]).reshape(images.shape)
    rsp, rse, fwhm_nm, gain, offset = figures
    return Squirrel(rsp, rse, fwhm_nm, gain, offset, maps)


def _compare(restored: Tensor, image: Tensor, scale: int, pixel_size_um: float) -> tuple[tuple[float, ...], Tensor]:
    """(rsp, rse, fwhm_nm, gain, offset) and the error map of one image."""
    if not bool(torch.isfinite(restored).all() and torch.isfinite(image).all()):
        return (math.nan,) * 5, torch.full(image.shape, math.nan)
    found = explain(restored, image)
    error = (found.seen.double() - image.double()).abs()
    rsp = float(pearson(found.seen.double(), image.double(), data_range=1.0))
    rse = float(error.square().mean().sqrt())
    return (rsp, rse, 1000 * pixel_size_um * found.fwhm_px, found.gain, found.offset), error.float()


@dataclass(frozen=True)
class Explained:
    """What the camera should have seen, [Y, X] float32 in its counts, were restored [sY, sX] the truth.

    fwhm_px        of the fitted Gaussian, in pixels of the image
    gain, offset   of the restored image's intensity
    """

    seen: Tensor
    fwhm_px: float
    gain: float
    offset: float


def explain(restored: Tensor, image: Tensor) -> Explained:
    """I_RS of the header: restored [sY, sX] blurred and scaled to be closest to the image [Y, X], both finite."""
    scale = restored.shape[0] // image.shape[0]
    fwhm_px = fitted_fwhm(restored, image)
    mean = restored.mean(dtype=torch.float64)
    binned = _blurred_and_binned(restored, float(mean), fwhm_px * scale, scale)
    middle, level = float(binned.mean(dtype=torch.float64)), float(image.mean(dtype=torch.float64))
    binned -= middle
    variance = float(binned.square().sum(dtype=torch.float64))
    gain = float((binned * (image - level)).sum(dtype=torch.float64)) / variance if variance > 0 else 0.0
    return Explained(binned.mul_(gain).add_(level), fwhm_px, gain, level - gain * (middle + float(mean)))


def _blurred_and_binned(restored: Tensor, mean: float, fwhm_px: float, scale: int) -> Tensor:
    """Blur [sY, sX] minus its mean, edges repeated, and average s x s pixels: float32 [Y, X]; in strips, for memory."""
    kernel = torch.ones(1)
    if fwhm_px > 0:
        kernel = gaussian_kernel(fwhm_px, gaussian_radius(fwhm_px))
    radius = kernel.numel() // 2
    height = restored.shape[0]
    strips = []
    for top in range(0, height, STRIP * scale):
        bottom = min(top + STRIP * scale, height)
        first, last = max(top - radius, 0), min(bottom + radius, height)
        missing = (radius, radius, radius - (top - first), radius - (last - bottom))
        part = functional.pad((restored[first:last] - mean).float()[None], missing, mode="replicate")
        strips.append(functional.avg_pool2d(separable(part, kernel), scale)[0])
    return torch.cat(strips)


def fitted_fwhm(restored: Tensor, image: Tensor) -> float:
    """Full width of the Gaussian, in pixels of the image [Y, X], that brings restored [sY, sX] closest to it.

    By Parseval the squared difference is a sum over frequencies, and the Gaussian's transform G depends on the ring
    alone: with A = sum |S|^2 and B = sum Re S conj(D) in each ring, the best gain leaves
    sum |D|^2 - (sum G B)^2 / sum G^2 A. So all widths are tried on one pair of transforms.
    """
    side, scale = square_side(image.shape, "SQUIRREL"), restored.shape[-1] // image.shape[-1]
    layout, low, high = rings(side), tapered(side, TAPER), tapered(side * scale, TAPER)
    own, cross = torch.zeros_like(layout.members), torch.zeros_like(layout.members)
    for y, x in squares(image.shape, side):
        d = spectrum(image[y, x], low.to(image.device))
        at = slice(scale * y.start, scale * y.stop), slice(scale * x.start, scale * x.stop)
        s = _binned(spectrum(restored[at], high.to(restored.device)), side, scale)
        own += layout.sum(s.abs() ** 2)
        cross += layout.sum((s * d.conj()).real)

    def explained(sigmas: Tensor) -> Tensor:
        g = torch.exp(-2 * (math.pi * sigmas[:, None] * layout.frequency) ** 2)
        gb, gga = (g * cross).sum(-1), (g**2 * own).sum(-1)
        return torch.where(gga > 0, gb.abs() * gb / gga.clamp(min=torch.finfo(torch.float64).tiny), 0.0)

    low_sigma, high_sigma = 0.0, side / 4
    for _ in range(4):
        sigmas = torch.linspace(low_sigma, high_sigma, WIDTHS, dtype=torch.float64)
        k = int(explained(sigmas).argmax())
        best = float(sigmas[k])
        low_sigma, high_sigma = float(sigmas[max(k - 1, 0)]), float(sigmas[min(k + 1, WIDTHS - 1)])
    return best * FWHM_PER_SIGMA


def _binned(transform: Tensor, side: int, scale: int) -> Tensor:
    """The transform of squares binned `scale` times, up to their Nyquist: [sS, sS // 2 + 1] -> [S, S // 2 + 1].

    What would fold over is left out: the blur that is fitted takes it away before the pixels are summed.
    """
    if scale == 1:
        return transform
    fy, fx = torch.fft.fftfreq(side, dtype=torch.float64), torch.fft.rfftfreq(side, dtype=torch.float64)
    rows = torch.round(fy * side).long() % transform.shape[0]
    kept = transform[rows][:, : fx.numel()] / scale**2
    # The mean of `scale` pixels: sum_j exp(2 pi i f j / scale) / scale, along y and along x.
    j = torch.arange(scale, dtype=torch.float64) / scale
    box_y, box_x = (torch.exp(2j * math.pi * f[:, None] * j).mean(-1) for f in (fy, fx))
    return kept * box_y[:, None] * box_x[None, :]
