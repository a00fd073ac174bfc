"""The program inside an exported TorchScript file: `forward` for tiles, `infer` for raw camera frames.

    frame -> normalise -> tiles, continued by reflection -> network -> crop or cross-fade -> denormalise -> its dtype

The tiles are those of csrc/core/grid.hpp: along an axis, tile k starts at kS - o/2 - h and owns [kS, (k+1)S). An axis
no longer than S is one tile of its own. All of this is TorchScript and must stay within LibTorch 2.0's operators.
"""

from __future__ import annotations

import math
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from fluorsr.restorer import RestorerSpec

RUNNING_FRAMES = 16
"""Memory of the running estimate: its flicker is 0.18 of that of single frames' percentiles."""


class Options(TypedDict):
    """How a program works, beside what its spec says.

    tile, overlap   input pixels, as fluorsr.tiling.grid.Grid has them; checked by the caller
    bf16            the network takes bfloat16; `forward` stays float32 outside
    memory          frames over which the percentiles that become 0 and 1 are averaged; 1: each frame for itself
    low, high       what becomes 0 and 1 where memory is 0
    """

    tile: int
    overlap: int
    bf16: bool
    memory: int
    low: float
    high: float


class Program(nn.Module):
    """Wraps a network that is TorchScript already; meant to be scripted.

    network   maps x; a stochastic one x, origin, seed and margin (models/sr3.py), the last two int64 tensors
    """

    __constants__ = ("stochastic",)  # decided when it is scripted: one of two calls fits the network

    def __init__(self, network: nn.Module, spec: RestorerSpec, **options: Unpack[Options]) -> None:
        super().__init__()
        self.network, self.stochastic = network, spec.stochastic
        self.frames, self.scale, self.halo, self.multiple = spec.frames, spec.scale, spec.halo, spec.multiple
        self.tile, self.overlap, self.bf16 = options["tile"], options["overlap"], options["bf16"]
        self.memory, self.seen, self.low, self.high = options["memory"], 0, options["low"], options["high"]
        self.percent_low, self.percent_high = spec.percentiles
        self.margin = spec.halo if spec.exact else 0

    def forward(self, x: Tensor, origin: Tensor | None = None, seed: int = 0) -> Tensor:
        """Normalised tiles [B, frames, Y, X] float32 -> [B, 1, scale * Y, scale * X] float32.

        origin, seed   of the noise, where the model draws samples: [B, 2] int64 global (y, x) of each tile's first
                       pixel, (0, 0) where None, and which sample
        """
        return self._run(x, origin, seed, 0)

    @torch.jit.export
    def centre(self, x: Tensor, origin: Tensor, seed: int) -> Tensor:
        """As `forward`, of tiles whose halo is thrown away once restored: what stands there may be anything.

        A model that draws samples so computes less. Tiles that have no centre are restored whole.
        """
        return self._run(x, origin, seed, self.margin if min(x.size(2), x.size(3)) > 2 * self.margin else 0)

    def _run(self, x: Tensor, origin: Tensor | None, seed: int, margin: int) -> Tensor:
        """What the network makes of its input."""
        if self.bf16:
            x = x.to(torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.size(0), x.size(1), x.size(2), x.size(3)
        # a one-channel tensor counts as contiguous in both orders, and torch would take the slow one
        x = x.as_strided([batch, channels, height, width], [channels * height * width, 1, channels * width, channels])
        if self.stochastic:
            if origin is None:
                origin = torch.zeros([batch, 2], dtype=torch.int64, device=x.device)
            y: Tensor = self.network(x, origin, torch.tensor(seed, device=x.device), torch.tensor(margin))
        else:
            y = self.network(x)
        return y.to(torch.float32).contiguous()

    @torch.jit.export
    def infer(self, frame: Tensor, seed: int = 0) -> Tensor:
        """Restore raw frames [Y, X], [frames, Y, X] or [B, frames, Y, X] of any size, in the camera's counts.

        frame    uint8, int16, uint16 (LibTorch 2.3 on), int32, float32 or float64; NaN and infinity become background
        seed     which sample, where the model draws samples
        returns  as many axes, with one channel for the frames, scale times the size, in the frame's dtype: rounded half
                 to even and saturated where that is an integer
        """
        axes = frame.dim()
        stack = frame
        if axes == 2:
            stack = stack.unsqueeze(0)
        if axes < 4:
            stack = stack.unsqueeze(0)
        if stack.dim() != 4 or stack.size(1) != self.frames or stack.numel() == 0:
            raise ValueError(
                f"infer was given {frame.shape}; this model takes [{self.frames}, Y, X] or [B, {self.frames}, Y, X]"
            )
        least, most = limits(frame.dtype)
        restored: list[Tensor] = []
        for i in range(stack.size(0)):
            pixels = stack[i].to(torch.float32)
            self._fit(pixels)
            span = self.high - self.low if self.high > self.low else 1.0
            x = (pixels - self.low) * (1.0 / span)
            x = torch.where(torch.isfinite(x), x, torch.zeros_like(x))
            y = self._restore(x.unsqueeze(0), seed, self._measure(pixels, span)) * span + self.low
            if most > least:
                y = torch.nan_to_num(torch.round(y), 0.0, most, least).clamp(least, most)
            restored.append(y.to(frame.dtype))
        if axes == 2:
            return restored[0][0, 0]
        return restored[0][0] if axes == 3 else torch.cat(restored)

    def _fit(self, pixels: Tensor) -> None:
        """Set `low` and `high` for this frame, as fluorsr.normalize.fit would, or let them follow it."""
        if self.memory == 0:
            return
        values = pixels.flatten()
        values = values[torch.isfinite(values)]
        if values.numel() == 0:
            if self.memory == 1 or self.seen == 0:
                self.low, self.high = 0.0, 0.0
            return
        count = values.numel()
        low = float(torch.kthvalue(values, min(count, max(1, math.ceil(self.percent_low / 100 * count))))[0])
        high = float(torch.kthvalue(values, min(count, max(1, math.ceil(self.percent_high / 100 * count))))[0])
        if high <= low:
            low, high = float(values.min()), float(values.max())
        self.seen = min(self.seen + 1, self.memory)
        if self.seen == 1:
            self.low, self.high = low, high
        else:
            self.low += (low - self.low) / self.seen
            self.high += (high - self.high) / self.seen

    def _measure(self, pixels: Tensor, span: float) -> dict[str, Tensor]:
        """What must be known of an image [frames, Y, X] before its tiles are restored: of most models nothing."""
        facts: dict[str, Tensor] = {}
        return facts

    def _tile(self, tiles: Tensor, origin: Tensor, seed: int, facts: dict[str, Tensor]) -> Tensor:
        return self.centre(tiles, origin, seed)

    def _restore(self, x: Tensor, seed: int, facts: dict[str, Tensor]) -> Tensor:
        """A normalised image [1, frames, Y, X] of any size -> [1, 1, scale * Y, scale * X]."""
        height, width, scale = x.size(2), x.size(3), self.scale
        tile_y, overlap_y, stride_y = self._axis(height)
        tile_x, overlap_x, stride_x = self._axis(width)
        rows, columns = -(-height // stride_y), -(-width // stride_x)
        out = torch.zeros(
            [1, 1, (rows * stride_y + overlap_y) * scale, (columns * stride_x + overlap_x) * scale],
            dtype=torch.float32,
            device=x.device,
        )
        inner_y, inner_x = (stride_y + overlap_y) * scale, (stride_x + overlap_x) * scale
        margin = self.halo * scale
        for row in range(rows):
            start_y = row * stride_y - overlap_y // 2 - self.halo
            strip = x.index_select(2, reflected(start_y, tile_y, height, x.device))
            for column in range(columns):
                start_x = column * stride_x - overlap_x // 2 - self.halo
                tiles = strip.index_select(3, reflected(start_x, tile_x, width, x.device))
                y = self._tile(tiles, torch.tensor([[start_y, start_x]], device=x.device), seed, facts)
                y = y[:, :, margin : margin + inner_y, margin : margin + inner_x]
                if overlap_y > 0:
                    y = y * window(inner_y, overlap_y * scale, row == 0, row == rows - 1, x.device).unsqueeze(1)
                if overlap_x > 0:
                    y = y * window(inner_x, overlap_x * scale, column == 0, column == columns - 1, x.device)
                top, left = row * stride_y * scale, column * stride_x * scale
                out[:, :, top : top + inner_y, left : left + inner_x] += y
        top, left = overlap_y // 2 * scale, overlap_x // 2 * scale
        return out[:, :, top : top + height * scale, left : left + width * scale]

    def _axis(self, size: int) -> tuple[int, int, int]:
        """Tile, overlap and stride along an axis of `size` pixels."""
        stride = self.tile - 2 * self.halo - self.overlap
        if size > stride:
            return self.tile, self.overlap, stride
        whole = -(-size // self.multiple) * self.multiple
        return whole + 2 * self.halo, 0, whole


def reflected(start: int, count: int, size: int, device: torch.device) -> Tensor:
    """The pixels that positions start, start + 1, ... show when an axis of `size` is continued by reflection."""
    at = torch.arange(start, start + count, device=device)
    if size == 1:
        return torch.zeros_like(at)
    at = torch.remainder(at, 2 * (size - 1))
    return torch.minimum(at, 2 * (size - 1) - at)


def window(length: int, fade: int, first: bool, last: bool, device: torch.device) -> Tensor:
    """Weights of a tile along an axis: raised cosines of `fade` pixels at its ends, flat at the image's edges."""
    weights = torch.ones([length], device=device)
    ramp = 0.5 - 0.5 * torch.cos((torch.arange(fade, device=device) + 0.5) * (math.pi / fade))
    if not first:
        weights[:fade] = ramp
    if not last:
        weights[length - fade :] = 1.0 - ramp
    return weights


def limits(dtype: torch.dtype) -> tuple[float, float]:
    """Least and most of an integer dtype as float32 can hold them; (0, 0) for a float. Raises for other dtypes."""
    if dtype == torch.uint8:
        return 0.0, 255.0
    if dtype == torch.int16:
        return -32768.0, 32767.0
    if dtype == torch.uint16:
        return 0.0, 65535.0
    if dtype == torch.int32:
        return -2147483648.0, 2147483520.0
    if dtype != torch.float32 and dtype != torch.float64:  # noqa: PLR1714 - a set of dtypes is not TorchScript
        raise ValueError("infer takes uint8, int16, uint16, int32, float32 or float64")
    return 0.0, 0.0
