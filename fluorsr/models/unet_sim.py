"""U-Net for structured illumination (Jin et al. 2020, Nat. Commun. 11, 1934): raw frames -> a super-resolved image.

    frames -> (64)------------------------ skip -----------------------(64)-> y
                \\ pool                                         double /
               (128)---------------------- skip -------------------(128)
                   \\ ...                                        ... /             (w): two 3 x 3 convolutions to w
                   (512)------------------ skip ---------------(512)                    channels, a ReLU after each
                       \\ pool                          double /
                        (1024)-------------------------------+                     double: transposed convolution, 2 x 2

The paper's network works on frames interpolated to the output's pixels (scale 1). With `scale` 2 it takes the camera's
pixels as they are, a quarter as many, and a sub-pixel tail makes the finer ones. The paper's scU-Net is two such
networks in a row (`cascade`): the first makes clean frames of dim ones, the second sees dim and clean ones.

With `periods_um` it is not given the frames but what they show of the specimen, order by order, each where it belongs
(fluorsr.classical.sim_demodulate): the stripes are measured once a plane, so the network need not find out where they
lie. Products of frames and stripes, which is what a small network learns last, are done for it.

Reach and grid are finite, so tiles are exact; their origins must be multiples of 2 ** (poolings).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from fluorsr.classical.sim_constants import SCALE
from fluorsr.classical.sim_demodulate import channels
from fluorsr.models.blocks import conv3x3, upsampler
from fluorsr.models.subpixel import composed1

ANGLES, ORDERS = 3, 2
"""Directions of a series, and side orders of three beams; two beams draw the second alone, at half the vector."""


class UNetSIMConfig(BaseModel):
    """Size of a U-Net. The defaults are the paper's (its code, github.com/drbeiliu/DeepLearning), but for BatchNorm.

    frames      raw frames: 15 or 9 of all angles and phases, 3, or 1
    widths      channels of each level from the finest to the deepest, each but the first behind a pooling
    scale       1 for frames interpolated to the output's pixels, 2 for the camera's own
    batch_norm  after each convolution, as in the paper; off, since a restored intensity should not depend on others
    cascade     the paper's scU-Net
    periods_um  (least, most) period of the stripes' first order: it is given orders of 15, 9 or 3 frames, at scale 2
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Literal[1, 3, 9, 15] = 15
    widths: tuple[int, ...] = Field(default=(64, 128, 256, 512, 1024), min_length=2, max_length=7)
    scale: Literal[1, 2] = 1
    batch_norm: bool = False
    cascade: bool = False
    periods_um: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _separable(self) -> Self:
        if self.periods_um is None:
            return self
        if self.frames < ANGLES or self.scale != SCALE or self.cascade:
            raise ValueError(
                "periods_um is for 15, 9 or 3 frames, scale 2 and no cascade: orders are taken apart before"
            )
        if not 0 < self.periods_um[0] < self.periods_um[1]:
            raise ValueError(f"periods_um {self.periods_um} must be above 0 and rise")
        return self

    @property
    def inputs(self) -> int:
        """Channels that the network takes."""
        return self.frames if self.periods_um is None else channels(ANGLES, ORDERS)


class DoubleConvolution(nn.Sequential):
    """3 x 3 convolution, (BatchNorm), ReLU; twice. [B, in, Y, X] -> [B, out, Y, X]."""

    def __init__(self, in_channels: int, out_channels: int, *, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for before in (in_channels, out_channels):
            layers.append(conv3x3(before, out_channels))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU())
        super().__init__(*layers)


class Up(nn.Module):
    """Twice the size by transposed convolution, joined with the skip, then a double convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.doubler = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.convolve = DoubleConvolution(2 * out_channels, out_channels, batch_norm=batch_norm)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """[B, in, Y, X] and [B, out, 2Y, 2X] -> [B, out, 2Y, 2X]."""
        joined: Tensor = self.convolve(torch.cat([skip, self.doubler(deep)], dim=1))
        return joined


class UNet(nn.Module):
    """[B, in, Y, X] -> [B, out, scale * Y, scale * X]; Y and X are multiples of 2 ** (levels - 1)."""

    __constants__ = ("enlarges",)  # decided when it is scripted: scale 1 has nothing to index

    def __init__(
        self, in_channels: int, out_channels: int, widths: tuple[int, ...], *, scale: int, batch_norm: bool
    ) -> None:
        super().__init__()
        first = widths[0]
        self.enlarges = scale > 1
        self.head = DoubleConvolution(in_channels, first, batch_norm=batch_norm)
        pairs = list(pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(DoubleConvolution(a, b, batch_norm=batch_norm) for a, b in pairs)
        self.up = nn.ModuleList(Up(b, a, batch_norm=batch_norm) for a, b in reversed(pairs))
        self.upsample = upsampler(first, scale)
        self.tail = nn.Conv2d(first, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        skips: list[Tensor] = []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x))
        for up in self.up:
            x = up(x, skips.pop())
        if not self.enlarges:
            restored: Tensor = self.tail(x)
            return restored
        x, last = self.upsample.but_last(x), self.upsample[-2]
        return composed1(x, last.weight, last.bias, self.tail.weight, self.tail.bias)  # type: ignore[arg-type]


class UNetSIM(nn.Module):
    """The network. `forward` maps [B, config.inputs, Y, X] to [B, 1, scale * Y, scale * X]."""

    def __init__(self, config: UNetSIMConfig) -> None:
        super().__init__()
        self.config = config
        frames, widths = config.inputs, config.widths
        self.clean = UNet(frames, frames, widths, scale=1, batch_norm=config.batch_norm) if config.cascade else None
        seen = 2 * frames if config.cascade else frames
        self.restore = UNet(seen, 1, widths, scale=config.scale, batch_norm=config.batch_norm)
        # Orders are images of the specimen already: their sum is a first guess.
        self.direct = nn.Conv2d(frames // SCALE**2, 1, 1) if config.periods_um else None
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch: [B, config.inputs, Y, X] -> [B, 1, scale * Y, scale * X]."""
        if self.clean is not None:
            x = torch.cat([x, self.clean(x)], dim=1)
        restored: Tensor = self.restore(x)
        if self.direct is not None:
            restored = restored + self.direct(functional.pixel_shuffle(x, SCALE))
        return restored


def _start(layer: nn.Module) -> None:
    """Keep the signal's size through every ReLU (He et al. 2015, equation 10): without BatchNorm it would fade away."""
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
