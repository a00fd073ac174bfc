"""EDSR: enhanced deep residual network for super-resolution (Lim et al. 2017, CVPR workshops, arXiv:1707.02921).

    x -> head -> block -> ... -> block -> conv -> + -> upsample -> tail -> y
             |                                    |
             +------------- global skip ----------+

The reach of an output pixel is finite, so tiles with a halo restore exactly what the whole image would give.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fluorsr.models.blocks import ResidualBlock, conv3x3, upsampler
from fluorsr.models.subpixel import composed3


class EDSRConfig(BaseModel):
    """Size of an EDSR. The defaults are the paper's baseline; `full()` is its full model.

    scale               output pixels per input pixel along y and x
    residual_scaling    0.1 steadies the training of wide models
    in_channels, out_channels   1 and 1 for microscopy; 3 and 3 in the paper
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: int = Field(default=16, ge=1, le=256)
    width: int = Field(default=64, ge=1, le=1024)
    scale: Literal[1, 2, 4] = 2
    residual_scaling: float = Field(default=1.0, gt=0, le=1)
    in_channels: int = Field(default=1, ge=1, le=64)
    out_channels: int = Field(default=1, ge=1, le=64)

    @classmethod
    def full(cls, scale: Literal[1, 2, 4] = 2) -> EDSRConfig:
        """The paper's full model: 32 blocks of 256 features, residual scaling 0.1."""
        return cls(blocks=32, width=256, scale=scale, residual_scaling=0.1)


class EDSR(nn.Module):
    """The network. `forward` maps [B, in_channels, Y, X] to [B, out_channels, scale * Y, scale * X]."""

    __constants__ = ("enlarges",)  # decided when it is scripted: scale 1 has nothing to index

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        self.enlarges = config.scale > 1
        self.head = conv3x3(config.in_channels, config.width)
        blocks: list[nn.Module] = [ResidualBlock(config.width, config.residual_scaling) for _ in range(config.blocks)]
        self.body = nn.Sequential(*blocks, conv3x3(config.width, config.width))
        self.upsample = upsampler(config.width, config.scale)
        self.tail = conv3x3(config.width, config.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch: [B, in_channels, Y, X] -> [B, out_channels, scale * Y, scale * X]."""
        features = self.head(x)
        features = features + self.body(features)
        if not self.enlarges:
            restored: Tensor = self.tail(features)
            return restored
        features, last = self.upsample.but_last(features), self.upsample[-2]
        return composed3(features, last.weight, last.bias, self.tail.weight, self.tail.bias)  # type: ignore[arg-type]
