"""Convolutions around a sub-pixel shuffle (Shi et al. 2016), computed before it, where there are fewer pixels.

    x -- widen --> 4 C channels -- shuffle --> C channels, fine -- tail --> y        as networks are drawn
    x -- both in one convolution --> 4 channels -- shuffle ----------------> y        the same numbers

With nothing but the shuffle between them two convolutions are one, whose kernel follows from theirs. At width 32 that
is a third of the multiplications at most, and no fine image of 32 channels has to pass through memory. Networks keep
the parameters of their papers; freezing an export leaves only the one kernel.
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
    kernel, bias = _composition(before_shuffle(_wide(tail)), widen, widen_bias, tail_bias)
    return functional.pixel_shuffle(functional.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=1), 2)


def composed3(x: Tensor, widen: Tensor, widen_bias: Tensor | None, tail: Tensor, tail_bias: Tensor | None) -> Tensor:
    """The same with a tail [O, D, 3, 3].

    The tail takes for zero what lies outside the fine image; one convolution, which knows of no fine image, takes what
    `widen` would make there of the edge. So it also gives what comes from outside, which is taken off the edges:

        corner | row of y, columns of y | corner      rows off the image above and below, columns off it left and
        -------+------------------------+-------      right; corners are in both, and so taken off twice
        column |           y            | column
    """
    late = before_shuffle(_wide(tail))
    rows = late - functional.pad(late[:, :, 1:2], (0, 0, 1, 1))  # without the row in the middle
    columns, corners = [taps - functional.pad(taps[..., 1:2], (1, 1)) for taps in (late, rows)]
    kernel, bias = _composition(torch.cat([late, -rows, -columns, corners]), widen, widen_bias, tail_bias)
    fine = functional.pixel_shuffle(functional.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=2), 2)
    y, row, column, corner = fine.chunk(4, 1)
    y, top, bottom = _left_and_right(y, column), row[..., :1, :], row[..., -1:, :]
    top, bottom = _left_and_right(top, corner[..., :1, :]), _left_and_right(bottom, corner[..., -1:, :])
    return torch.cat([y[..., :1, :] + top, y[..., 1:-1, :], y[..., -1:, :] + bottom], dim=-2)


def _left_and_right(y: Tensor, more: Tensor) -> Tensor:
    """y, with the outermost columns of `more` added to its own."""
    return torch.cat([y[..., :1] + more[..., :1], y[..., 1:-1], y[..., -1:] + more[..., -1:]], dim=-1)


def _wide(weights: Tensor) -> Tensor:
    """In float32 at least: so only the product of weights is rounded to bfloat16."""
    return weights if weights.dtype == torch.float64 else weights.float()


def _composition(
    late: Tensor, widen: Tensor, widen_bias: Tensor | None, tail_bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Kernel [N, C, r, r] and bias [N] of `widen`, then `late`, whose first channels have the tail's bias."""
    assert widen_bias is not None  # None is only in the type of nn.Conv2d.bias
    assert tail_bias is not None
    # One correlation after another is a correlation with the full convolution of their kernels.
    kernel = functional.conv_transpose2d(late, _wide(widen))
    own = _wide(tail_bias).repeat_interleave(4)
    return kernel, functional.pad(own, (0, late.shape[0] - own.shape[0])) + late.sum((2, 3)) @ _wide(widen_bias)
