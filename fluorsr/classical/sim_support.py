"""Is what a restored SIM image shows in the frames? Structure without support in their modulated part is invented.

    predicted   P_dm = H (S exp(2 pi i m p_d.r))      from the restored image S and the measured stripes
    measured    C_dm                                  the side orders, taken apart from the frames (Gustafsson 2000)
    support(x)  = sum_dm <Re conj(P) C> / (gain sum_dm <|P|^2>)           <> a Gaussian window of `WINDOW_UM`

Only what lies in focus is striped, so C holds nothing of out-of-focus light. Where S shows structure that is there,
both agree and support is 1; where it shows structure that is not, P meets noise and support is 0. The imaginary parts
hold noise alone, and tell how large that is. Frequencies within `NOTCH_PER_UM` of any order's centre are left out: flat
light is no structure, and what leaks from frequency 0 is no support.

What it cannot tell: structure below the frames' noise (its `certain` is False there), an image too smooth to be wrong,
and structure finer than the side orders reach. Details that are displaced by less than the window's resolution, some
100 nm, lose support only in part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical.sim_constants import LEAST_TRANSFER, NOTCH_PER_UM
from fluorsr.classical.sim_orders import SimOptics, carrier, edge_window, frequencies, separate
from fluorsr.classical.sim_parameters import SimParameters
from fluorsr.errors import InputError
from fluorsr.optics.otf import attenuation
from fluorsr.optics.psf import gaussian_blur

WINDOW_UM = 0.6
"""Full width at half maximum of the window: some thirty resolved details."""

SURE = 3.0
"""Standard errors of support below which a pixel is not judged."""


@dataclass(frozen=True)
class Support:
    """How far the frames support a restored image.

    unsupported   share of the image's structure (its power above `NOTCH_PER_UM`) without support, 0 to 1, among what
                  can be judged; judged   share of the structure that can be
    support       [Y, X] of camera pixels: 1 where structure is in the frames, 0 where it is not
    error         [Y, X] standard error of it
    structure     [Y, X] local power of the restored image's structure
    gain          of the restored image against the frames, where it is supported
    """

    unsupported: float
    judged: float
    support: Tensor
    error: Tensor
    structure: Tensor
    gain: float

    @property
    def certain(self) -> Tensor:
        """[Y, X] where support is known to a third or better."""
        return self.error * SURE < 1


def sim_support(restored: Tensor, frames: Tensor, parameters: SimParameters, optics: SimOptics) -> Support:
    """Hold a restored image against its frames.

    restored     [s Y, s X], s = 1, 2, 3 .., in any units;  frames  [A, N, Y, X] camera pixels
    parameters   of the stripes, from these frames or brighter ones of the same field

    Raises InputError where the sizes do not fit or the image has no structure at all.
    """
    height, width = frames.shape[-2:]
    scale = restored.shape[-1] // width
    if restored.shape != (scale * height, scale * width) or scale < 1:
        raise InputError(
            f"a restored image of {tuple(restored.shape)} pixels does not fit frames of {(height, width)}: it must be "
            "a whole multiple of them along both axes"
        )
    shape, fine, pixel_um = (height, width), (scale * height, scale * width), optics.pixel_size_um
    fy, fx = frequencies(shape, pixel_um)
    frequency = torch.hypot(fy, fx)
    transfer = optics.transfer(frequency)
    passes = (transfer > LEAST_TRANSFER) * attenuation(frequency, 1.0, NOTCH_PER_UM)
    window, wide_window = edge_window(fine), edge_window(shape)
    image = restored.double() - restored.double().mean()
    flat = frames.double() - frames.double().mean()
    orders = torch.fft.fft2(separate(flat, parameters.orders_rad, parameters.light) * wide_window)

    real, imaginary, power = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    for d, wave in enumerate(parameters.wave_per_um):
        for m in range(1, parameters.modulation.shape[1] + 1):
            at = torch.hypot(fy - m * wave[0], fx - m * wave[1])
            weight = passes * attenuation(at, 1.0, NOTCH_PER_UM)
            striped = image * window * carrier(m * wave, fine, pixel_um / scale) * parameters.modulation[d, m - 1] / 2
            predicted = torch.fft.ifft2(torch.fft.fft2(_binned(striped, scale)) * transfer * weight)
            measured = torch.fft.ifft2(orders[d, m] * weight)
            product = predicted.conj() * measured
            real, imaginary = real + product.real, imaginary + product.imag
            power = power + predicted.abs() ** 2
    width_px = WINDOW_UM / pixel_um
    real, imaginary, power = (gaussian_blur(each[None, None], width_px)[0, 0] for each in (real, imaginary, power))
    if not float(power.max()) > 0:
        raise InputError("the restored image has no structure to be held against the frames: it is flat")
    power = power.clamp(min=1e-12 * float(power.max()))
    error = torch.sqrt((imaginary**2).mean() / power.mean() / power)
    raw = real / power
    clear = raw > SURE * error
    gain = float(real[clear].sum() / power[clear].sum()) if bool(clear.any()) else 1.0
    fine_f = torch.hypot(*frequencies(fine, pixel_um / scale))
    detail = torch.fft.ifft2(torch.fft.fft2(image * window) * attenuation(fine_f, 1.0, NOTCH_PER_UM)).real
    structure = gaussian_blur(functional.avg_pool2d((detail**2)[None, None], scale), width_px)[0, 0]
    support, error = raw / gain, error / gain
    certain = (error * SURE < 1) * structure
    missing = (certain * (1 - support.clamp(0, 1))).sum() / certain.sum().clamp(min=1e-300)
    return Support(float(missing), float(certain.sum() / structure.sum()), support, error, structure, gain)


def _binned(values: Tensor, scale: int) -> Tensor:
    """Means of scale x scale pixels of complex [Y, X]."""
    parts = torch.view_as_real(values).permute(2, 0, 1)
    return torch.view_as_complex(functional.avg_pool2d(parts, scale).permute(1, 2, 0).contiguous())
