"""What of a restored image the image it was made from bears out.

    restored --blurred and binned to the input's pixels (SQUIRREL's fit)--> what the camera should have seen
    input - that = disagreement, averaged over the size of the spot, in units of the noise and of the local light

Light in the restored image where the camera saw none is unsupported (invented); light that the camera saw and the
restored image lacks is missing. Both are told from noise and from small faults of the fitted spot by two demands: more
than SIGMAS standard deviations, and more than SHARE of the local light.

What was invented finer than the spot, and has the right light when blurred, cannot be told by any such test.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fluorsr.evaluate.noise import SAMPLE, Noise
from fluorsr.metrics.blur import separable
from fluorsr.metrics.squirrel import Explained, explain
from fluorsr.optics.psf import gaussian_kernel, gaussian_radius

SIGMAS, SHARE = 5.0, 0.3
NARROWEST_PX = 3.0
"""Of the average, where the fitted spot is narrower."""
BACKGROUND = 0.05
"""The share of the pixels that are taken for darker than any structure."""
LEVELS = 24


@dataclass(frozen=True)
class Support:
    """How a restored image fits its input [Y, X].

    explained     what the camera should have seen, and the spot
    chi           disagreement over the noise: 1 where nothing but noise is left over, well below where the noise was
                  restored as if it were structure, above where structure is not explained
    slope, intercept   of the input's light over the restored, both averaged over the spot: 1 and 0 where it is kept
    curvature     the greatest deviation from that line, as a share of the range of the light
    unsupported, missing   shares of the light above the background
    disagreement  [Y, X] averaged, in standard deviations of the noise; negative where light was invented
    invented, lost     [Y, X] bool: where
    """

    explained: Explained
    chi: float
    slope: float
    intercept: float
    curvature: float
    unsupported: float
    missing: float
    disagreement: Tensor
    invented: Tensor
    lost: Tensor


def judge_support(restored: Tensor, image: Tensor, noise: Noise) -> Support:
    """Restored [sY, sX] against the image [Y, X] it was made from, both finite float32."""
    found = explain(restored, image)
    seen = found.seen
    chi = float(((image - seen).square() / noise.variance(seen)).mean(dtype=torch.float64).sqrt())
    width = max(found.fwhm_px, NARROWEST_PX)
    kernel = gaussian_kernel(width, gaussian_radius(width))
    rest, expected, own = (_blur(each, kernel) for each in (image - seen, seen, image))
    spread = _blur(noise.variance(seen).float(), kernel).sqrt() * float(kernel.square().sum())
    disagreement = rest / spread
    dark = _quantile(own, BACKGROUND)
    invented = (disagreement < -SIGMAS) & (rest < -SHARE * (expected - dark).clamp(min=0))
    lost = (disagreement > SIGMAS) & (rest > SHARE * (own - dark).clamp(min=0))
    light = float((seen - dark).clamp(min=0).sum(dtype=torch.float64))
    share = 1 / light if light > 0 else 0.0
    slope, intercept, curvature = _line((expected - found.offset) / (found.gain or 1.0), own)
    return Support(
        found,
        chi,
        slope,
        intercept,
        curvature,
        -float(rest[invented].sum(dtype=torch.float64)) * share,
        float(rest[lost].sum(dtype=torch.float64)) * share,
        disagreement,
        invented,
        lost,
    )


def _line(restored: Tensor, own: Tensor) -> tuple[float, float, float]:
    """Slope, intercept and greatest deviation (as a share of the range) of the input's light over the restored."""
    step = max(1, restored.numel() // SAMPLE)
    x, y = (each.flatten()[::step].double() for each in (restored, own))
    spread = (x - x.mean()).square().sum()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 0.0
    intercept = float(y.mean()) - slope * float(x.mean())
    rest = y - slope * x - intercept
    low, high = _quantile(own, 0.001), _quantile(own, 0.999)
    parts = x.argsort().tensor_split(LEVELS)
    worst = max(abs(float(rest[part].mean())) for part in parts)
    return slope, intercept, worst / (high - low) if high > low else 0.0


def _blur(image: Tensor, kernel: Tensor) -> Tensor:
    radius = kernel.numel() // 2
    return separable(torch.nn.functional.pad(image[None], (radius,) * 4, mode="replicate"), kernel)[0]


def _quantile(image: Tensor, share: float) -> float:
    flat = image.flatten()
    return float(flat.kthvalue(1 + int(share * (flat.numel() - 1))).values)
