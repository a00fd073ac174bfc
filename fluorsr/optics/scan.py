"""Point scanners draw line by line, and no two lines start at quite the same place."""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.errors import InputError


def draw_jitter(
    lines: int, generator: torch.Generator, *, jitter_px: float = 0.0, bidirectional_px: float = 0.0
) -> Tensor:
    """Where each line of a scan lies, in pixels along x: [lines] float64.

    jitter_px           standard deviation from line to line
    bidirectional_px    by how much the lines scanned backwards (1, 3, ...) are late
    """
    if jitter_px < 0:
        raise InputError(f"jitter_px {jitter_px:g} is a standard deviation and must be at least 0")
    shift = jitter_px * torch.randn(lines, generator=generator, dtype=torch.float64, device=generator.device)
    shift[1::2] += bidirectional_px
    return shift


def shift_lines(image: Tensor, shift_px: Tensor) -> Tensor:
    """Move line y by shift_px[y] pixels to the right: [..., Y, X] and [Y] -> [..., Y, X], differentiable.

    Cubic interpolation (Keys 1981, a = -1/2); the ends of a line are repeated, and no pixel gets below 0.
    """
    if shift_px.shape != image.shape[-2:-1]:
        raise InputError(f"an image of {image.shape[-2]} lines needs as many shifts, not {tuple(shift_px.shape)}")
    width = image.shape[-1]
    whole = torch.floor(-shift_px.detach())
    t = (-shift_px - whole).to(image.dtype)
    weights = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    moved = torch.zeros_like(image)
    first = torch.arange(width, device=image.device) + whole.long()[:, None]
    for tap, weight in enumerate(weights, start=-1):
        source = (first + tap).clamp(0, width - 1).expand(image.shape)
        moved = moved + weight[:, None] * image.gather(-1, source)
    return moved.clamp(min=0)
