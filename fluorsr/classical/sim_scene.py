"""One SIM series, and what its wide-field image tells of the specimen: the sums that measuring its stripes needs.

S is the Wiener estimate of the wide-field image with the measured ratio of signal and noise at each frequency, so what
is measured with it is not lowered by noise. Low frequencies of every order are left out: out-of-focus light lies there.
TorchScript, as exported programs measure with it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import (
    Lens,
    Spectrum,
    carrier,
    edge_window,
    frequencies,
    transfer,
)
from fluorsr.errors import InputError
from fluorsr.optics.otf import attenuation

Place = NamedTuple(  # noqa: UP014 - TorchScript does not find postponed annotations of another file's tuples
    "Place",
    [
        ("some", Tensor),
        ("opposite", Tensor),
        ("weight", Tensor),
        ("seen", Tensor),
        ("ring", Tensor),
        ("reached", Tensor),
        ("passed", Tensor),
        ("striped", Tensor),
    ],
)
"""Where one angle's orders lie, and what its frames hold there: of one vector the same in every round.

some, opposite   [K] frequencies k that tell of the orders, a third of all, as indices into [Y X]; and -k
weight, seen     [K], and the frames' spectra [N, K] there
ring, reached    [2 M, K] as `Scene.rings` tells them of the distance from orders 1, -1, 2, -2
passed           [M, Y, X] the transfer function, as the specimen's frequencies meet it when an order has moved them
striped          [M, Y, X] each order's stripes, cut by the window
"""


class Scene:
    """The frames and what the wide-field image tells of the specimen; does the sums of steps 2 and 3."""

    def __init__(self, frames: Tensor, lens: Lens, orders: int) -> None:
        """frames  [A, N, Y, X], checked (`check_series`)."""
        self.angles, self.phases = frames.shape[0], frames.shape[1]
        self.shape = (frames.shape[2], frames.shape[3])
        self.orders, self.pixel_um = orders, lens.pixel_size_um
        self.fy, self.fx = frequencies(self.shape, self.pixel_um, frames.device)
        self.frequency = torch.hypot(self.fy, self.fx)
        self.transfer = transfer(lens, self.frequency)
        self._lens = lens
        self.passes = self.transfer > usual.LEAST_TRANSFER
        self.window = edge_window(self.shape, device=frames.device)
        # Each frame's own level: what is even in all would be taken for structure where they differ in brightness.
        level = (frames.double() * self.window).mean((-2, -1), keepdim=True) / self.window.mean()
        self.frames = frames.double() - level
        self.spectra = torch.fft.fft2(self.frames * self.window)
        self.wides = self._looked(self.frames.mean(1))
        self.wide = self.wides.mean(0)
        self._power = Spectrum(self.wides, self.frequency)
        self.specimen = self._specimen(self.frames.mean(1))
        self.even = self._even()

    def look(self, wide: Tensor) -> None:
        """Take the specimen from wide-field images [A, Y, X], one from each angle: they differ in noise only."""
        self.wides = self._looked(wide)
        self.wide = self.wides.mean(0)
        self._power = Spectrum(self.wides, self.frequency)
        self.specimen = self._specimen(wide)
        self.even = self._even()

    def _looked(self, wide: Tensor) -> Tensor:
        spectra: Tensor = torch.fft.fft2(wide * self.window)
        return spectra

    def _specimen(self, wide: Tensor) -> Tensor:
        """Its spectrum."""
        trusted = self.trust(self.frequency) / self.transfer.clamp(min=usual.LEAST_TRANSFER)
        # Unwindowed, so that the edges' own light stands in for what lies beyond them; the window comes after.
        specimen: Tensor = torch.fft.fft2(wide.mean(0)) * trusted
        return specimen

    def _even(self) -> Tensor:
        """Spectrum of H S, cut by the window as the frames are."""
        spectrum: Tensor = torch.fft.fft2(torch.fft.ifft2(self.specimen * self.transfer).real * self.window)
        return spectrum

    def place(self, a: int, wave: Tensor) -> Place:
        """Where the orders of angle a lie, whose first has the vector [2]."""
        weight = self.passes * attenuation(self.frequency, 1.0, usual.NOTCH_PER_UM)
        distances: list[Tensor] = []
        passed: list[Tensor] = []
        striped: list[Tensor] = []
        for m in range(1, self.orders + 1):
            for sign in (1, -1):
                distance = self._distance(sign * m * wave)
                weight = weight * attenuation(distance, 1.0, usual.NOTCH_PER_UM)
                distances.append(distance.flatten())
            passed.append(transfer(self._lens, self._distance(-m * wave)))
            striped.append(carrier(m * wave, self.shape, self.pixel_um) * self.window)
        height, width = self.shape
        some = torch.nonzero(weight.flatten() > 0.01)[:, 0]
        y, x = torch.div(some, width, rounding_mode="floor"), some.remainder(width)
        opposite = (height - y).remainder(height) * width + (width - x).remainder(width)
        ring, reached = self.rings(torch.stack(distances).index_select(1, some))
        seen = self.spectra[a].flatten(1).index_select(1, some)
        return Place(
            some, opposite, weight.flatten()[some], seen, ring, reached, torch.stack(passed), torch.stack(striped)
        )

    @property
    def empty(self) -> bool:
        """Whether the wide-field image shows next to nothing but noise."""
        return float(self.trust(self.frequency).sum()) < usual.FEWEST

    def move(self, drift_um: Tensor) -> None:
        """Put the frames back by drift [A, N, 2] (y, x) of the specimen."""
        drift = drift_um[..., None, None]
        back = torch.exp(2j * math.pi * (self.fy * drift[..., 0, :, :] + self.fx * drift[..., 1, :, :]))
        self.frames = torch.fft.ifft2(torch.fft.fft2(self.frames) * back).real
        self.spectra = self.spectra * back

    def products(self, separated: Tensor, waves: Tensor) -> Tensor:
        """conj(M_m) C_m at each pixel, whose Fourier transform is highest at m p: [A, M, Y, X].

        M_m is what the specimen would give at `waves`. Both are cut to the frequencies that are known in both, so that
        where the waves are right the product is a density without a phase, and nothing moves the peak.
        """
        found: list[Tensor] = []
        for a in range(len(waves)):
            for m in range(1, self.orders + 1):
                wave = m * waves[a]
                distance = self._distance(wave)
                # Both orders' transfers alike: where they differ, light out of focus is not the same in both.
                weight = torch.sqrt(transfer(self._lens, distance) * self.transfer) * self.trust(distance) * self.passes
                for each in (distance, self.frequency):
                    weight = weight * attenuation(each, 1.0, usual.NOTCH_PER_UM)
                wanted = torch.fft.ifft2(self._striped(wave) * weight)
                seen = torch.fft.ifft2(separated[a, m] * weight)
                found.append(wanted.conj() * seen * carrier(wave, self.shape, self.pixel_um))
        return torch.stack(found).reshape([len(waves), self.orders, self.shape[0], self.shape[1]])

    def trust(self, frequency: Tensor) -> Tensor:
        """Share of the specimen in the wide-field image's power at any frequencies: [...] of the same shape."""
        ring, reached = self.rings(frequency)
        return self._power.share[ring] * reached

    def rings(self, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """Which ring of `Spectrum` they lie in, and whether the frames hold anything there: [...] of the same shape."""
        ring, last = torch.round(frequency / self._power.step).long(), len(self._power.share) - 1
        reached = (ring <= last) & (transfer(self._lens, frequency) > usual.LEAST_TRANSFER)
        # Frames come without their own level, so ring 0 tells nothing: its neighbour speaks for it.
        return ring.clamp(1, last), reached

    def _distance(self, wave: Tensor) -> Tensor:
        return torch.hypot(self.fy - wave[0], self.fx - wave[1])

    def _striped(self, wave: Tensor) -> Tensor:
        """Spectrum of H (S exp(2 pi i q.r)), cut by the window as the frames are."""
        passed = transfer(self._lens, self._distance(-wave))
        image = torch.fft.ifft2(self.specimen * passed) * carrier(wave, self.shape, self.pixel_um)
        spectrum: Tensor = torch.fft.fft2(image * self.window)
        return spectrum

    def weights(self, place: Place, unmix: Tensor, theta: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a_nm of one angle's frames: brightness [N], orders [N, M] complex, their variance [N, M]; drift [N, 2] in um.

        unmix   [M + 1, N] of the frames in each order
        theta   [N, M] phases of the last round: what the orders hold beyond the wide-field image's reach is taken
                off with them, or its chance likeness to the rest would move the phases by degrees
        """
        some, root = place.some, torch.sqrt(place.weight)
        striped = torch.fft.fft2(torch.fft.ifft2(self.specimen * place.passed) * place.striped).flatten(1)
        # stripes of -q are the conjugate image of those of q, as specimen, lens and window are real
        plus, minus = striped.index_select(1, some), striped.index_select(1, place.opposite).conj()
        waves = torch.stack([(plus + minus) / 2, 1j * (plus - minus) / 2], 1).flatten(0, 1)
        even = self.even.flatten().index_select(0, some)[None]
        basis = torch.view_as_real(torch.cat([even, waves, self._slopes(some) * even]) * root).flatten(1)
        seen = place.seen
        if theta is not None:
            # and orders -m of real frames have the conjugate weights
            both = torch.stack([unmix[1:], unmix[1:].conj()], 1).flatten(0, 1) @ seen
            beyond = both * (1 - self._power.share[place.ring] * place.reached)
            seen = seen - torch.exp(1j * torch.stack([theta, -theta], 2).flatten(1)) @ beyond
        given = torch.view_as_real(seen * root).flatten(1)
        # What was taken off holds noise too, so what is left may understate it.
        noise = self.phases * self._noise(place)
        normal = basis @ basis.T
        normal[-2:, -2:] += noise / usual.DRIFT_UM**2 * torch.eye(2, dtype=torch.float64, device=basis.device)
        a = torch.linalg.solve_ex(normal, basis @ given.T)[0].T
        rest = ((given - a @ basis) ** 2).mean(1).clamp(min=noise)
        covariance = torch.linalg.inv_ex(normal)[0].diagonal()[1:-2:2]
        light, drift = a[:, 0], a[:, -2:] / a[:, :1].clamp(min=usual.TINY)
        return light, torch.complex(a[:, 1:-2:2], a[:, 2:-2:2]), covariance * rest[:, None], drift

    def left(self, a: int, place: Place, unmix: Tensor) -> tuple[Tensor, Tensor]:
        """What wrong steps leave of orders 1 .. M in order 0 of angle a: [2 M], and its covariance [2 M, 2 M].

        Real and imaginary share of each. All angles have the same order 0, so what one's differs by is noise, drift and
        this: neither lens nor specimen has to be known.
        """
        some, root = place.some, torch.sqrt(place.weight)
        own = self.wides[a].flatten()[some]
        others = (self.wides.sum(0).flatten()[some] - own) / (self.angles - 1)
        plus, minus = unmix[1:] @ place.seen, unmix[1:].conj() @ place.seen
        waves = torch.stack([plus + minus, 1j * (plus - minus)], 1).flatten(0, 1)
        same = torch.cat([others[None], self._slopes(some) * others])
        basis = torch.view_as_real(torch.cat([same, waves]) * root).flatten(1)
        # where little passes there is noise
        passed = self.transfer.flatten()[some]
        sieve = torch.view_as_real(torch.cat([same, waves * passed]) * root).flatten(1)
        given = torch.view_as_real((own - others) * root).flatten()
        inverse = torch.linalg.inv_ex(sieve @ basis.T)[0]
        noise = self._noise(place) * self.angles / (self.angles - 1)
        covariance = inverse @ (sieve @ sieve.T) @ inverse.T * noise
        return (inverse @ (sieve @ given))[3:], covariance[3:, 3:]

    def _slopes(self, some: Tensor) -> Tensor:
        """What a specimen's spectrum is multiplied with for a drift of 1 um along y and x: [2, K]."""
        f = torch.stack([self.fy.expand(self.shape), self.fx.expand(self.shape)]).flatten(1)
        return -2j * math.pi * f.index_select(1, some)

    def _noise(self, place: Place) -> float:
        """Variance of either part of a wide-field image's weighted spectrum."""
        level = self._power.spread(self._power.noise).flatten()[place.some]
        return float((level * place.weight).mean()) / 2


def check_series(frames: Tensor) -> None:
    """Raises InputError where frames are not [A, N, Y, X], too small or not finite."""
    if frames.ndim != 4 or frames.shape[0] < 2 or min(frames.shape[2:]) < usual.SMALLEST:
        raise InputError(
            f"frames must be [angles, phases, Y, X] with at least 2 angles and {usual.SMALLEST} pixels a side, "
            f"not {tuple(frames.shape)}"
        )
    if not bool(torch.isfinite(frames).all()):
        raise InputError("frames must be finite; replace NaN and infinity first")
