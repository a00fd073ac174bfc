"""Convolutions around a sub-pixel shuffle (Shi et al. 2016), computed before it, where there are fewer pixels.

    x -- widen --> 4 C channels -- shuffle --> C channels, fine -- tail --> y        as networks are drawn
    x -- both in one convolution --> 4 channels -- shuffle ----------------> y        the same numbers

With nothing but the shuffle between them two convolutions are one, whose kernel follows from theirs. At width 32 that
is a twelfth of the multiplications, and no fine image of 32 channels has to pass through memory. Networks keep the
parameters of their papers; freezing an export leaves only the one kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def before_shuffle(kernel: Tensor) -> Tensor:
    """The kernel that does before a shuffle by 2 what `kernel` does after it, zeros outside the image included.

    kernel [O, C, k, k] with odd k -> [4 O, 4 C, r, r], channels in the order of torch's pixel_shuffle.
    """
    side = kernel.shape[-1]
    reach = (side // 2 + 1) // 2
    width = 2 * (2 * reach + 1)
    placed = []
    for y in range(2):
        for x in range(2):
            top, left = 2 * reach + y - side // 2, 2 * reach + x - side // 2
            canvas = functional.pad(kernel, (left, width - side - left, top, width - side - top))
            placed.append(functional.pixel_unshuffle(canvas, 2))
    return torch.stack(placed, 1).flatten(0, 1)


def shuffled_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution that keeps the size, of pixel_shuffle(x, 2): [B, 4 C, Y, X] -> [B, O, 2Y, 2X].

    weight [O, C, k, k] and bias [O] are the convolution's.
    """
    kernel = before_shuffle(weight)
    if bias is not None:
        bias = bias.repeat_interleave(4)
    return functional.pixel_shuffle(functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2), 2)


def composed1(x: Tensor, widen: Tensor, widen_bias: Tensor | None, tail: Tensor, tail_bias: Tensor | None) -> Tensor:
    """A convolution `tail` of the pixel_shuffle of a convolution `widen` of x: [B, C, Y, X] -> [B, O, 2Y, 2X].

    widen [4 D, C, 3, 3], tail [O, D, 1, 1] and their biases.
    """
    kernel, bias = _composition(widen, widen_bias, tail, tail_bias)
    return functional.pixel_shuffle(functional.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=1), 2)


def composed3(x: Tensor, widen: Tensor, widen_bias: Tensor | None, tail: Tensor, tail_bias: Tensor | None) -> Tensor:
    """The same with a tail [O, D, 3, 3].

    Along the edges the fine image between the two ends, of which one convolution knows nothing: there the outermost
    pixels are made in two steps, of the two outermost of x.
    """
    kernel, bias = _composition(widen, widen_bias, tail, tail_bias)
    wide = functional.pad(x, (2, 2, 2, 2))  # so that there are two pixels, of the smallest image too
    y = functional.pixel_shuffle(functional.conv2d(wide, kernel.to(x.dtype), bias.to(x.dtype)), 2)
    left = _in_two_steps(wide[..., 2:-2, 2:4], widen, widen_bias, tail, tail_bias)[..., :1]
    right = _in_two_steps(wide[..., 2:-2, -4:-2], widen, widen_bias, tail, tail_bias)[..., -1:]
    top = _in_two_steps(wide[..., 2:4, 2:-2], widen, widen_bias, tail, tail_bias)[..., :1, :]
    bottom = _in_two_steps(wide[..., -4:-2, 2:-2], widen, widen_bias, tail, tail_bias)[..., -1:, :]
    rows = torch.cat([left, y[..., 1:-1], right], dim=-1)
    return torch.cat([top, rows[..., 1:-1, :], bottom], dim=-2)


def _composition(
    widen: Tensor, widen_bias: Tensor | None, tail: Tensor, tail_bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Kernel [4 O, C, r, r] and bias [4 O], in float32 at least: so only their product is rounded to bfloat16."""
    assert widen_bias is not None  # None is only in the type of nn.Conv2d.bias
    assert tail_bias is not None
    if widen.dtype != torch.float64:
        widen, widen_bias, tail, tail_bias = widen.float(), widen_bias.float(), tail.float(), tail_bias.float()
    late = before_shuffle(tail)
    # One correlation after another is a correlation with the full convolution of their kernels.
    kernel = functional.conv_transpose2d(late, widen)
    return kernel, tail_bias.repeat_interleave(4) + late.sum((2, 3)) @ widen_bias


def _in_two_steps(
    x: Tensor, widen: Tensor, widen_bias: Tensor | None, tail: Tensor, tail_bias: Tensor | None
) -> Tensor:
    fine = functional.pixel_shuffle(functional.conv2d(x, widen, widen_bias, padding=1), 2)
    return functional.conv2d(fine, tail, tail_bias, padding=1)
