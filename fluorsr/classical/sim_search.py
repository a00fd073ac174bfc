"""Where the stripes are, roughly: the highest peaks of cross-correlations over what chance makes of each place.

    clarity(q) = sum_m |X_m(m q)|^2 / E_m(m q)          X_m as in sim_parameters, of whitened spectra
    E_m(q)     = sum_k |S(k)|^2 |C_m(k + q)|^2          |X_m|^2 where the two spectra's phases have nothing in common

E falls steeply with q, as order 0 and order m share fewer and fewer frequencies. Two-beam stripes lie far out, where a
hundredth of the frequencies are shared; held against one level for all q, chance peaks further in outshine them.

Angle by angle first. Where that does not do, all angles together: microscopes have one period, and directions that
divide the half circle evenly, so the others need only be looked for in small windows around what each angle proposes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import frequencies, mixed, unmixing
from fluorsr.classical.sim_scene import Scene
from fluorsr.optics.otf import attenuation

LEAST_STRENGTH = 1.5
"""Height of a pattern's peak that noise alone, and a specimen's texture, may reach."""

SAME_PERIOD = 0.05
"""Relative difference of the angles' periods that microscopes stay well below."""

LEAST_SHARED = 0.02
"""Of the most that E is anywhere: where it is less, a handful of frequencies decide."""

WINDOW_PERIOD, WINDOW_RAD = 0.03, math.radians(4)
"""By how much the others' periods and directions may differ from those that one angle proposes."""

PROPOSALS = 24
"""Peaks of each angle that are tried."""

CLEARER = 1.5
"""How many times clearer than any other the best proposal must be; noise and a few spots reach 1.2, stripes 2 to 3."""

Peak = tuple[Tensor, float]
"""A vector [2] (y, x), and how far it stands out of what chance reaches."""


