"""Network: the Restorer around a torch module, ours or a TorchScript file's, in fp32 or bf16.

On CPUs convolutions run at twice the speed in channels_last order, and bf16 gains nothing without it. Its trap: a
one-channel tensor is contiguous in both orders, torch then calls it channels-first, and the whole network falls back.
So one-channel inputs and weights get the strides of channels_last explicitly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.errors import InputError, ModelError
from fluorsr.models.measure import check_output
from fluorsr.models.transfer import Transfer
from fluorsr.restorer import RestorerSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

ARITHMETIC = 2
"""Raised whenever the same weights come to round in another way, so that no output mixes both: part of its identity."""


class Network:
    """A module as a Restorer. Safe to call from several threads.

    Where the device's memory is too small for a batch it is halved, now and from then on, as often as it takes.

    module     maps [B, frames, Y, X] to [B, 1, scale * Y, scale * X]; already on `device` and in `precision`
    precision  fp32 or bf16: the dtype that the module takes; tiles and results are float32 whatever it is
    ordered    whether it is given its tiles in channels_last order
    batch_limit   the most tiles at a time, once more did not fit; None before
    """

    def __init__(
        self,
        module: nn.Module,
        spec: RestorerSpec,
        *,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        ordered: bool = True,
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.precision = precision
        self.batch_limit: int | None = None
        self._ordered = ordered
        self._transfer = Transfer(self.device)
        self._forward: Callable[..., Tensor] = module

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """Restore tiles [B, frames, Y, X] float32 to [B, 1, scale * Y, scale * X] float32, on the tiles' device.

        Raises ModelError where the network's output breaks its spec, InputError where the device's memory is too small
        for a single tile.
        """
        while True:
            size = min(len(tiles), self.batch_limit or len(tiles))
            try:
                parts = [
                    self._restore(tiles[i : i + size], origin[i : i + size], seed) for i in range(0, len(tiles), size)
                ]
            except torch.OutOfMemoryError as error:
                if size == 1:
                    height, width = tiles.shape[2:]
                    raise InputError(
                        f"{self.device} has too little memory for one tile of {height} x {width}: try a smaller --tile"
                    ) from error
                self.batch_limit = min(size // 2, self.batch_limit or size)
            else:
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # what the larger batch had, in pieces that do not fit the smaller

    def _restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        with torch.inference_mode(), self._transfer.stream():
            given = self._transfer.there(tiles, DTYPES[self.precision])
            output = self._run(channels_last(given) if self._ordered else given.contiguous(), origin, seed)
            if isinstance(output, Tensor) and self.precision != "fp32":
                output = output.float()
            output = self._transfer.back(check_output(tiles, output), tiles.device)
        expected = self.spec.scale * tiles.shape[2]
        if output.shape[2] != expected:
            raise ModelError(
                f"{self.spec.name}: the model's output is {output.shape[2]} pixels high for tiles of {tiles.shape[2]}; "
                f"its spec says scale {self.spec.scale}, so {expected}"
            )
        return output

    def _run(self, given: Tensor, origin: Tensor, seed: int) -> Tensor:
        return self._forward(given)


class SeededNetwork(Network):
    """A program that draws samples as a Restorer: its steps and sampler are inside, its place and seed are given.

    Where it has a `centre` (export/program.py), that is called in place of its forward.
    """

    def __init__(self, module: nn.Module, spec: RestorerSpec, **options: Any) -> None:
        super().__init__(module, spec, **options)
        self._forward = getattr(module, "centre", module)

    def _run(self, given: Tensor, origin: Tensor, seed: int) -> Tensor:
        return self._forward(given, origin, seed)


class SamplingNetwork(Network):
    """A diffusion model as a Restorer: its module also takes each tile's place, the seed, the steps and the sampler.

    And where it is exact the halo, as a margin: nothing that is kept depends on all of it in all evaluations.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: RestorerSpec,
        steps: int,
        sampler: str,
        *,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
    ) -> None:
        super().__init__(module, spec, device=device, precision=precision)
        self._sample: Callable[[Tensor, Tensor, int, int, int, str], Tensor] = module
        self._steps, self._sampler, self._margin = steps, sampler, spec.halo if spec.exact else 0

    def _run(self, given: Tensor, origin: Tensor, seed: int) -> Tensor:
        margin = self._margin if min(given.shape[2:]) > 2 * self._margin else 0  # else there is no centre to keep
        return self._sample(given, origin, seed, margin, self._steps, self._sampler)


def prepare(module: nn.Module, *, device: str | torch.device, precision: str) -> nn.Module:
    """Bring a module of ours to `device`, `precision` and channels_last order, in place, ready for inference."""
    module = module.eval().requires_grad_(False).to(device, DTYPES[precision])
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = channels_last(parameter.data)
    return module


def channels_last(tensor: Tensor) -> Tensor:
    """[N, C, Y, X] with the strides of channels_last, also where C is 1 and torch would leave them as they are."""
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = tensor.shape
    return tensor.as_strided(tensor.shape, (channels * height * width, 1, channels * width, channels))


def repeatable_cuda() -> None:
    """Make CUDA compute the same bits every time, for the whole process: true float32, one algorithm per shape.

    The TorchScript fuser is off because it replaces kernels after the first calls.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch._C._jit_override_can_fuse_on_gpu(False)
