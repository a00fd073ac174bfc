"""Resolution of one image by decorrelation analysis (Descloux, Grussmayer and Radenovic 2019, Nat. Methods 16, 918).

    d(r) = sum_{|k| < r} |I(k)| / sqrt( sum |I(k)|^2  N(|k| < r) )                                          (eq. 1)

is the correlation of an image with itself after all its frequencies were given one amplitude and those beyond r were
cut off. It rises while rings still hold structure and falls once they hold noise. Its peak is looked for again and
again in the image minus its own blur, with ever less of the coarse structure; the peak farthest out is the cut-off:

    resolution = 1 / max(r)

The phases cancel in eq. 1 and the high-pass depends on |k| alone, so sums over rings say everything: one Fourier
transform is enough for all curves. No truth is needed, so this tells sharp from blurred, never right from wrong.

Of an ideal lens it gives Rayleigh's distance, 1.22 of the finest period that passes (so do cubic and nanopyx). It needs
a field of some twenty such periods: of ten it reads half to three quarters as much.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fluorsr.metrics.check import check_images, check_pixel_size, check_range
from fluorsr.metrics.rings import rings, spectrum, square_side, squares, tapered

TAPER = 0.1
HIGH_PASSES = 40
FINEST_PX = 0.15
"""Standard deviation of the weakest blur that is taken off; the strongest follows from the image."""

LEAST_HEIGHT = 0.05
"""Lower peaks are noise (the authors' criterion)."""
LEAST_FALL = 0.001
"""A peak stands out by this from the lowest point after it (the authors' criterion)."""


def decorrelation(images: Tensor, *, data_range: float = 1.0, pixel_size_um: float) -> Tensor:
    """Resolution in nanometres: [..., Y, X] -> [...] float64; inf where no curve has a peak, NaN for NaN.

    data_range does not matter. Raises InputError below 16 x 16 pixels.
    """
    check_images(images)
    check_range(data_range)
    check_pixel_size(pixel_size_um)
    cutoffs = [cutoff(image) for image in images.reshape(-1, *images.shape[-2:])]
    return (1000 * pixel_size_um / torch.tensor(cutoffs, dtype=torch.float64)).reshape(images.shape[:-2])


def cutoff(image: Tensor) -> float:
    """The highest frequency, in cycles a pixel, at which [Y, X] still holds structure; 0 where it holds none."""
    frequency, curve = decorrelation_curves(image, [math.inf])
    if not bool(torch.isfinite(image).all()):
        return math.nan
    first = peak(frequency, curve[0])
    # Blur from the image's own coarse scale (a period of the first peak) to less than a pixel.
    coarsest = 1 / first[0] if first[0] > 0 else min(image.shape) / 2
    blurs = torch.logspace(math.log10(coarsest), math.log10(FINEST_PX), HIGH_PASSES, dtype=torch.float64).tolist()
    found = [first, *(peak(frequency, curve) for curve in decorrelation_curves(image, blurs)[1])]
    return max((f for f, height in found if height >= LEAST_HEIGHT), default=0.0)


def decorrelation_curves(image: Tensor, blurs_px: list[float]) -> tuple[Tensor, Tensor]:
    """Frequencies in cycles a pixel [R], and d of [Y, X] minus its Gaussian blurs: [len(blurs_px), R], both float64.

    blurs_px   standard deviations; inf leaves the image as it is
    """
    side = square_side(image.shape, "decorrelation analysis")
    layout = rings(side)
    window = tapered(side, TAPER, image.device)
    amplitude, power = torch.zeros_like(layout.members), torch.zeros_like(layout.members)
    count = 0
    for at in squares(image.shape, side):
        magnitude = spectrum(image[at], window).abs()
        amplitude += layout.sum(magnitude)
        power += layout.sum(magnitude**2)
        count += 1
    sigma = torch.tensor(blurs_px, dtype=torch.float64)[:, None]
    high_pass = 1 - torch.exp(-2 * (math.pi * sigma * layout.frequency) ** 2)
    within = torch.cumsum(amplitude * high_pass, -1)
    whole = (power * high_pass**2).sum(-1, keepdim=True) * count * torch.cumsum(layout.members, -1)
    curves = torch.where(whole > 0, within / whole.clamp(min=torch.finfo(torch.float64).tiny).sqrt(), 0.0)
    return layout.frequency, curves


def peak(frequency: Tensor, curve: Tensor) -> tuple[float, float]:
    """Frequency and height of the highest point that the curve falls from by LEAST_FALL; (0, 0) where there is none."""
    # What is left to fall after each point; a curve that rises to its end has no peak there.
    lowest_after = torch.flip(torch.cummin(torch.flip(curve, (0,)), 0).values, (0,))
    standing = torch.where(curve - lowest_after > LEAST_FALL, curve, -1.0)
    # A point on a rising flank is not a peak even if the curve dips later on.
    k = int(standing.argmax())
    if standing[k] <= 0 or (k + 1 < curve.numel() and curve[k + 1] > curve[k]):
        return 0.0, 0.0
    return float(frequency[k]), float(curve[k])
