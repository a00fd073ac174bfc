"""SR3: super-resolution by repeated refinement, a diffusion model (Saharia et al. 2021, arXiv:2104.07636).

    y = sqrt(gamma) y_0 + sqrt(1 - gamma) noise                                                         (equation 6)

    x -- interpolate --+
    x -- guide --------+-- join --> U-Net( . , sqrt(gamma)) --> the noise in y --> y_0     loss: |noise - U-Net|
    y -----------------+                                                                   (equation 6, with p = 1)

Restoring starts from noise alone and asks the network a few times (samplers.py); every seed gives another image that
x allows. An output pixel depends on x as far as all evaluations together reach, so the U-Net here is shallow, and two
things of the paper that see the whole image are options: GroupNorm, in whose place each pixel is normalised over its
channels, which channels, which depends on nothing else; and self-attention. So tiles stay exact.

The guide is ours, and an option: a regression network, trained before, whose image is joined too. It says where the
mean of all samples lies, which takes days to learn otherwise, and leaves the texture to the U-Net. Whang et al. 2022
("Deblurring via stochastic refinement") and Li et al. 2022 (SRDiff) begin with such a network as well.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from fluorsr.models.blocks import conv3x3
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.noise import gaussian
from fluorsr.models.samplers import SAMPLERS, find_sampler, levels, linear_schedule

CENTRE, SPREAD = 0.5, 0.5
"""Normalised intensities 0 to 1 are -1 to 1 for the diffusion, as in the paper."""


class SR3Config(BaseModel):
    """Size of an SR3. `paper()` is that of the article's 16 -> 128 model.

    frames, scale   input channels, and output pixels per input pixel along y and x
    width, multipliers   channels of the finest level, and how many times as many each level has; a pooling between
    blocks          residual blocks a level
    compact         a mean in place of each strided convolution, no convolution after doubling, one block less a level
                    on the way up and in the middle: two thirds of the reach. The paper's network: False
    attention       factors of downsampling (1, 2, 4, ...) at which there is self-attention; then tiles are not exact
    norm            "pixel" (local), "group" (the paper's; not exact) or "none"
    predicts        what the network is asked for: "noise", or "v" = sqrt(gamma) noise - sqrt(1 - gamma) y_0
                    (Salimans and Ho 2022, section 4), which stays well-posed near gamma 0, where few steps begin
    guide           an EDSR of the same frames and scale, whose image the U-Net is shown beside the interpolated input
    timesteps, beta   of the training's noise schedule
    steps, sampler  of restoring, where none are asked for
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(default=1, ge=1, le=64)
    scale: Literal[1, 2, 4, 8] = 2
    width: int = Field(default=32, ge=4, le=512, multiple_of=4)
    multipliers: tuple[int, ...] = Field(default=(1, 2, 4), min_length=1, max_length=8)
    blocks: int = Field(default=1, ge=1, le=8)
    compact: bool = True
    attention: tuple[int, ...] = ()
    norm: Literal["pixel", "group", "none"] = "pixel"
    predicts: Literal["noise", "v"] = "noise"
    guide: EDSRConfig | None = None
    timesteps: int = Field(default=2000, ge=1, le=10_000)
    beta: tuple[float, float] = (1e-6, 1e-2)
    steps: int = Field(default=10, ge=1)
    sampler: str = "sde_dpm_solver_pp_2m"

    @model_validator(mode="after")
    def _fits(self) -> SR3Config:
        faults = []
        if self.steps > self.timesteps:
            faults.append(f"steps {self.steps} must be at most timesteps {self.timesteps}")
        if self.sampler not in SAMPLERS:
            faults.append(f"sampler {self.sampler!r} must be one of {', '.join(SAMPLERS)}")
        if not 0 < self.beta[0] <= self.beta[1] < 1:
            faults.append(f"beta {self.beta} must rise and lie between 0 and 1")
        if any(m < 1 for m in self.multipliers):
            faults.append(f"multipliers {self.multipliers} must all be 1 or more")
        factors = [2**n for n in range(len(self.multipliers))]
        if not set(self.attention) <= set(factors):
            faults.append(f"attention {self.attention} must be among this network's factors {factors}")
        if self.guide is not None:
            made = self.guide.in_channels, self.guide.out_channels, self.guide.scale
            if made != (self.frames, 1, self.scale):
                faults.append(
                    f"guide has in_channels, out_channels and scale {made}; they must be {(self.frames, 1, self.scale)}"
                )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def shown(self) -> int:
        """Channels of the condition."""
        return self.frames + (self.guide is not None)

    @classmethod
    def paper(cls) -> SR3Config:
        """The 16 x 16 -> 128 x 128 model (the article's table of architectures): scale 8, about 550 M parameters."""
        return cls(
            scale=8, width=128, multipliers=(1, 2, 4, 8, 8), blocks=3, compact=False, attention=(8,), norm="group",
            steps=100, sampler="ddpm",
        )  # fmt: skip


class PixelNorm(nn.Module):
    """Each pixel divided by the root mean square of its channels (Karras et al. 2018, section 4.2), times a weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, Y, X] -> the same shape."""
        # In x's own precision: float32 would go on into all that follows, at twice the cost. A norm, since squares of
        # their own pass through memory twice more.
        square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / x.shape[1]
        return x * torch.rsqrt(square + 1e-6).to(x.dtype) * self.weight.to(x.dtype)


class ResidualBlock(nn.Module):
    """BigGAN's residual block, told of the noise level: h (1 + scale) + shift between its convolutions (FiLM).

    The sum is divided by sqrt 2, as in section 2.3, so that its variance does not grow with depth.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, norm: str) -> None:
        super().__init__()
        self.before = nn.Sequential(_norm(norm, in_channels), nn.SiLU(), conv3x3(in_channels, out_channels))
        self.film = nn.Linear(embedding, 2 * out_channels)
        self.norm = _norm(norm, out_channels)
        self.after = nn.Sequential(nn.SiLU(), _zero(conv3x3(out_channels, out_channels)))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """[B, in, Y, X] and the level's embedding [B, E] -> [B, out, Y, X]."""
        scale, shift = self.film(level)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm(self.before(x)), 1 + scale)
        result: Tensor = (self.skip(x) + self.after(h)) * math.sqrt(0.5)
        return result


