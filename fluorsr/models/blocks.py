"""Building blocks that several networks share. All are TorchScript-friendly and pad with zeros inside convolutions.

Zero padding is fine here because tiles arrive with a halo of reflected or real pixels that is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fluorsr.errors import InputError


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size: [B, in, Y, X] -> [B, out, Y, X]."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


class ResidualBlock(nn.Module):
    """conv-ReLU-conv beside an identity, without batch normalisation: x + scaling * F(x).

    Lim et al. 2017, section 3.1 and figure 2c; scaling 0.1 keeps wide networks stable (section 3.3).
    """

    def __init__(self, width: int, scaling: float = 1.0) -> None:
        super().__init__()
        self.first = conv3x3(width, width)
        self.second = conv3x3(width, width)
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, Y, X] -> [B, width, Y, X]."""
        residual: Tensor = self.second(torch.relu(self.first(x)))
        if self.scaling != 1.0:
            residual = residual * self.scaling
        return x + residual


class Upsampler(nn.Sequential):
    """What `upsampler` makes."""

    def __init__(self, steps: list[nn.Module], last: int) -> None:
        super().__init__(*steps)
        self.before = len(steps) - last

    def but_last(self, x: Tensor) -> Tensor:
        """All doublings but the last, whose layers a network computes together with its tail (models/subpixel.py)."""
        for n, step in enumerate(self):
            if n < self.before:
                x = step(x)
        return x


def upsampler(width: int, scale: int, activation: Callable[[], nn.Module] | None = None) -> Upsampler:
    """Sub-pixel upsampling (Shi et al. 2016): [B, width, Y, X] -> [B, width, scale * Y, scale * X].

    Scale 4 is two steps of 2, as in Lim et al. 2017; scale 1 is empty. `activation` makes what follows each step.
    Raises InputError for any other scale.
    """
    if scale not in (1, 2, 4):
        raise InputError(f"scale is {scale}; the sub-pixel tail knows 1, 2 and 4")
    steps: list[nn.Module] = []
    for _ in range(scale.bit_length() - 1):
        steps += [conv3x3(width, 4 * width), nn.PixelShuffle(2), *([activation()] if activation else [])]
    return Upsampler(steps, last=3 if activation else 2)
