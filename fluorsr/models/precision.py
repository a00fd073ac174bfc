"""Choose between fp32 and bf16: bf16 where the machine is fast in it and the model stays itself in it.

"Stays itself" is measured on a probe tile of filaments: at least 50 dB PSNR between the two outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fluorsr.errors import InputError, ModelError
from fluorsr.models.network import Network
from fluorsr.restorer import RestorerSpec

PRECISIONS = ("auto", "fp32", "bf16")
FAITHFUL_DB = 50.0


def choose(
    precision: str, device: torch.device, spec: RestorerSpec, build: Callable[[str], Network]
) -> tuple[Network, list[str]]:
    """Build the network in the precision asked for, or the better one for `auto`, and say what was found.

    build   makes the Network in "fp32" or "bf16"
    Raises InputError for an unknown precision, ModelError where bf16 was asked for and the model cannot run in it.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    exact = build("fp32")
    _try_out(exact)
    if precision == "fp32" or (precision == "auto" and not has_fast_bf16(device)):
        return exact, []
    try:
        fast = build("bf16")
        found = psnr_db(_probe(exact), _probe(fast))
    except (RuntimeError, ModelError) as error:
        reason = str(error).strip().splitlines()[-1]
        if precision == "bf16":
            raise ModelError(f"{spec.name} cannot run in bf16 ({reason}); use --precision fp32") from error
        return exact, [f"precision fp32: the model does not run in bf16 ({reason})"]
    if precision == "auto" and found < FAITHFUL_DB:
        return exact, [
            f"precision fp32: bf16 is {found:.1f} dB PSNR from it on a probe tile, less than {FAITHFUL_DB:.0f}"
        ]
    return fast, [f"precision bf16: {found:.1f} dB PSNR from fp32 on a probe tile"]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16: AMX or AVX-512 BF16 on CPU, Ampere or later on CUDA."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return has_amx() or bool(torch.cpu._is_avx512_bf16_supported())


def has_amx() -> bool:
    """Whether this CPU multiplies matrices in bf16 (AMX). There TorchScript is 1.3 times as fast as eager."""
    return bool(torch.cpu._is_amx_tile_supported())


def psnr_db(reference: Tensor, other: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, over the range of `reference`; infinite where equal, -inf where not finite."""
    difference = (other.double() - reference.double()).square().mean()
    if not bool(torch.isfinite(difference)):
        return -math.inf
    span = reference.double().max() - reference.double().min()
    return math.inf if difference == 0 else float(20 * torch.log10(span) - 10 * torch.log10(difference))


def filaments(frames: int, side: int) -> Tensor:
    """A normalised image of curved filaments with camera noise: [1, frames, side, side] float32, always the same."""
    generator = torch.Generator().manual_seed(20170721)
    y, x = torch.meshgrid(torch.arange(side) / 1.0, torch.arange(side) / 1.0, indexing="ij")
    image = torch.zeros(side, side)
    for _ in range(12):
        angle, place, bend, phase, brightness = torch.rand(5, generator=generator).tolist()
        along = x * math.cos(math.pi * angle) + y * math.sin(math.pi * angle)
        across = y * math.cos(math.pi * angle) - x * math.sin(math.pi * angle)
        distance = across - (1.6 * place - 0.8) * side - 10 * bend * torch.sin(along / 20 + 6 * phase)
        image = torch.maximum(image, (0.3 + 0.7 * brightness) * torch.exp(-distance.square() / (2 * 2.0**2)))
    noise = 0.03 * torch.randn(1, frames, side, side, generator=generator)
    return (image + noise * (0.3 + image).sqrt()).clamp(0, 1.2)


def _try_out(network: Network) -> None:
    """Raise ModelError where the network does not run on the smallest tiles that its spec allows."""
    spec = network.spec
    height, width = (spec.multiple * -(-size // spec.multiple) for size in (32, 33))
    tiles = filaments(spec.frames, max(height, width))[..., :height, :width].repeat(2, 1, 1, 1)
    try:
        network.restore(tiles, torch.zeros(2, 2, dtype=torch.int64), seed=0)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(
            f"{spec.name} does not run on tiles {list(tiles.shape)}, as its spec says: {reason}"
        ) from error


def _probe(network: Network) -> Tensor:
    """The network's output for a tile of filaments, without the halo."""
    spec = network.spec
    side = -(-max(128, 64 + 2 * spec.halo) // spec.multiple) * spec.multiple
    output = network.restore(filaments(spec.frames, side), torch.zeros(1, 2, dtype=torch.int64), seed=0)
    margin = spec.scale * spec.halo
    return output[..., margin : output.shape[-2] - margin, margin : output.shape[-1] - margin]
