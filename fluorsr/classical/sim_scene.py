"""One SIM series, and what its wide-field image tells of the specimen: the sums that measuring its stripes needs.

S is the Wiener estimate of the wide-field image with the measured ratio of signal and noise at each frequency, so what
is measured with it is not lowered by noise. Low frequencies of every order are left out: out-of-focus light lies there.
TorchScript, as exported programs measure with it.
"""

from __future__ import annotations

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
        self.frames = frames.double() - float(frames.double().mean())
        self.spectra = torch.fft.fft2(self.frames * self.window)
        spectra = self._looked(self.frames.mean(1))
        self.wide = spectra.mean(0)
        self._power = Spectrum(spectra, self.frequency)
        self.specimen = self._specimen(self.frames.mean(1))
        self.even = self._striped(torch.zeros([2], dtype=torch.float64, device=frames.device))

    def look(self, wide: Tensor) -> None:
        """Take the specimen from wide-field images [A, Y, X], one from each angle: they differ in noise only."""
        spectra = self._looked(wide)
        self.wide = spectra.mean(0)
        self._power = Spectrum(spectra, self.frequency)
        self.specimen = self._specimen(wide)
        self.even = self._striped(torch.zeros([2], dtype=torch.float64, device=wide.device))

    def _looked(self, wide: Tensor) -> Tensor:
        spectra: Tensor = torch.fft.fft2(wide * self.window)
        return spectra

    def _specimen(self, wide: Tensor) -> Tensor:
        trusted = self.trust(self.frequency) / self.transfer.clamp(min=usual.LEAST_TRANSFER)
        # Unwindowed, so that the edges' own light stands in for what lies beyond them; the window comes after.
        specimen: Tensor = torch.fft.ifft2(torch.fft.fft2(wide.mean(0)) * trusted).real
        return specimen

    @property
    def empty(self) -> bool:
        """Whether the wide-field image shows next to nothing but noise."""
        return float(self.trust(self.frequency).sum()) < usual.FEWEST

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
                weight = self.transfer * attenuation(distance, 1.0, usual.NOTCH_PER_UM) * self.trust(distance)
                weight = weight * attenuation(self.frequency, 1.0, usual.NOTCH_PER_UM)
                wanted = torch.fft.ifft2(self._striped(wave) * weight)
                seen = torch.fft.ifft2(separated[a, m] * weight)
                found.append(wanted.conj() * seen * carrier(wave, self.shape, self.pixel_um))
        return torch.stack(found).reshape([len(waves), self.orders, self.shape[0], self.shape[1]])

    def trust(self, frequency: Tensor) -> Tensor:
        """Share of the specimen in the wide-field image's power at any frequencies: [...] of the same shape."""
        ring = torch.round(frequency / self._power.step).long()
        inside = ring < len(self._power.share)
        share = self._power.share[ring.clamp(max=len(self._power.share) - 1)]
        return share * inside * (transfer(self._lens, frequency) > usual.LEAST_TRANSFER)

    def _distance(self, wave: Tensor) -> Tensor:
        return torch.hypot(self.fy - wave[0], self.fx - wave[1])

    def _striped(self, wave: Tensor) -> Tensor:
        """Spectrum of H (S exp(2 pi i q.r)), cut by the window as the frames are."""
        image = torch.fft.fft2(self.specimen * carrier(wave, self.shape, self.pixel_um)) * self.transfer
        spectrum: Tensor = torch.fft.fft2(torch.fft.ifft2(image) * self.window)
        return spectrum

    def weights(
        self, spectra: Tensor, wave: Tensor, separated: Tensor, theta: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """a_nm of one angle's frames [N, Y, X]: brightness [N], orders [N, M] complex, their variance [N, M].

        theta   [N, M] phases of the last round: what the orders hold beyond the wide-field image's reach is taken
                off with them, or its chance likeness to the rest would move the phases by degrees
        """
        weight = self.passes * attenuation(self.frequency, 1.0, usual.NOTCH_PER_UM)
        for m in range(1, self.orders + 1):
            for sign in (1, -1):
                weight = weight * attenuation(self._distance(sign * m * wave), 1.0, usual.NOTCH_PER_UM)
        some = weight > 0.01  # a third of all frequencies: what follows is a third of the work
        root, seen = torch.sqrt(weight[some]), spectra[:, some]
        columns = [self.even[some]]
        for m in range(1, self.orders + 1):
            striped = self._striped(m * wave)
            plus, minus = striped[some], _mirrored(striped)[some]
            columns += [(plus + minus) / 2, 1j * (plus - minus) / 2]
            if theta is not None:
                for sign in (1, -1):
                    order = separated[m] if sign > 0 else _mirrored(separated[m])
                    beyond = order[some] * (1 - self.trust(self._distance(sign * m * wave)[some]))
                    seen = seen - torch.exp(1j * sign * theta[:, m - 1])[:, None] * beyond
        basis = torch.view_as_real(torch.stack([each * root for each in columns])).flatten(1)
        seen = torch.view_as_real(seen * root).flatten(1)
        normal = basis @ basis.T
        a = torch.linalg.solve_ex(normal, basis @ seen.T)[0].T
        # What was taken off holds noise too, so what is left may understate it.
        noise = self.phases * float((self._power.spread(self._power.noise)[some] * weight[some]).mean()) / 2
        rest = ((seen - a @ basis) ** 2).mean(1).clamp(min=noise)
        covariance = torch.linalg.inv_ex(normal)[0].diagonal()[1::2]
        return a[:, 0], torch.complex(a[:, 1::2], a[:, 2::2]), covariance * rest[:, None]


def _mirrored(spectrum: Tensor) -> Tensor:
    """Of the conjugate image: conj(X(-k)); stripes of -q are those of q so, as specimen, lens and window are real."""
    return torch.roll(spectrum.flip([0, 1]), [1, 1], [0, 1]).conj()


def check_series(frames: Tensor) -> None:
    """Raises InputError where frames are not [A, N, Y, X], too small or not finite."""
    if frames.ndim != 4 or frames.shape[0] < 2 or min(frames.shape[2:]) < usual.SMALLEST:
        raise InputError(
            f"frames must be [angles, phases, Y, X] with at least 2 angles and {usual.SMALLEST} pixels a side, "
            f"not {tuple(frames.shape)}"
        )
    if not bool(torch.isfinite(frames).all()):
        raise InputError("frames must be finite; replace NaN and infinity first")