class _Surface:
    """The clarity of one angle at half frequency steps, in units of its median; 0 outside of the search."""

    def __init__(self, product: Tensor, chance: Tensor, scene: Scene, low: float, high: float) -> None:
        """product, chance  [M, Y, X] of one angle, as `_whitened` gives them."""
        height, width = size = (2 * scene.shape[0], 2 * scene.shape[1])
        self.fy, self.fx = frequencies(size, scene.pixel_um)
        length = torch.hypot(self.fy, self.fx)
        inside = (length >= low) & (length <= high)
        surface = torch.fft.fft2(product, s=size).abs() ** 2
        rows, columns = torch.arange(height), torch.arange(width)
        orders = range(1, scene.orders + 1)
        places = [((m * rows % height)[:, None], (m * columns % width)[None, :]) for m in orders]
        expected = [_finer(each)[place] for each, place in zip(chance, places, strict=True)]
        for each in expected:
            inside = inside & (each > LEAST_SHARED * each[inside].max())
        self.values = torch.zeros(size, dtype=torch.float64)
        for each, found, place in zip(expected, surface, places, strict=True):
            ratio = found[place] / each.clamp(min=usual.TINY)
            self.values += ratio / ratio[inside].median().clamp(min=usual.TINY)
        self.values[~inside] = 0.0
        self.inside, self._orders = inside, scene.orders

    def peak(self, within: Tensor | None = None) -> Peak:
        """The highest place [2] (y, x), cycles per um, and how far it stands out of what chance reaches there."""
        values = self.values if within is None else self.values.masked_fill(~within, 0.0)
        places = int((self.inside if within is None else self.inside & within).sum())
        row, column = divmod(int(values.argmax()), values.shape[1])
        chance = self._orders + math.log(max(2, places // 4)) / math.log(2)
        return torch.stack([self.fy[row, 0], self.fx[0, column]]), math.sqrt(float(values[row, column]) / chance)

    def proposals(self) -> list[Tensor]:
        """The highest places that are higher than those around them: [2] (y, x) each."""
        around = torch.nn.functional.max_pool2d(self.values[None, None], 5, 1, 2)[0, 0]
        peaks = torch.where((self.values == around) & self.inside, self.values, 0.0).flatten()
        places = [divmod(int(at), self.values.shape[1]) for at in peaks.topk(PROPOSALS).indices]
        return [torch.stack([self.fy[row, 0], self.fx[0, column]]) for row, column in places]


def find_vectors(scene: Scene, nominal: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Pattern vectors [A, 2] (y, x), to half a frequency step, and how clear they are [A]; below LEAST_STRENGTH: not.

    nominal     [A, N, M] phases to take the orders apart with;  low, high  of the vectors' lengths, cycles per um
    """
    products, chance = _whitened(scene, nominal)
    surfaces = [_Surface(*each, scene, low, high) for each in zip(products, chance, strict=True)]
    found = [each.peak() for each in surfaces]
    # An angle that disagrees with the clearest is looked for where that one's period is.
    radius = float(max(found, key=lambda each: each[1])[0].norm())
    for a, (wave, _) in enumerate(found):
        if abs(float(wave.norm()) / radius - 1) > SAME_PERIOD:
            length = torch.hypot(surfaces[a].fy, surfaces[a].fx)
            found[a] = surfaces[a].peak((length / radius - 1).abs() <= SAME_PERIOD)
    if not _agree(found):
        together = _together(surfaces)
        found = together if _agree(together) else found
    return torch.stack([wave for wave, _ in found]), torch.tensor([each for _, each in found], dtype=torch.float64)


def _agree(found: list[Peak]) -> bool:
    if not found:
        return False
    length = [float(wave.norm()) for wave, _ in found]
    return min(each for _, each in found) >= LEAST_STRENGTH and max(length) <= (1 + SAME_PERIOD) * min(length)


def _together(surfaces: list[_Surface]) -> list[Peak]:
    """The clearest of all proposals taken together; empty where another is nearly as clear.

    A few bright spots are as well explained by stripes of many periods and directions, and so is noise.
    """
    tried = sorted(
        ((sum(strength**2 for _, strength in found), found) for found in _proposed(surfaces)),
        key=lambda each: -each[0],
    )
    total, best = tried[0]
    apart = 2 * float(surfaces[0].fx[0, 2])
    for other, found in tried[1:]:
        if all(float((a - b).norm()) > apart for (a, _), (b, _) in zip(best, found, strict=True)):
            return best if total > CLEARER * other else []
    return best


def _proposed(surfaces: list[_Surface]) -> Iterator[list[Peak]]:
    """Peaks of all angles, of one period and with directions that are multiples of 180 / A degrees apart."""
    length = torch.hypot(surfaces[0].fy, surfaces[0].fx)
    direction = torch.atan2(surfaces[0].fy, surfaces[0].fx)
    part = math.pi / len(surfaces)
    for wave in (wave for each in surfaces for wave in each.proposals()):
        turned = direction - math.atan2(float(wave[0]), float(wave[1]))
        off = turned - part * torch.round(turned / part)
        free = ((length / float(wave.norm()) - 1).abs() <= WINDOW_PERIOD) & (off.abs() <= WINDOW_RAD)
        found = []
        for each in surfaces:
            found.append(each.peak(free))
            y, x = found[-1][0].tolist()
            steps = torch.round((direction - math.atan2(y, x)) / part)
            free = free & (steps.remainder(len(surfaces)) != 0)  # no two angles have one direction
        yield found


def _whitened(scene: Scene, orders_rad: Tensor) -> tuple[Tensor, Tensor]:
    """As `Scene.products`, of flattened spectra, so that no bright low frequency outshines the pattern's peak.

    With these [A, M, Y, X], the power that each frequency has where the spectra's phases have nothing in common.
    """
    weight = scene.trust(scene.frequency) * attenuation(scene.frequency, 1.0, usual.NOTCH_PER_UM)
    separated = mixed(unmixing(orders_rad), scene.spectra)[:, 1:]
    # What uneven phases and bleaching leave of order 0 correlates with it, at any distance in a few bright spots.
    known = scene.wide * weight
    left = (known.conj() * separated).sum((-2, -1), keepdim=True) / (known.conj() * scene.wide).sum()
    ours, theirs = _flattened(scene.wide) * weight, _flattened(separated - left * scene.wide) * scene.transfer
    powers = [torch.fft.ifft2(each.abs() ** 2) for each in (ours, theirs)]
    return torch.fft.ifft2(ours).conj() * torch.fft.ifft2(theirs), torch.fft.fft2(powers[0].conj() * powers[1]).real


def _flattened(spectrum: Tensor) -> Tensor:
    """Phases, and the root of the magnitudes: what stands out is also what noise has changed least."""
    return spectrum / spectrum.abs().clamp(min=usual.TINY).sqrt()


def _finer(values: Tensor) -> Tensor:
    """[Y, X] on a grid of frequencies -> [2 Y, 2 X] at half their steps."""
    for axis in (0, 1):
        between = (values + values.roll(-1, axis)) / 2
        values = torch.stack([values, between], axis + 1).flatten(axis, axis + 1)
    return values
