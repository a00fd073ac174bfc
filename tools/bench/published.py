"""EDSR as it is published and written first: every convolution and shuffle by itself. What peers are given."""

from __future__ import annotations

from torch import Tensor, nn

from fluorsr.models.edsr import EDSR


class Published(nn.Module):
    """The same weights and numbers as fluorsr's EDSR, which computes the last three layers as one."""

    def __init__(self, network: EDSR) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, Y, X] -> [B, out_channels, scale * Y, scale * X]."""
        features = self.network.head(x)
        features = features + self.network.body(features)
        restored: Tensor = self.network.tail(self.network.upsample(features))
        return restored