class Attention(nn.Module):
    """Every pixel looks at every other (Vaswani et al. 2017, equation 1, one head): [B, C, Y, X] -> the same shape."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.norm = _norm(norm, channels)
        self.project = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        query, key, value = self.project(self.norm(x)).reshape(batch, 3, channels, height * width).unbind(1)
        weights = torch.softmax(query.transpose(1, 2) @ key * channels**-0.5, dim=-1)
        seen = (value @ weights.transpose(1, 2)).reshape(batch, channels, height, width)
        result: Tensor = (x + self.out(seen)) * math.sqrt(0.5)
        return result


class Stage(nn.Module):
    """A residual block, and self-attention where the level has it."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int, norm: str, *, attention: bool) -> None:
        super().__init__()
        self.block = ResidualBlock(in_channels, out_channels, embedding, norm)
        self.attend = Attention(out_channels, norm) if attention else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        result: Tensor = self.attend(self.block(x, level))
        return result


class Denoiser(nn.Module):
    """The U-Net of figure A.1: ([B, shown + 1, Y, X] with y as last channel, sqrt(gamma) [B]) -> [B, 1, Y, X].

    Y and X are multiples of 2 ** (levels - 1).
    """

    def __init__(self, config: SR3Config) -> None:
        super().__init__()
        width, embedding, norm, compact = config.width, 4 * config.width, config.norm, config.compact
        widths = [width * factor for factor in config.multipliers]
        self.waves, self.compact = width // 2, compact
        self.embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.head = conv3x3(config.shown + 1, width)

        def stage(into: int, out: int, depth: int) -> Stage:
            return Stage(into, out, embedding, norm, attention=2**depth in config.attention)

        self.halvers, self.down = nn.ModuleList(), nn.ModuleList()
        now, skips = width, [width]
        for depth, out in enumerate(widths):
            self.halvers.append(nn.Identity() if depth == 0 else _halver(now, compact=compact))
            if depth > 0 and not compact:
                skips.append(now)
            stages = nn.ModuleList()
            for _ in range(config.blocks):
                stages.append(stage(now, out, depth))
                now = out
                skips.append(now)
            self.down.append(stages)
        self.middle = Stage(now, now, embedding, norm, attention=bool(config.attention))
        self.middle_again = None if compact else Stage(now, now, embedding, norm, attention=False)
        self.doublers, self.up = nn.ModuleList(), nn.ModuleList()
        for depth, out in reversed(list(enumerate(widths))):
            bottom = depth == len(widths) - 1
            self.doublers.append(nn.Identity() if bottom else Doubler(now, compact=compact))
            stages = nn.ModuleList()
            for _ in range(config.blocks + (not compact)):
                stages.append(stage(now + skips.pop(), out, depth))
                now = out
            self.up.append(stages)
        self.tail = nn.Sequential(_norm(norm, now), nn.SiLU(), _zero(conv3x3(now, 1)))

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        # Levels are 0 to 1, the sines made for positions of thousands (Chen et al. 2021, WaveGrad, section 3.3); in
        # float32, where so many periods are still told apart.
        frequency = torch.exp(-math.log(10_000.0) / self.waves * torch.arange(self.waves, device=level.device))
        phase = 5000.0 * level.float()[:, None] * frequency
        embedded = self.embed(torch.cat([phase.sin(), phase.cos()], dim=1).to(joined.dtype))
        x = self.head(joined)
        skips: list[Tensor] = [x]
        for depth, (halve, stages) in enumerate(zip(self.halvers, self.down)):  # noqa: B905 - TorchScript knows no strict
            x = halve(x)
            if depth > 0 and not self.compact:
                skips.append(x)
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(x, embedded)
                skips.append(x)
        x = self.middle(x, embedded)
        if self.middle_again is not None:
            x = self.middle_again(x, embedded)
        for double, stages in zip(self.doublers, self.up):  # noqa: B905
            x = double(x)
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(torch.cat([x, skips.pop()], dim=1), embedded)
        if self.compact:
            x = (x + skips.pop()) * math.sqrt(0.5)
        result: Tensor = self.tail(x)
        return result


