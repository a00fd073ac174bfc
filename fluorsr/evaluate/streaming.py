"""Metrics of a plane of any size, a strip of rows at a time: the figures are those of the whole plane, to rounding.

    first pass    extremes, sums, products   -> the intensity scale, and the target's range
    second pass   squared errors, similarity -> PSNR, NRMSE, Pearson, SSIM, MS-SSIM; squares -> FRC; parts -> LPIPS

         row 0 +-----------------+
               |  a strip's own  |   SSIM's window reaches 10 rows further down, of MS-SSIM's coarsest scale 160;
               |- - - - - - - - -|   rows are counted by the strip that holds their first
               |  read with it   |
               +-----------------+

Sums are float64, and means are taken off before anything is squared. Only percentiles may differ from the whole
plane's: they are those of fluorsr.normalize, of a fixed sample where a plane is large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.metrics.fit import INTENSITIES, PERCENTILES, SHORT
from fluorsr.metrics.frc import crossing, frc_curve
from fluorsr.metrics.lpips import Name, lpips_sum
from fluorsr.metrics.ms_ssim import SMALLEST, WEIGHTS, halve
from fluorsr.metrics.ssim import RADIUS, similarity
from fluorsr.normalize import fit

STRIP = 1024
"""Rows of a strip: a multiple of 16, so that MS-SSIM's scales begin with it."""
BELOW = 2 * RADIUS * 2 ** (len(WEIGHTS) - 1)
STREAMED = ("psnr", "ssim", "frc", "ms_ssim", "nrmse", "pearson", "lpips", "lpips_vgg")


LEARNED: tuple[tuple[str, Name], ...] = (("lpips", "alex"), ("lpips_vgg", "vgg"))


@dataclass(frozen=True)
class Plane:
    """A plane of an image, cropped, its intensities times `gain` plus `offset`; slices are read when they are taken.

    It has of a tensor [Y, X] float32 what a metric that goes by squares asks for.
    """

    image: Image
    index: PlaneIndex
    crop_px: int = 0
    gain: float = 1.0
    offset: float = 0.0

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.image.size(axis) - 2 * self.crop_px for axis in "yx")

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def numel(self) -> int:
        return self.shape.numel()

    def __getitem__(self, at: tuple[slice, slice]) -> Tensor:
        y, x = (slice(s.start + self.crop_px, s.stop + self.crop_px) for s in at)
        pixels = torch.from_numpy(self.image.read(self.index, y, x).astype(np.float32))
        return pixels if (self.gain, self.offset) == (1.0, 0.0) else pixels * self.gain + self.offset

    def scaled(self, gain: float, offset: float) -> Plane:
        return Plane(self.image, self.index, self.crop_px, gain, offset)


@dataclass
class _Moments:
    """Of two images together: count, means, centred sums, extremes (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean_p: float = 0.0
    mean_t: float = 0.0
    pp: float = 0.0
    tt: float = 0.0
    pt: float = 0.0
    low_p: float = math.inf
    high_p: float = -math.inf
    low_t: float = math.inf
    high_t: float = -math.inf

    def add(self, prediction: Tensor, target: Tensor) -> None:
        p, t, n = prediction.double(), target.double(), prediction.numel()
        mean_p, mean_t = float(p.mean()), float(t.mean())
        self.low_p, self.high_p = min(self.low_p, float(p.min())), max(self.high_p, float(p.max()))
        self.low_t, self.high_t = min(self.low_t, float(t.min())), max(self.high_t, float(t.max()))
        p, t = p - mean_p, t - mean_t
        share = self.count * n / (self.count + n)
        dp, dt = mean_p - self.mean_p, mean_t - self.mean_t
        self.pp += float(p.square().sum()) + share * dp**2
        self.tt += float(t.square().sum()) + share * dt**2
        self.pt += float((p * t).sum()) + share * dp * dt
        self.count += n
        self.mean_p += dp * n / self.count
        self.mean_t += dt * n / self.count


def stream_metrics(
    prediction: Plane, target: Plane, metrics: Sequence[str], *, intensity: str, pixel_size_um: float | None
) -> dict[str, float]:
    """Figures of STREAMED metrics. A resolution is NaN where the pixel size is not known.

    Raises InputError where shapes differ, the target is constant, or the image is too small for a metric.
    """
    if prediction.shape != target.shape:
        raise InputError(f"two images of one shape can be compared, not {prediction.shape} and {target.shape}")
    intensity = SHORT.get(intensity, intensity)
    if intensity not in INTENSITIES:
        raise InputError(f"there is no intensity {intensity!r}; there are {', '.join(INTENSITIES)}")
    rows, columns = target.shape
    smallest = {"ssim": 2 * RADIUS + 1, "ms_ssim": SMALLEST}
    for name in metrics:
        if min(rows, columns) < smallest.get(name, 1):
            raise InputError(f"{name} needs at least {smallest[name]} pixels along y and x, not {rows} x {columns}")
    moments = _Moments()
    for y in _strips(rows):
        moments.add(*(plane[y, slice(0, columns)] for plane in (prediction, target)))
    if moments.high_t == moments.low_t:
        raise InputError("the target is constant: no restoration of it can be told from another")
    p_scale, t_scale = _scales(intensity, moments, prediction, target)
    p, t = prediction.scaled(*p_scale), target.scaled(*t_scale)
    data_range = t_scale[0] * (moments.high_t - moments.low_t)
    found = _of_moments(moments, p_scale, t_scale, data_range)
    if "ssim" in metrics or "ms_ssim" in metrics:
        found |= _similarities(p, t, data_range, "ms_ssim" in metrics)
    if "frc" in metrics:
        found["frc"] = math.nan
        if pixel_size_um is not None:
            cutoff = crossing(frc_curve(p, t))
            found["frc"] = 1000 * pixel_size_um / cutoff if cutoff else math.inf
    for name, trunk in LEARNED:
        if name in metrics:
            low = t_scale[0] * moments.low_t + t_scale[1]
            found[name] = lpips_sum(p, t, low, data_range, trunk) / target.numel()
    return {name: found[name] for name in metrics}


def _strips(rows: int, below: int = 0, last: int | None = None) -> Iterator[slice]:
    """Rows of each strip, and `below` more that it reads; strips begin before row `last`."""
    for first in range(0, rows if last is None else last, STRIP):
        yield slice(first, min(first + STRIP + below, rows))


def _scales(
    intensity: str, moments: _Moments, prediction: Plane, target: Plane
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Gain and offset of the prediction and of the target."""
    if intensity == "raw":
        return (1.0, 0.0), (1.0, 0.0)
    if intensity == "least-squares":
        gain = moments.pt / moments.pp if moments.pp > 0 else 0.0
        return (gain, moments.mean_t - gain * moments.mean_p), (1.0, 0.0)
    if intensity == "min-max":
        ends = [(moments.low_p, moments.high_p), (moments.low_t, moments.high_t)]
    else:
        fits = [fit(_cropped(plane), percentiles=PERCENTILES) for plane in (prediction, target)]
        ends = [(each.low, each.high) for each in fits]
    (p0, p1), (t0, t1) = ((1 / (h - l), -l / (h - l)) if h > l else (1.0, -l) for l, h in ends)  # noqa: E741
    return (p0, p1), (t0, t1)


