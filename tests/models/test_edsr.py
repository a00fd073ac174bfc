"""EDSR against the paper's parameter counts, a closed form, and its own receptive field."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from fluorsr.errors import InputError
from fluorsr.models.blocks import ResidualBlock, upsampler
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.torchscript import script


def parameters(config: EDSRConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in EDSR(config).parameters())


def closed_form(c: EDSRConfig) -> int:
    """Counted by hand: a 3 x 3 convolution from a to b channels holds 9ab weights and b biases."""
    w = c.width
    steps = {1: 0, 2: 1, 4: 2}[c.scale]
    head, tail = 9 * c.in_channels * w + w, 9 * w * c.out_channels + c.out_channels
    return head + (2 * c.blocks + 1) * (9 * w * w + w) + steps * (9 * w * 4 * w + 4 * w) + tail


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("blocks", "width"), [(1, 4), (8, 32), (16, 64)])
def test_parameter_count_is_the_closed_form(blocks: int, width: int, scale: int) -> None:
    config = EDSRConfig(blocks=blocks, width=width, scale=scale)
    assert parameters(config) == closed_form(config)


def test_parameter_counts_are_the_published_ones() -> None:
    """1.37 M for the x2 baseline (the authors' repository), about 40.7 M for the full x2 model, both on RGB."""
    rgb = {"in_channels": 3, "out_channels": 3}
    assert parameters(EDSRConfig(scale=2, **rgb)) == pytest.approx(1.37e6, rel=2e-3)
    full = EDSRConfig(**{**EDSRConfig.full().model_dump(), **rgb})
    assert full.residual_scaling == 0.1
    assert parameters(full) == pytest.approx(40.73e6, rel=1e-3)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_output_shape_and_torchscript_agree(scale: int) -> None:
    model = EDSR(EDSRConfig(blocks=2, width=8, scale=scale, residual_scaling=0.5)).eval()
    x = torch.randn(2, 1, 7, 12)
    y = model(x)
    assert y.shape == (2, 1, 7 * scale, 12 * scale)
    assert torch.equal(script(model)(x), y)


def test_residual_block_adds_the_scaled_residual() -> None:
    block = ResidualBlock(4, scaling=0.1)
    x = torch.randn(1, 4, 6, 6)
    by_hand = x + 0.1 * block.second(torch.relu(block.first(x)))
    torch.testing.assert_close(block(x), by_hand)


def test_a_pixel_reaches_as_far_as_the_convolutions_carry_it() -> None:
    """Input pixels that one output pixel sees: 1 + (2 blocks + 1) before upsampling, then 1 + half a pixel after."""
    torch.manual_seed(0)
    model = EDSR(EDSRConfig(blocks=2, width=8, scale=2)).double()
    x = torch.randn(1, 1, 41, 41, dtype=torch.float64, requires_grad=True)
    model(x)[0, 0, 40, 40].backward()
    reach = (torch.nonzero(x.grad[0, 0]) - 20).abs().max().item()
    assert reach == 1 + 5 + 1 + 1


def test_unknown_scales_are_refused() -> None:
    with pytest.raises(InputError, match="scale is 3; the sub-pixel tail knows 1, 2 and 4"):
        upsampler(8, 3)
    with pytest.raises(ValidationError):
        EDSRConfig(scale=3)
    with pytest.raises(ValidationError):
        EDSRConfig(width=0, depth=3)
