"""The metrics that an evaluation can name. A new metric is its own file and one line here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple, Protocol

from torch import Tensor

from fluorsr.metrics.frc import frc
from fluorsr.metrics.lpips import lpips, lpips_vgg
from fluorsr.metrics.ms_ssim import ms_ssim
from fluorsr.metrics.nrmse import nrmse
from fluorsr.metrics.pearson import pearson
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.ssim import ssim


class MetricFunction(Protocol):
    """(prediction, target), both [..., Y, X] float, -> [...] float64."""

    def __call__(self, prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float) -> Tensor: ...


class Metric(NamedTuple):
    """A metric, its heading in tables, the digits of its figures, which direction is better, and how it averages.

    A resolution averages as its inverse, the frequency: one field without any agreement (inf nm) then counts as 0.
    """

    function: MetricFunction
    heading: str
    digits: int
    higher_is_better: bool
    harmonic: bool = False

    def mean(self, values: Sequence[float]) -> float:
        """Average over images."""
        if not self.harmonic:
            return fmean(values)
        inverse = fmean([1 / value for value in values])
        return math.inf if inverse == 0 else 1 / inverse


METRICS: dict[str, Metric] = {
    "psnr": Metric(psnr, "PSNR (dB)", 2, higher_is_better=True),
    "ssim": Metric(ssim, "SSIM", 3, higher_is_better=True),
    "frc": Metric(frc, "FRC (nm)", 0, higher_is_better=False, harmonic=True),
}
"""Name -> metric, of the short table: those that need nothing but the two images, of 16 x 16 pixels or more."""

ALL_METRICS: dict[str, Metric] = {
    **METRICS,
    "ms_ssim": Metric(ms_ssim, "MS-SSIM", 3, higher_is_better=True),
    "nrmse": Metric(nrmse, "NRMSE", 3, higher_is_better=False),
    "pearson": Metric(pearson, "Pearson", 3, higher_is_better=True),
    "lpips": Metric(lpips, "LPIPS (AlexNet)", 3, higher_is_better=False),
    "lpips_vgg": Metric(lpips_vgg, "LPIPS (VGG16)", 3, higher_is_better=False),
}
"""Name -> metric, of those against a truth. MS-SSIM needs 161 x 161 pixels, LPIPS weights that are not shipped."""