class Doubler(nn.Module):
    """Each pixel twice along y and x, by indexing; then a convolution, in the paper's network."""

    def __init__(self, channels: int, *, compact: bool) -> None:
        super().__init__()
        self.smooth = nn.Identity() if compact else conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, Y, X] -> [B, C, 2Y, 2X]."""
        batch, channels, height, width = x.shape
        # Channels last, as the convolutions around it have them: else all that follows is reordered.
        wide = x.permute(0, 2, 3, 1)[:, :, None, :, None].expand(batch, height, 2, width, 2, channels)
        fine = wide.reshape(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
        result: Tensor = self.smooth(fine)
        return result


class SR3(nn.Module):
    """The network with its schedule. `forward` draws one sample: [B, frames, Y, X] -> [B, 1, scale * Y, scale * X]."""

    stochastic = True

    def __init__(self, config: SR3Config) -> None:
        super().__init__()
        self.config = config
        self.schedule = linear_schedule(config.timesteps, *config.beta)
        self.denoiser = Denoiser(config)
        self.guide = None if config.guide is None else EDSR(config.guide).requires_grad_(requires_grad=False)

    def condition(self, x: Tensor) -> Tensor:
        """What the U-Net is shown: the input on the output's pixels, then the guide's image of it; in the range of y.

        [B, frames, Y, X] -> [B, shown, sY, sX].
        """
        fine = interpolate((x - CENTRE) / SPREAD, self.config.scale)
        return fine if self.guide is None else torch.cat([fine, (self.guide(x) - CENTRE) / SPREAD], dim=1)

    def forward(
        self,
        x: Tensor,
        origin: Tensor | None = None,
        seed: int = 0,
        margin: int | Tensor = 0,
        steps: int | None = None,
        sampler: str | None = None,
    ) -> Tensor:
        """One sample of the images that x allows, float32.

        origin          [B, 2] int64, global (y, x) of each tile's first input pixel; None: all at (0, 0)
        margin          input pixels on each side that nobody reads once restored, a tile's halo: evaluation k of S
                        leaves out k / S of them, and what stands there in the end is arbitrary
        steps, sampler  network evaluations, and how they are used; None: the configuration's
        Raises InputError for a sampler or a number of steps that there is not.
        """
        condition = self.condition(x)
        batch, _, height, width = condition.shape
        if origin is None:
            origin = torch.zeros(batch, 2, dtype=torch.int64)
        first = self.config.scale * origin.to(x.device)

        def draw(n: int) -> Tensor:
            return gaussian(seed, n, first, height, width)

        gammas = levels(self.schedule, steps or self.config.steps)
        divisor = 2 ** (len(self.config.multipliers) - 1)
        edges = [self.config.scale * margin * k // len(gammas) // divisor * divisor for k in range(len(gammas))]

        def predict(y: Tensor, gamma: float) -> Tensor:
            edge = edges[gammas.index(gamma)]
            level = torch.full((batch,), math.sqrt(gamma), device=x.device)
            joined = torch.cat([condition, y.to(x.dtype)], dim=1)
            seen = joined[:, :, edge : height - edge, edge : width - edge]
            found = functional.pad(self.denoiser(seen, level).float(), (edge, edge, edge, edge))
            return self.estimate(y, found, gamma)

        y = find_sampler(sampler or self.config.sampler)(predict, draw, gammas)
        return y * SPREAD + CENTRE

    def estimate(self, y: Tensor, found: Tensor, gamma: float) -> Tensor:
        """y_0 from y and what the network found in it (equation 7, or that of Salimans and Ho's appendix D for v)."""
        if self.config.predicts == "v":
            return math.sqrt(gamma) * y - math.sqrt(1 - gamma) * found
        return (y - math.sqrt(1 - gamma) * found) / math.sqrt(gamma)

    def one_evaluation(self, x: Tensor) -> Tensor:
        """A single look of the U-Net, at a middle level, with x for y and the guide's image: to measure its reach."""
        fine = interpolate((x - CENTRE) / SPREAD, self.config.scale)
        others = fine.mean(1, keepdim=True).expand(-1, 1 + self.config.shown - self.config.frames, -1, -1)
        level = torch.full((x.shape[0],), 0.5, device=x.device)
        found: Tensor = self.denoiser(torch.cat([fine, others], dim=1), level)
        return found.float()


def interpolate(images: Tensor, scale: int) -> Tensor:
    """Cubic interpolation (Keys 1981, a = -1/2) [B, C, Y, X] -> [B, C, scale * Y, scale * X]; pixel edges stay.

    By convolution and sub-pixel shuffle: every LibTorch runs it, and its reach is two pixels.
    """
    if scale == 1:
        return images
    batch, channels, height, width = images.shape
    taps = torch.arange(-2.0, 3.0)
    places = (torch.arange(scale) + 0.5) / scale - 0.5
    weights = _keys((places[:, None] - taps).abs())  # [scale, 5]
    kernel = torch.einsum("ai,bj->abij", weights, weights).reshape(scale * scale, 1, 5, 5)
    flat = functional.pad(images.reshape(batch * channels, 1, height, width), (2, 2, 2, 2), mode="replicate")
    fine = functional.pixel_shuffle(functional.conv2d(flat, kernel.to(images)), scale)
    return fine.reshape(batch, channels, scale * height, scale * width)


def _keys(distance: Tensor) -> Tensor:
    """Keys' kernel (1981, equation 15) at distances of 0 and more."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(min(32, channels // 4), channels)
    return PixelNorm(channels) if kind == "pixel" else nn.Identity()


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Start as nothing, so that every block starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _halver(channels: int, *, compact: bool) -> nn.Module:
    return nn.AvgPool2d(2) if compact else nn.Conv2d(channels, channels, 3, stride=2, padding=1)
