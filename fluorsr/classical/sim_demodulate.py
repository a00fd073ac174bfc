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

from fluorsr.classical.sim_orders import carrier, separate, separate_few
from fluorsr.optics.psf import gaussian_blur

SCALE = 2
BLUR_PX, BLUR_RADIUS = 2.0, 4
"""Full width at half maximum of the blur, a little less than any lens's: beyond its cut-off there is noise only."""

REACH_PX = BLUR_RADIUS + 2
"""Camera pixels that an output pixel depends on, to each side."""

USUAL_MODULATION = (0.7, 0.5)
"""Of the first and second order of three beams."""

LEAST_MODULATION = 0.3
"""Contrast below this is taken for this: an estimate that noise has spoilt would blow the noise up."""


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
    height, width = frames.shape[-2:]
    count, fine = modulation.shape[1], (SCALE * height, SCALE * width)
    apart = separate if frames.shape[2] > 2 * count else separate_few
    orders = apart(frames.double() - level * light[..., None, None], orders_rad, light)
    wide = orders[:, :, 0].real.mean(1, keepdim=True) + level
    parts = torch.view_as_real(orders[:, :, 1:].flatten(1, 2)).permute(0, 1, 4, 2, 3).flatten(1, 2)
    soft = gaussian_blur(torch.cat((wide, parts), 1).float(), BLUR_PX, radius=BLUR_RADIUS)
    large = functional.interpolate(soft, scale_factor=SCALE, mode="bicubic", align_corners=False)
    side = torch.view_as_complex(large[:, 1:].reshape(len(large), -1, 2, *fine).permute(0, 1, 3, 4, 2).contiguous())

    steps = torch.arange(1, count + 1, dtype=torch.float64)
    waves = (wave[:, None] * steps[:, None]).flatten(0, 1)
    back = carrier(-waves, fine, 1 / SCALE).to(torch.complex64)
    usual = torch.tensor(USUAL_MODULATION[:count], dtype=torch.float64).expand_as(modulation)
    contrast = (
        torch.where(modulation.isnan(), usual, modulation).flatten().clamp(min=LEAST_MODULATION).float()[:, None, None]
        / 2
    )
    if origin is not None:
        turn = torch.exp(-2j * math.pi * (origin.double() @ waves.T))
        side = side * turn.to(torch.complex64)[..., None, None]
    placed = torch.cat((large[:, :1], (side * back).real / contrast), 1)
    return functional.pixel_unshuffle(placed, SCALE)