def _cropped(plane: Plane) -> Image:
    """The plane as an image of its own, still read lazily."""

    class Lazy:
        shape = tuple(plane.shape)
        dtype = plane.image.dtype if plane.image.dtype.name in ("uint8", "uint16", "int16") else np.dtype("float32")

        def __getitem__(self, at: tuple[slice | int, ...], /) -> object:
            y, x = at
            assert isinstance(y, slice)
            assert isinstance(x, slice)
            return plane[y, x].numpy().astype(self.dtype)

    return Image(Lazy(), "yx")


def _of_moments(
    moments: _Moments, p_scale: tuple[float, float], t_scale: tuple[float, float], data_range: float
) -> dict[str, float]:
    """What sums of products tell: E (p - t)^2 = var(p - t) + (mean of p - t)^2, with p and t scaled."""
    n, (a, b), (c, d) = moments.count, p_scale, t_scale
    mean_p, mean_t = a * moments.mean_p + b, c * moments.mean_t + d
    squared = max(0.0, (a * a * moments.pp - 2 * a * c * moments.pt + c * c * moments.tt) / n) + (mean_p - mean_t) ** 2
    spread = math.sqrt(moments.pp * moments.tt)
    norm = math.sqrt(c * c * moments.tt / n + mean_t**2)
    return {
        "psnr": 10 * math.log10(data_range**2 / squared) if squared > 0 else math.inf,
        "nrmse": math.sqrt(squared) / norm,
        "pearson": moments.pt / spread if spread > 0 and a != 0 else math.nan,
    }


def _similarities(p: Plane, t: Plane, data_range: float, many: bool) -> dict[str, float]:
    """SSIM, and MS-SSIM where it is asked for."""
    rows, columns = t.shape
    scales = len(WEIGHTS) if many else 1
    sums = torch.zeros(scales, 2, dtype=torch.float64)
    counts = [0] * scales
    for y in _strips(rows, BELOW if many else 2 * RADIUS, rows - 2 * RADIUS):
        x_s, y_s = (plane[y, slice(0, columns)] for plane in (p, t))
        for scale in range(scales):
            # Of a strip that is not the last, rows whose window begins in the next are the next one's.
            own = STRIP // 2**scale + 2 * RADIUS
            if min(x_s[:own].shape) > 2 * RADIUS:
                part = x_s[:own]
                count = (part.shape[0] - 2 * RADIUS) * (part.shape[1] - 2 * RADIUS)
                sums[scale] += count * torch.stack(similarity(part, y_s[:own], data_range))
                counts[scale] += count
            if scale + 1 < scales:
                x_s, y_s = halve(x_s), halve(y_s)
    means = sums / torch.tensor(counts, dtype=torch.float64)[:, None]
    found = {"ssim": float(means[0, 0])}
    if many:
        parts = [means[k, 0 if k == scales - 1 else 1].clamp(min=0) ** w for k, w in enumerate(WEIGHTS)]
        found["ms_ssim"] = float(torch.stack(parts).prod())
    return found
