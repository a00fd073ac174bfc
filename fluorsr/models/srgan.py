"""SRGAN (Ledig et al. 2017, CVPR, arXiv:1609.04802): the generator, which is all that restores, and its critic.

    x -> 9x9, PReLU -> block -> ... -> block -> conv, BN -> + -> (conv, shuffle, PReLU) x log2 scale -> 9x9 -> y
                    |                                       |
                    +--------------- skip ------------------+           block:  x + BN(conv(PReLU(BN(conv(x)))))

    y -> 8 convolutions of 3 x 3, every other with stride 2, LeakyReLU 0.2 -> dense -> dense -> how real, a logit

BatchNorm is the paper's and off by default: it blurs images of another brightness than the training's, and Lim et al.
2017 (section 3.1) and Wang et al. 2018 (ESRGAN, section 3.1) find better images without it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fluorsr.errors import InputError
from fluorsr.models.blocks import conv3x3, upsampler
from fluorsr.models.subpixel import shuffled_conv

LEAK = 0.2
"""Slope of the critic's LeakyReLU below 0."""


class SRGANConfig(BaseModel):
    """Size of a generator (SRResNet). The defaults are the paper's, but for its BatchNorm; scale 4 there.

    scale       output pixels per input pixel along y and x
    batch_norm  after each convolution of the body
    in_channels, out_channels   1 and 1 for microscopy; 3 and 3 in the paper
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: int = Field(default=16, ge=1, le=256)
    width: int = Field(default=64, ge=1, le=1024)
    scale: Literal[1, 2, 4] = 2
    batch_norm: bool = False
    in_channels: int = Field(default=1, ge=1, le=64)
    out_channels: int = Field(default=1, ge=1, le=64)


class Block(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))), figure 4: one slope of the PReLU for all channels."""

    def __init__(self, width: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(width, batch_norm), nn.PReLU(), *_conv(width, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, Y, X] -> [B, width, Y, X]."""
        residual: Tensor = self.body(x)
        return x + residual


class SRGAN(nn.Module):
    """The generator. `forward` maps [B, in_channels, Y, X] to [B, out_channels, scale * Y, scale * X]."""

    __constants__ = ("enlarges",)  # decided when it is scripted: scale 1 has nothing to index

    def __init__(self, config: SRGANConfig) -> None:
        super().__init__()
        self.enlarges = config.scale > 1
        self.head = nn.Sequential(nn.Conv2d(config.in_channels, config.width, 9, padding=4), nn.PReLU())
        blocks = [Block(config.width, batch_norm=config.batch_norm) for _ in range(config.blocks)]
        self.body = nn.Sequential(*blocks, *_conv(config.width, config.batch_norm))
        self.upsample = upsampler(config.width, config.scale, nn.PReLU)
        self.tail = nn.Conv2d(config.width, config.out_channels, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch: [B, in_channels, Y, X] -> [B, out_channels, scale * Y, scale * X]."""
        features = self.head(x)
        features = features + self.body(features)
        if not self.enlarges:
            restored: Tensor = self.tail(features)
            return restored
        features = self.upsample.but_last(features)
        # The last shuffle comes after the PReLU, which has one slope for all channels, and after the tail.
        fine = self.upsample[-1](self.upsample[-3](features))
        return shuffled_conv(fine, self.tail.weight, self.tail.bias)


class CriticConfig(BaseModel):
    """Size of a discriminator. The paper's: width 64, norm "batch", `side` 96, the side of its training patches.

    norm   "batch" (the paper's), "spectral" (Miyato et al. 2018, which keeps the critic's slopes in bounds) or "none"
    side   output pixels of a training patch, a multiple of 16: its dense layer sees every place. None: it sees the mean
           over all places, so that patches may have any size
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=64, ge=1, le=512)
    norm: Literal["batch", "spectral", "none"] = "spectral"
    side: int | None = Field(default=None, ge=16, multiple_of=16)
    in_channels: int = Field(default=1, ge=1, le=64)


class Critic(nn.Module):
    """The discriminator of figure 4, used in training only; its sigmoid is left to the loss."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.side = config.side
        widths = [config.width * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        stages: list[nn.Module] = []
        before = config.in_channels
        for n, width in enumerate(widths):
            # the first has no BatchNorm, and a bias before BatchNorm would be lost in its mean
            batch = config.norm == "batch" and n > 0
            layers: list[nn.Module] = [nn.Conv2d(before, width, 3, stride=1 + n % 2, padding=1, bias=not batch)]
            if batch:
                layers.append(nn.BatchNorm2d(width))
            stages.append(nn.Sequential(*layers, nn.LeakyReLU(LEAK)))
            before = width
        self.stages = nn.ModuleList(stages)
        places = (config.side // 16) ** 2 if config.side else 1
        self.dense = nn.Sequential(nn.Linear(before * places, 16 * config.width), nn.LeakyReLU(LEAK))
        self.logit = nn.Linear(16 * config.width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # He et al. 2015. torch's start shrinks what it passes on, to nothing after ten layers without norms:
                # such a critic learns nothing for thousands of steps.
                nn.init.kaiming_normal_(module.weight, LEAK)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                if config.norm == "spectral":
                    spectral_norm(module)

    def features(self, images: Tensor) -> list[Tensor]:
        """What each of the 8 stages makes of [B, in_channels, Y, X], the last [B, 8 * width, Y / 16, X / 16].

        Raises InputError where the critic was built for patches of another side.
        """
        height, width = images.shape[-2:]
        if self.side is not None and (height, width) != (self.side, self.side):
            raise InputError(
                f"the discriminator was built for patches of {self.side} x {self.side} output pixels, not {height} x "
                f"{width}; set its side to {height}, or to none for patches of any size"
            )
        found: list[Tensor] = []
        for stage in self.stages:
            found.append(stage(found[-1] if found else images))
        return found

    def judge(self, features: Tensor) -> Tensor:
        """How real an image is, from its last features: logits [B, 1]."""
        seen = features.mean((-2, -1)) if self.side is None else features.flatten(1)
        logits: Tensor = self.logit(self.dense(seen))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """How real images are: [B, in_channels, Y, X] -> logits [B, 1]."""
        return self.judge(self.features(images)[-1])


def _conv(width: int, batch_norm: bool) -> list[nn.Module]:
    return [conv3x3(width, width), nn.BatchNorm2d(width)] if batch_norm else [conv3x3(width, width)]
