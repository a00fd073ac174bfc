"""Seams: is there more change across the borders of tiles than elsewhere?

    ... a b c | d e f ...       the fifth difference, -a + 5b - 10c + 10d - 5e + f, hardly sees a smooth image,
              ^ border          and sees a step of one part in a hundred

It is clipped, so that a bright filament does not decide, averaged along each border over the length of a tile, where a
seam has one sign and structure has many, and squared: the energy. The energy at borders is compared with that of all
other lines, in standard deviations of its logarithm. Tiles that fade into each other have no step, and are not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DIFFERENCE = (-1.0, 5.0, -10.0, 10.0, -5.0, 1.0)
BEFORE = len(DIFFERENCE) // 2
"""Pixels of the difference that lie before the border."""
CLIP = 3.0
"""Standard deviations, by the median."""
NORMAL_MAD = 1.4826

KNOWN, SCANNED = 3.5, 5.0
"""Scores that tell a seam: where the borders are known, and where many periods were tried."""
SEGMENT = 128
SHORTEST, LONGEST = 32, 4096
LEAST_BORDERS = 2


@dataclass(frozen=True)
class Seams:
    """The most suspicious grid of borders.

    period, phase   borders lie at phase + k * period, in output pixels along (y, x); 0 along an axis without borders
    score           in standard deviations;  ratio  energy at borders over that elsewhere
    known           whether the borders were known, or looked for
    """

    period: tuple[int, int]
    phase: tuple[int, int]
    score: float
    ratio: float
    known: bool

    @property
    def found(self) -> bool:
        return self.score > (KNOWN if self.known else SCANNED)


def find_seams(restored: Tensor, period: tuple[int, int] | None = None, phase: tuple[int, int] = (0, 0)) -> Seams:
    """Of restored [Y, X], finite. Looks for the period and phase where none is given."""
    lines = [_energies(image, segment) for image, segment in _views(restored, period)]
    if period is None:
        return _scan(lines)
    scores, ratios = [], []
    for log_energy, step, first in zip(lines, period, phase, strict=True):
        at = _borders(log_energy.numel(), step, first)
        if step and int(at.sum()) >= 1 and not bool(at.all()):
            score, ratio = _stand_out(log_energy, at)
            scores.append(score)
            ratios.append(ratio)
    if not scores:
        return Seams((0, 0), phase, 0.0, 1.0, True)
    return Seams(period, phase, sum(scores) / math.sqrt(len(scores)), max(ratios), True)


def _views(restored: Tensor, period: tuple[int, int] | None) -> list[tuple[Tensor, int]]:
    """The image turned so that the borders run down it, and how long one is."""
    height, width = period or (SEGMENT, SEGMENT)
    return [(restored.T, width or SEGMENT), (restored, height or SEGMENT)]


def _energies(image: Tensor, segment: int) -> Tensor:
    """Logarithm of the energy of each vertical line of [Y, X]: float64 [X - 5], line j before pixel j + BEFORE."""
    segment = min(segment, image.shape[0])
    starts = range(0, image.shape[0] - segment + 1, segment)
    sample = torch.cat([_difference(image[first : first + 1]) for first in range(0, image.shape[0], 7)])
    flat = sample.abs().flatten()
    limit = CLIP * NORMAL_MAD * float(flat.median())
    if limit == 0:  # more than half of it is flat
        limit = CLIP * float(flat[flat > 0].median()) if bool((flat > 0).any()) else 1.0
    energy = torch.zeros(image.shape[1] - len(DIFFERENCE) + 1, dtype=torch.float64)
    for first in starts:
        energy += _difference(image[first : first + segment]).clamp(-limit, limit).mean(0).square()
    return torch.log(energy / len(starts) + 1e-12 * limit**2)


def _difference(rows: Tensor) -> Tensor:
    length = rows.shape[1] - len(DIFFERENCE) + 1
    result = torch.zeros(rows.shape[0], length, dtype=torch.float64)
    for k, weight in enumerate(DIFFERENCE):
        result += weight * rows[:, k : k + length].double()
    return result


def _borders(count: int, period: int, phase: int) -> Tensor:
    """Which lines are borders; never the image's own edge."""
    place = torch.arange(count) + BEFORE
    return (place - phase) % period == 0 if period else torch.zeros(count, dtype=torch.bool)


def _stand_out(log_energy: Tensor, at: Tensor) -> tuple[float, float]:
    """By how many standard deviations the lines `at` stand out, and their energy over that of the others."""
    others = log_energy[~at]
    middle = others.median()
    spread = NORMAL_MAD * (others - middle).abs().median()
    if spread == 0:
        return 0.0, 1.0
    score = float((log_energy[at].mean() - middle) / spread) * math.sqrt(int(at.sum()))
    return score, math.exp(float(log_energy[at].mean() - middle))


def _scan(lines: list[Tensor]) -> Seams:
    """The period and phase whose borders stand out most, along either axis, of all that leave two borders."""
    best = Seams((0, 0), (0, 0), 0.0, 1.0, False)
    for axis, log_energy in enumerate(lines):
        middle = log_energy.median()
        spread = NORMAL_MAD * (log_energy - middle).abs().median()
        if spread == 0:
            continue
        standing = (log_energy - middle) / spread
        # A step shows in its neighbours too: only the highest of five lines may be a border.
        highest = torch.nn.functional.max_pool1d(standing[None], 5, 1, 2)[0]
        standing = torch.where(standing == highest, standing, standing.clamp(max=0))
        # One outlying line is no grid: no line counts for more than a clear seam does.
        standing = standing.clamp(max=8.0)
        for period in range(SHORTEST, min(LONGEST, log_energy.numel() // (LEAST_BORDERS + 1)) + 1):
            rows = -(-log_energy.numel() // period)
            padded = torch.zeros(rows * period, dtype=torch.float64)
            padded[: log_energy.numel()] = standing
            counts = torch.full((period,), float(rows), dtype=torch.float64)
            counts[log_energy.numel() - (rows - 1) * period :] -= 1
            scores = padded.reshape(rows, period).sum(0) / counts.sqrt()
            k = int(scores.argmax())
            if float(scores[k]) > best.score:
                periods, phases = [0, 0], [0, 0]
                periods[axis], phases[axis] = period, (k + BEFORE) % period
                at = _borders(log_energy.numel(), period, phases[axis])
                ratio = math.exp(float(log_energy[at].mean() - middle))
                best = Seams((periods[0], periods[1]), (phases[0], phases[1]), float(scores[k]), ratio, False)
    return best
