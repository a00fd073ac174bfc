"""By how much one image of a pair is shifted against the other, to a few hundredths of a pixel, and its correction.

Phase correlation: the phases of the cross-spectrum, each ring weighted by the share of both images in its power (the
idea of Knapp & Carter, IEEE Trans. ASSP 24, 320 (1976)), so neither blur nor noise moves the peak. The peak is found to
a pixel by FFT and refined by a Fourier transform upsampled around it (Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33,
156 (2008)).

    target(y + shift) shows what input(y) shows        shift in input pixels, along y and x
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from fluorsr.data.spectra import LOWEST_CYCLES, SMALLEST, Profile, Rings, moved, profile, rings, spectrum
from fluorsr.errors import InputError

UPSAMPLING = 100
REACH_PX = 1.5
"""The refinement looks this far around the peak, in steps of 1 / UPSAMPLING pixel."""

LEAST_SHARE = 0.1
"""Rings with less of the image in either power carry no weight: their phases are noise."""

NEIGHBOURS = 1.5
"""Frequencies along an axis that the Hann window makes one."""

ERROR_FLOOR_PX, ABOVE_BOUND = 0.06, 1.5

FEWEST = 20
"""Independent frequencies that the verdict on two images takes at least."""

BANDS = (0.5, 0.2, 0.08)
"""Bands, in cycles a pixel, in which the peak is looked for."""


@dataclass(frozen=True)
class Shift:
    """By how much the target is shifted against the input, in input pixels.

    error       standard error along one axis, from the images' disagreement ring by ring
    agreement   how much the images have in common where they lie on each other, noise taken off: 1 for the same
                specimen, near 0 for two that have nothing to do with each other
    strength    the peak over the highest that noise alone would make
    """

    y: float
    x: float
    error: float
    agreement: float
    strength: float

    @property
    def length(self) -> float:
        return math.hypot(self.y, self.x)

    @property
    def related(self) -> bool:
        """Whether the two images show the same specimen."""
        return self.strength >= LEAST_STRENGTH and self.agreement >= LEAST_AGREEMENT

    def um(self, pixel_size_um: float) -> tuple[float, float]:
        """(y, x) in micrometres, for an input pixel of `pixel_size_um`."""
        return self.y * pixel_size_um, self.x * pixel_size_um


LEAST_STRENGTH, LEAST_AGREEMENT = 1.5, 0.5
"""Simulated pairs reach a strength of 1.8 and an agreement of 0.65 down to 3 photons (nuclei: 10), real ones of
wide-field and SIM 5.7 and 0.81. Unrelated fields stay below the one or the other, save where a few bright spots are all
there is and can be laid on each other: that takes a shift far beyond what a pair may have."""


def measure_shift(pixels: Tensor, target: Tensor) -> Shift:
    """Shift of `target` against `pixels`, both [Y, X] on the same pixels, up to a quarter of the field.

    A shift of whole pixels is cropped off and what remains measured again, so that both show the same part of the
    specimen. Raises InputError where the shapes differ or a side is shorter than 32 pixels.
    """
    shift = _measure(pixels, target)
    whole = round(shift.y), round(shift.x)
    first, second = overlap(pixels, target, whole)
    if whole == (0, 0) or min(first.shape) < SMALLEST:
        return shift
    again = _measure(first, second)
    if not again.related:
        return shift
    # Whether they belong together is the whole field's to say: the part where two images agree best proves little.
    return replace(shift, y=whole[0] + again.y, x=whole[1] + again.x, error=again.error)


def overlap(pixels: Tensor, target: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What both images [Y, X] show where the target is shifted by whole pixels (y, x) against the other."""
    height, width = pixels.shape
    y, x = shift
    first = pixels[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    return first, target[max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]


def _measure(pixels: Tensor, target: Tensor) -> Shift:
    if pixels.shape != target.shape or pixels.ndim != 2:
        raise InputError(
            "a shift is measured between two images [Y, X] of one shape, not "
            f"{tuple(pixels.shape)} and {tuple(target.shape)}"
        )
    layout = rings(*pixels.shape)
    first, second = spectrum(pixels), spectrum(target)
    at = profile(first, second, layout)
    # The power of a ring of few frequencies is uncertain, and so is its share.
    least = (math.sqrt(2) * NEIGHBOURS / torch.sqrt(at.members)).clamp(min=LEAST_SHARE)
    weight = at.shares[0] * at.shares[1] * (torch.minimum(*at.shares) >= least)
    weight[:LOWEST_CYCLES] = 0.0
    if float(weight.sum()) == 0:
        return Shift(0.0, 0.0, math.inf, 0.0, 0.0)
    # Noise that was blurred or enlarged with its image does not show in the corners: try narrower bands as well.
    found = []
    for band in BANDS:
        inside = weight * (layout.frequency <= band)
        peak = _highest(torch.fft.irfft2(_cross(first, second, at, inside, layout), s=pixels.shape))
        placed = profile(first, moved(second, pixels.shape, peak), layout)
        found.append((_trust(placed, weight)[1], peak))
    start = max(found)[1]
    y, x = float(start[0]), float(start[1])
    for _ in range(2):
        at = profile(first, moved(second, pixels.shape, (y, x)), layout)
        phases = _cross(first, second, at, _information(at) * (weight > 0), layout)
        y, x = _refine(phases * layout.times, pixels.shape, start)
    at = profile(first, moved(second, pixels.shape, (y, x)), layout)
    return Shift(y, x, _error(at, weight), *_trust(at, weight))


def _information(at: Profile) -> Tensor:
    """What a ring tells about the shift: g^2 / (1 - g^2), g its correlation (Knapp & Carter's maximum likelihood)."""
    coherence = at.correlation.clamp(0, 0.98) ** 2
    return coherence / (1 - coherence)


def _cross(first: Tensor, second: Tensor, at: Profile, weight: Tensor, layout: Rings) -> Tensor:
    """The cross-spectrum, whitened ring by ring and weighted [count]: [Y, X // 2 + 1]."""
    norm = torch.sqrt(at.whole[0] * at.whole[1])
    factor = torch.where(norm > 0, weight / norm.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return torch.cat([factor, factor.new_zeros(1)])[layout.index] * second * first.conj()


def _error(at: Profile, weight: Tensor) -> float:
    """Standard error along one axis, in pixels: the Cramer-Rao bound, of whose |2 pi q|^2 half belongs to either axis.

    Simulated pairs lie up to twice as far off as the bound, and never closer than the floor: the window cuts the two
    images through different blurs.
    """
    information = at.members * _information(at) * (2 * math.pi * at.frequency) ** 2 / 2 * (weight > 0)
    total = float(information.sum()) / NEIGHBOURS**2
    return math.hypot(ERROR_FLOOR_PX, ABOVE_BOUND / math.sqrt(total)) if total > 0 else math.inf


def _trust(at: Profile, weight: Tensor) -> tuple[float, float]:
    """Agreement and strength of two images that were moved onto each other, in the band that speaks most for them.

    Of unrelated images each frequency adds one random phase, and the highest of N such sums is sqrt(2 ln N) wide.
    """
    tally = at.members * weight
    free = at.correlation / torch.sqrt(at.shares[0] * at.shares[1]).clamp(min=LEAST_SHARE)
    spread = NEIGHBOURS * torch.sqrt(torch.cumsum(tally * weight, 0))
    independent = torch.cumsum(tally, 0) / NEIGHBOURS**2
    chance = spread * torch.sqrt(2 * torch.log(independent.clamp(min=math.e)))
    strength = torch.cumsum(tally * at.correlation, 0) / chance.clamp(min=torch.finfo(torch.float64).tiny)
    strength[independent < min(FEWEST, float(independent[-1]))] = 0.0
    last = int(strength.argmax()) + 1
    agreement = float((tally * free)[:last].sum() / tally[:last].sum().clamp(min=torch.finfo(torch.float64).tiny))
    return agreement, float(strength[last - 1])


def _highest(surface: Tensor) -> tuple[int, int]:
    """Where [Y, X] is highest, as signed shifts of at most a quarter of the field."""
    height, width = surface.shape
    ys = torch.fft.fftfreq(height, 1 / height).round().long()
    xs = torch.fft.fftfreq(width, 1 / width).round().long()
    inside = (ys.abs() <= height // 4)[:, None] & (xs.abs() <= width // 4)[None, :]
    at = int(surface.masked_fill(~inside, -math.inf).argmax())
    return int(ys[at // width]), int(xs[at % width])


def _refine(phases: Tensor, shape: torch.Size, start: tuple[int, int]) -> tuple[float, float]:
    """Where the Fourier series `phases` is highest near a pixel."""
    steps = torch.arange(-round(REACH_PX * UPSAMPLING), round(REACH_PX * UPSAMPLING) + 1, dtype=torch.float64)
    ys, xs = start[0] + steps / UPSAMPLING, start[1] + steps / UPSAMPLING
    fy = torch.fft.fftfreq(shape[0], dtype=torch.float64)
    fx = torch.fft.rfftfreq(shape[1], dtype=torch.float64)
    # Most frequencies carry no weight; leave them out of the products.
    rows, columns = (phases != 0).any(1), (phases != 0).any(0)
    along_y = torch.exp(2j * math.pi * ys[:, None] * fy[rows][None, :])
    along_x = torch.exp(2j * math.pi * fx[columns][:, None] * xs[None, :])
    surface = (along_y @ phases[rows][:, columns] @ along_x).real
    row, column = divmod(int(surface.argmax()), xs.numel())
    return float(ys[row]), float(xs[column])


def correct_shift(pixels: Tensor, target: Tensor, shift: Shift, scale: int) -> tuple[Tensor, Tensor]:
    """Crop and resample so that the pair lies on itself: [F, Y, X] and [sY, sX] -> both smaller by the shift.

    Whole input pixels are cropped, exactly. What remains, at most half an input pixel, moves the target by a phase ramp
    in Fourier space (mirrored beyond its edges), which keeps its sharpest detail where a cubic spline would blur it;
    a pixel at each edge, which the mirror touched, is cropped too. The input is never resampled: its noise stays as
    the camera made it. Raises InputError where less than half of the field is left.
    """
    height, width = pixels.shape[-2:]
    if target.shape[-2:] != (scale * height, scale * width):
        raise InputError(f"a target of {tuple(target.shape)} is not {scale} times an input of {tuple(pixels.shape)}")
    whole = round(shift.y), round(shift.x)
    rest = shift.y - whole[0], shift.x - whole[1]
    edge = 1 if any(abs(part) > 0.5 / UPSAMPLING for part in rest) else 0
    spans = []
    for length, n in zip((height, width), whole, strict=True):
        first, last = max(0, -n) + edge, length - max(0, n) - edge
        if last - first < length / 2:
            raise InputError(f"a shift of ({shift.y:.1f}, {shift.x:.1f}) pixels leaves less than half of the field")
        spans.append((first, last, first + n, last + n))
    (y0, y1, ty0, ty1), (x0, x1, tx0, tx1) = spans
    placed = fourier_shift(target, (-scale * rest[0], -scale * rest[1])) if edge else target
    return pixels[..., y0:y1, x0:x1], placed[..., scale * ty0 : scale * ty1, scale * tx0 : scale * tx1]


def fourier_shift(image: Tensor, shift_px: tuple[float, float]) -> Tensor:
    """Move the content of an image [Y, X] by (y, x) pixels towards larger indices; float32 [Y, X].

    Exact for band-limited images, but for a ripple of under two hundredths along edges that cut through structures:
    there the image is mirrored, so that nothing wraps round from the other side.
    """
    height, width = image.shape
    # Mirrored once about each far edge it is periodic without a jump: period 2 n - 2.
    padded = F.pad(image.double()[None, None], (0, max(0, width - 2), 0, max(0, height - 2)), mode="reflect")[0, 0]
    transform = moved(torch.fft.rfft2(padded), padded.shape, (-shift_px[0], -shift_px[1]))
    placed: Tensor = torch.fft.irfft2(transform, s=padded.shape)[:height, :width].float()
    return placed
