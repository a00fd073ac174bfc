"""Raw SIM frames as images that all show the specimen in its place: for networks to weigh, denoise and deconvolve.

    frames --separate--> C_dm  --blur, twice the pixels-->  times exp(-2 pi i m p_d.r)  -->  real part, over c_dm

C_dm is order m of direction d as the camera saw it (fluorsr.classical.sim_orders). The product puts it back to where
the specimen has it, m p_d further out; summed over d and m, and deconvolved, this is the Wiener reconstruction. Nothing
of it depends on where the stripes lie, so who looks at these images need not know their directions, periods or phases.

      camera pixel   [ a b ]      the four finer pixels of a camera pixel are four channels: a b c d of order 0 (mean
                     [ c d ]      over the directions), then of direction 0 order 1, direction 0 order 2, ...
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_constants import BLUR_RADIUS, SCALE
from fluorsr.classical.sim_orders import carrier, check_phases, mixed, told_apart, unmixing, unmixing_few
from fluorsr.optics.psf import blur_with, sampled_gaussian

REACH_PX = BLUR_RADIUS + 2
"""Camera pixels that an output pixel depends on, to each side."""


def channels(angles: int, orders: int) -> int:
    """How many images `demodulate` makes of a series."""
    return SCALE**2 * (1 + angles * orders)


def demodulate(
    frames: Tensor,
    wave: Tensor,
    orders_rad: Tensor,
    modulation: Tensor,
    light: Tensor,
    level: float,
    origin: Tensor | None = None,
) -> Tensor:
    """Frames [B, A, N, Y, X] of the same stripes -> [B, channels, Y, X] float32, in the units of the frames.

    wave        [A, 2] (y, x) of the first order, cycles per camera pixel
    orders_rad  [A, N, M] phase of every order at the corner of pixel (0, 0);  modulation  [A, M] its contrast, NaN
                where it is not known, as of fewer phases than orders
    light       [A, N] brightness of each frame, 1 on average;  level  mean of the whole plane, taken off before
    origin      [B, 2] (y, x) of each field's first pixel from where the phases hold
    Raises InputError where the phases do not tell the orders apart.
    """
    if frames.shape[2] > 2 * modulation.shape[1]:
        check_phases(orders_rad, light)
    return place_orders(frames, wave, orders_rad, modulation, light, level, origin)


def place_orders(
    frames: Tensor,
    wave: Tensor,
    orders_rad: Tensor,
    modulation: Tensor,
    light: Tensor,
    level: float,
    origin: Tensor | None = None,
) -> Tensor:
    """As `demodulate`; where the phases do not tell the orders apart, those of least expected error. TorchScript."""
    count, fine = modulation.shape[1], (usual.SCALE * frames.shape[-2], usual.SCALE * frames.shape[-1])
    weights = unmixing(orders_rad, light) if told_apart(orders_rad, light) else unmixing_few(orders_rad, light)
    orders = mixed(weights, frames.double() - level * light[..., None, None])
    wide = orders[:, :, 0].real.mean(1, keepdim=True) + level
    parts = torch.view_as_real(orders[:, :, 1:].flatten(1, 2)).permute(0, 1, 4, 2, 3).flatten(1, 2)
    blur = sampled_gaussian(torch.full([], usual.BLUR_PX, dtype=torch.float64, device=frames.device), usual.BLUR_RADIUS)
    soft = blur_with(torch.cat((wide, parts), 1).float(), blur)
    # not functional.interpolate, whose compiled form knows what LibTorch 2.0 does not
    large = torch.ops.aten.upsample_bicubic2d(soft, None, False, [float(usual.SCALE), float(usual.SCALE)])
    side = torch.view_as_complex(
        large[:, 1:].reshape([len(large), -1, 2, fine[0], fine[1]]).permute(0, 1, 3, 4, 2).contiguous()
    )

    steps = torch.arange(1, count + 1, dtype=torch.float64, device=frames.device)
    waves = (wave[:, None] * steps[:, None]).flatten(0, 1)
    back = carrier(-waves, fine, 1 / usual.SCALE).to(torch.complex64)
    known = torch.tensor(usual.USUAL_MODULATION, dtype=torch.float64, device=frames.device)[:count]
    contrast = torch.where(modulation.isnan(), known.expand_as(modulation), modulation)
    if origin is not None:
        turn = torch.exp(-2j * math.pi * (origin.double() @ waves.T))
        side = side * turn.to(torch.complex64)[..., None, None]
    half = contrast.flatten().clamp(min=usual.LEAST_MODULATION).float()[:, None, None] / 2
    placed = torch.cat((large[:, :1], (side * back).real / half), 1)
    return functional.pixel_unshuffle(placed, usual.SCALE)
