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
    power_of,
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
        ("passed", Tensor),
        ("striped", Tensor),
    ],
)
"""Where one angle's orders lie, and what its frames hold there: of one vector the same in every round.

some, opposite   [K] frequencies k of half the plane that the microscope passes, as indices into [Y X]; and -k
weight, seen     [K] 0 where light out of focus lies, and the frames' spectra [N, K] there
ring             [2 M, K] as `Scene.rings` tells it of the distance from orders 1, -1, 2, -2
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
        self.lens = lens
        self.passes = self.transfer > usual.LEAST_TRANSFER
        self.window = edge_window(self.shape, device=frames.device)
        # Each frame's own level: what is even in all would be taken for structure where they differ in brightness.
        level = (frames.double() * self.window).mean((-2, -1), keepdim=True) / self.window.mean()
        self.frames = frames.double() - level
        self.spectra = torch.fft.fft2(self.frames * self.window)
        self.wides = self._looked(self.frames.mean(1))
        self.wide = self.wides.mean(0)
        self.power = Spectrum(self.wides, self.frequency)
        self.endless = periodic(self.frames.mean((0, 1)))
        self.specimen = self._specimen(self.frames.mean(1))
        self.even = self._even()

    def look(self, wide: Tensor) -> None:
        """Take the specimen from wide-field images [A, Y, X], one from each angle: they differ in noise only."""
        self.wides = self._looked(wide)
        self.wide = self.wides.mean(0)
        self.power = Spectrum(self.wides, self.frequency)
        self.endless = periodic(wide.mean(0))
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
        weight = attenuation(self.frequency, 1.0, usual.NOTCH_PER_UM)
        distances: list[Tensor] = []
        passed: list[Tensor] = []
        striped: list[Tensor] = []
        for m in range(1, self.orders + 1):
            for sign in (1, -1):
                distance = self._distance(sign * m * wave)
                weight = weight * attenuation(distance, 1.0, usual.NOTCH_PER_UM)
                distances.append(distance.flatten())
            passed.append(transfer(self.lens, self._distance(-m * wave)))
            striped.append(carrier(m * wave, self.shape, self.pixel_um) * self.window)
        height, width = self.shape
        # The other half of the plane is this one's conjugate.
        half = (self.fy > 0) | ((self.fy == 0) & (self.fx > 0))
        some = torch.nonzero((self.passes & half).flatten())[:, 0]
        y, x = torch.div(some, width, rounding_mode="floor"), some.remainder(width)
        opposite = (height - y).remainder(height) * width + (width - x).remainder(width)
        ring = self.rings(torch.stack(distances).index_select(1, some))[0]
        seen = self.spectra[a].flatten(1).index_select(1, some)
        return Place(some, opposite, weight.flatten()[some], seen, ring, torch.stack(passed), torch.stack(striped))

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

    def trust(self, frequency: Tensor) -> Tensor:
        """Share of the specimen in the wide-field image's power at any frequencies: [...] of the same shape."""
        ring, reached = self.rings(frequency)
        return self.power.share[ring] * reached

    def rings(self, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """Which ring of `Spectrum` they lie in, and whether the frames hold anything there: [...] of the same shape."""
        ring, last = torch.round(frequency / self.power.step).long(), len(self.power.share) - 1
        reached = (ring <= last) & (transfer(self.lens, frequency) > usual.LEAST_TRANSFER)
        # Frames come without their own level, so ring 0 tells nothing: its neighbour speaks for it.
        return ring.clamp(1, last), reached

    def _distance(self, wave: Tensor) -> Tensor:
        return torch.hypot(self.fy - wave[0], self.fx - wave[1])

    def weights(self, place: Place, unmix: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a_nm of one angle's frames: brightness [N], orders [N, M] complex, their variance [N, M]; drift [N, 2] in um.

        unmix   [M + 1, N] of the frames in each order, where these come apart already: then order 0 tells of each ring
                of them as much as they hold of it, and frequencies count by what it does not tell there, whose chance
                likeness to order 0 passes for light and drift. What light out of focus spoils counts too, so for
                modulation and mean phase take those without it.
        """
        some = place.some
        striped = torch.fft.fft2(torch.fft.ifft2(self.specimen * place.passed) * place.striped).flatten(1)
        # stripes of -q are the conjugate image of those of q, as specimen, lens and window are real
        near = _both(striped.index_select(1, some), striped.index_select(1, place.opposite).conj())
        weight, noise = place.weight, self.phases * self._noise(place)
        if unmix is not None:
            near, weight, noise = self._likened(place, _both(unmix[1:], unmix[1:].conj()) @ place.seen, near)
        root = torch.sqrt(weight)
        even = self.even.flatten().index_select(0, some)[None]
        basis = torch.view_as_real(torch.cat([even, _parts(near) / 2, self._slopes(some) * even]) * root).flatten(1)
        given = torch.view_as_real(place.seen * root).flatten(1)
        normal = basis @ basis.T
        normal[-2:, -2:] += noise / usual.DRIFT_UM**2 * torch.eye(2, dtype=torch.float64, device=basis.device)
        a = torch.linalg.solve_ex(normal, basis @ given.T)[0].T
        rest = ((given - a @ basis) ** 2).mean(1).clamp(min=noise)
        covariance = torch.linalg.inv_ex(normal)[0].diagonal()[1:-2:2]
        light, drift = a[:, 0], a[:, -2:] / a[:, :1].clamp(min=usual.TINY)
        return light, torch.complex(a[:, 1:-2:2], a[:, 2:-2:2]), covariance * rest[:, None], drift

    def _likened(self, place: Place, found: Tensor, near: Tensor) -> tuple[Tensor, Tensor, float]:
        """What order 0 tells of the orders found, ring by ring as strong as they are; and how little it leaves.

        found, near  [2 M, K] of orders 1, -1, 2, -2
        Returns the same, a weight [K], and the variance of either part of what is left, so weighted.
        """
        power = (power_of(near) * place.weight).sum(1).clamp(min=usual.TINY)
        gain = ((near.conj() * found * place.weight).sum(1) / power)[:, None]
        alike = self._about((near.conj() * found * gain.conj()).real, place.ring)
        near = near * alike / (self._about(power_of(near), place.ring) * power_of(gain)).clamp(min=usual.TINY)
        other = self._about(power_of(found - near * gain), place.ring).sum(0)
        mean = other.mean().clamp(min=usual.TINY)
        return near, mean / other.clamp(min=usual.LEAST_LEFT**2 * mean), float(mean) / 2

    def _about(self, values: Tensor, ring: Tensor) -> Tensor:
        """Means [2 M, K] of what lies as far from either of an order's two places."""
        means: list[Tensor] = []
        for m in range(self.orders):
            rings = ring[2 * m : 2 * m + 2].flatten()
            nothing = torch.zeros_like(self.power.members)
            members = nothing.index_add(0, rings, torch.ones_like(rings, dtype=torch.float64)).clamp(min=1)
            mean = nothing.index_add(0, rings, values[2 * m : 2 * m + 2].flatten()) / members
            means.append(mean[rings].reshape(2, -1))
        return torch.cat(means)

    def left(self, a: int, place: Place, unmix: Tensor) -> tuple[Tensor, Tensor]:
        """What wrong steps leave of orders 1 .. M in order 0 of angle a: [2 M], and its covariance [2 M, 2 M].

        Real and imaginary share of each. All angles have the same order 0, so what one's differs by is noise, drift and
        this: neither lens nor specimen has to be known. Orders are sieved by their signal's share of their power, in
        rings about their places.
        """
        some = place.some
        own = self.wides[a].flatten()[some]
        others = (self.wides.sum(0).flatten()[some] - own) / (self.angles - 1)
        same = torch.cat([others[None], self._slopes(some) * others])
        taken = _both(unmix[1:], unmix[1:].conj())
        found = taken @ place.seen
        level = self.power.spread(self.power.noise).flatten()[some]
        frame = level / power_of(unmix[0]).sum()
        power = self._about(power_of(found), place.ring).clamp(min=usual.TINY)
        noise = self._about(power_of(taken).sum(1, keepdim=True) * frame, place.ring)
        share = (1 - noise / power).clamp(min=usual.LEAST_SHARE)
        basis = torch.view_as_real(torch.cat([same, _parts(found)])).flatten(1)
        sieve = torch.view_as_real(torch.cat([same, _parts(found * share)])).flatten(1)
        given = torch.view_as_real(own - others).flatten()
        # Of uneven steps order 0 and the others share noise, which would pull the steps towards even ones.
        rows = torch.stack([2 * unmix[1:].real, -2 * unmix[1:].imag], 1).flatten(0, 1)
        common = ((share * frame).sum(1).reshape(-1, 2).mean(1)).repeat_interleave(2)[:, None] * rows
        normal, right = sieve @ basis.T, sieve @ given
        normal[3:, 3:] -= usual.OF_NOISE * common @ rows.T
        right[3:] -= common @ unmix[0].real
        inverse = torch.linalg.inv_ex(normal)[0]
        spread = float(level.mean()) / 2 * self.angles / (self.angles - 1)
        covariance = inverse @ (sieve @ sieve.T) @ inverse.T * spread
        return (inverse @ right)[3:], covariance[3:, 3:]

    def _slopes(self, some: Tensor) -> Tensor:
        """What a specimen's spectrum is multiplied with for a drift of 1 um along y and x: [2, K]."""
        f = torch.stack([self.fy.expand(self.shape), self.fx.expand(self.shape)]).flatten(1)
        return -2j * math.pi * f.index_select(1, some)

    def _noise(self, place: Place) -> float:
        """Variance of either part of a wide-field image's weighted spectrum."""
        level = self.power.spread(self.power.noise).flatten()[place.some]
        return float((level * place.weight).mean()) / 2


def periodic(image: Tensor) -> Tensor:
    """Spectrum of an image [Y, X] less the smooth one that has its jumps from edge to opposite edge: [Y, X] complex.

    Moisan, J. Math. Imaging Vis. 39, 161 (2011): no cross of light from frequency 0, and no window is needed.
    """
    height, width = image.shape[0], image.shape[1]
    jump = torch.zeros_like(image)
    rows, columns = image[-1] - image[0], image[:, -1] - image[:, 0]
    jump[0] += rows
    jump[-1] -= rows
    jump[:, 0] += columns
    jump[:, -1] -= columns
    fy, fx = frequencies((height, width), 1.0, image.device)
    curvature = 2 * torch.cos(2 * math.pi * fy) + 2 * torch.cos(2 * math.pi * fx) - 4
    curvature[0, 0] = 1.0  # where the smooth image has nothing
    spectrum: Tensor = torch.fft.fft2(image) - torch.fft.fft2(jump) / curvature
    return spectrum


def _both(plus: Tensor, minus: Tensor) -> Tensor:
    """Orders 1 .. M and -1 .. -M [M, K] -> 1, -1, 2, -2 [2 M, K]."""
    return torch.stack([plus, minus], 1).flatten(0, 1)


def _parts(orders: Tensor) -> Tensor:
    """Spectra of what the real and the imaginary part of each order's weight add: [2 M, K] of orders 1, -1 .. alike."""
    plus, minus = orders[::2], orders[1::2]
    return torch.stack([plus + minus, 1j * (plus - minus)], 1).flatten(0, 1)


def check_series(frames: Tensor) -> None:
    """Raises InputError where frames are not [A, N, Y, X], too small or not finite."""
    if frames.ndim != 4 or frames.shape[0] < 2 or min(frames.shape[2:]) < usual.SMALLEST:
        raise InputError(
            f"frames must be [angles, phases, Y, X] with at least 2 angles and {usual.SMALLEST} pixels a side, "
            f"not {tuple(frames.shape)}"
        )
    if not bool(torch.isfinite(frames).all()):
        raise InputError("frames must be finite; replace NaN and infinity first")
