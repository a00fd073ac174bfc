"""Convolutions before a shuffle against torch's own, layer by layer, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.srgan import SRGAN, SRGANConfig
from fluorsr.models.subpixel import composed1, composed3, shuffled_conv
from fluorsr.models.torchscript import freeze, quiet_jit
from fluorsr.models.unet_sim import UNet

SIZES = [(1, 1), (1, 5), (2, 3), (3, 3), (4, 7), (9, 8)]


def layers(width: int, outputs: int, side: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(side)
    widen, tail = nn.Conv2d(width, 4 * width, 3, padding=1), nn.Conv2d(width, outputs, side, padding=side // 2)
    return widen.double(), tail.double()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [1, 3, 5, 7, 9])
def test_a_convolution_before_the_shuffle(side: int, size: tuple[int, int]) -> None:
    _, tail = layers(3, 2, side)
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    expected = tail(functional.pixel_shuffle(x, 2))
    torch.testing.assert_close(shuffled_conv(x, tail.weight, tail.bias), expected)
    torch.testing.assert_close(shuffled_conv(x, tail.weight, None), expected - tail.bias[:, None, None])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "function"), [(1, composed1), (3, composed3)])
def test_two_convolutions_in_one(side: int, function, size: tuple[int, int]) -> None:
    """Their image and the slopes of all four parameters."""
    widen, tail = layers(5, 2, side)
    x, seen = torch.randn(2, 5, *size, dtype=torch.float64), torch.randn(2, 2, 2 * size[0], 2 * size[1])
    parameters = [*widen.parameters(), *tail.parameters()]
    made = function(x, widen.weight, widen.bias, tail.weight, tail.bias)
    expected = tail(functional.pixel_shuffle(widen(x), 2))
    torch.testing.assert_close(made, expected)
    slopes = [torch.autograd.grad((y * seen).sum(), parameters) for y in (made, expected)]
    torch.testing.assert_close(*slopes)


def in_steps(network: EDSR | SRGAN | UNet, features: Tensor) -> Tensor:
    made: Tensor = network.tail(network.upsample(features))
    return made


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_networks_are_what_their_papers_draw(scale: int) -> None:
    """EDSR and SRGAN at every scale, in float64, layer by layer; and the U-Net's last two."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 8, 12, dtype=torch.float64)
    for network in (
        EDSR(EDSRConfig(blocks=1, width=4, scale=scale)),
        SRGAN(SRGANConfig(blocks=1, width=4, scale=scale)),
    ):
        features = network.double().head(x)
        torch.testing.assert_close(network(x), in_steps(network, features + network.body(features)))
    unet = UNet(1, 1, (4, 8), scale=scale, batch_norm=False).double()
    seen: list[Tensor] = []
    unet.up[-1].register_forward_hook(lambda _, __, made: seen.append(made))
    made = unet(x)
    torch.testing.assert_close(made, in_steps(unet, *seen))


def test_the_cost_is_what_it_should_be() -> None:
    """Multiply-adds of EDSR 8 x 32 at scale 2, counted by hand; composing the kernel adds the same to every field."""
    network = EDSR(EDSRConfig(blocks=8, width=32)).eval()
    with quiet_jit(), torch.no_grad():
        program = freeze(network, torch.zeros(1, 1, 8, 8))
    for run, side, composing in ((network, 64, 0.01), (network, 512, 0.0002), (program, 512, 0.0)):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            run(torch.zeros(1, 1, side, side))
        by_hand = side**2 * (9 * 32 + 17 * 9 * 32**2 + 25 * 32 * 16)
        assert 1 <= counter.get_total_flops() / (2 * by_hand) <= 1 + composing


def test_bfloat16_rounds_no_worse_than_in_steps() -> None:
    widen, tail = layers(32, 1, 3)
    x = torch.randn(1, 32, 40, 40, dtype=torch.float64)
    exact = tail(functional.pixel_shuffle(widen(x), 2))
    widen, tail, x = widen.bfloat16(), tail.bfloat16(), x.bfloat16()
    once = composed3(x, widen.weight, widen.bias, tail.weight, tail.bias)
    assert once.dtype == torch.bfloat16
    errors = [
        float((made - exact).detach().square().mean()) for made in (once, tail(functional.pixel_shuffle(widen(x), 2)))
    ]
    assert errors[0] < errors[1]
