"""SRGAN's generator and discriminator against published sizes, a closed form, and what their layers are for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fluorsr.errors import InputError
from fluorsr.models.measure import measure
from fluorsr.models.srgan import SRGAN, Block, Critic, CriticConfig, SRGANConfig
from fluorsr.models.torchscript import script


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_are_those_of_public_checkpoints() -> None:
    """Of SRGAN-PyTorch (Lornatang; files on Hugging Face, goodfellowliu/SRGAN-PyTorch), which follow figure 4.

    SRGAN_x4-SRGAN_ImageNet.pth.tar is 6.28 MB and SRGAN_x2 5.68 MB of float32; the discriminator of 96 x 96 patches
    94.3 MB. Their rest, about 80 kB, is names and BatchNorm's running statistics.
    """
    rgb = {"in_channels": 3, "out_channels": 3, "batch_norm": True}
    with torch.device("meta"):
        assert parameters(SRGAN(SRGANConfig(scale=4, **rgb))) == pytest.approx(6.28e6 / 4, rel=0.02)
        assert parameters(SRGAN(SRGANConfig(scale=2, **rgb))) == pytest.approx(5.68e6 / 4, rel=0.02)
        critic = Critic(CriticConfig(norm="batch", side=96, in_channels=3))
    assert parameters(critic) == pytest.approx(94.3e6 / 4, rel=0.001)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_parameter_count_is_the_closed_form(scale: int) -> None:
    """By hand: convolutions of k x k hold k k a b + b; one slope a PReLU."""
    width, blocks, steps = 12, 3, {1: 0, 2: 1, 4: 2}[scale]
    square = 9 * width * width + width
    by_hand = (81 * width + width + 1) + blocks * (2 * square + 1) + square + (81 * width + 1)
    by_hand += steps * (4 * square + 1)
    assert parameters(SRGAN(SRGANConfig(blocks=blocks, width=width, scale=scale))) == by_hand


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_shapes_and_torchscript_agree(scale: int) -> None:
    network = SRGAN(SRGANConfig(blocks=2, width=8, scale=scale, batch_norm=True)).eval()
    x = torch.randn(2, 1, 9, 12)
    y = network(x)
    assert y.shape == (2, 1, 9 * scale, 12 * scale)
    assert torch.equal(script(network)(x), y)


def test_a_block_is_figure_4() -> None:
    block = Block(4, batch_norm=True).eval()
    first, norm, activation, second, last = block.body
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), x + last(second(activation(norm(first(x))))))
    assert activation(torch.tensor([[-4.0]])).item() == -1.0  # He et al. 2015: slopes start at 1/4


def test_the_reach_is_the_sum_of_the_convolutions() -> None:
    """Scale 2: head 4, 2 blocks of 2, body 1, upsampling 1, and 4 fine pixels of the tail: 2."""
    found = measure(SRGAN(SRGANConfig(blocks=2, width=8)))
    assert (found.halo, found.multiple, found.exact, found.scale) == (4 + 2 * 2 + 1 + 1 + 2, 1, True, 2)


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_the_critic_halves_four_times(norm: str) -> None:
    critic = Critic(CriticConfig(width=4, norm=norm))
    features = critic.features(torch.rand(2, 1, 48, 64))
    assert [tuple(f.shape[1:]) for f in features] == [
        (4, 48, 64), (4, 24, 32), (8, 24, 32), (8, 12, 16), (16, 12, 16), (16, 6, 8), (32, 6, 8), (32, 3, 4),
    ]  # fmt: skip
    assert critic(torch.rand(2, 1, 48, 64)).shape == (2, 1)


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    critic = Critic(CriticConfig(width=4, norm="spectral"))
    for _ in range(30):  # its power iteration takes a step with each forward
        critic(torch.rand(2, 1, 32, 32))
    critic.eval()
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 10
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_a_fresh_critic_passes_on_what_it_sees() -> None:
    """Without norms its layers keep the size of what comes in; torch's own start loses a factor of 1.7 in each."""
    torch.manual_seed(0)
    images = torch.randn(8, 1, 64, 64)
    features = Critic(CriticConfig(width=16, norm="none")).features(images)
    assert all(0.5 < f.square().mean().sqrt().item() < 2 for f in features)


def test_a_critic_with_a_dense_layer_takes_one_size() -> None:
    critic = Critic(CriticConfig(width=4, side=32))
    assert critic(torch.rand(2, 1, 32, 32)).shape == (2, 1)
    with pytest.raises(InputError, match="built for patches of 32 x 32 output pixels, not 48 x 48; set its side to 48"):
        critic(torch.rand(2, 1, 48, 48))
    with pytest.raises(ValueError, match="multiple of 16"):
        CriticConfig(side=50)


def test_a_critic_learns_to_tell_noise_from_planes() -> None:
    torch.manual_seed(0)
    critic = Critic(CriticConfig(width=4))
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    real, fake = torch.rand(8, 1, 1, 1).expand(8, 1, 32, 32), torch.rand(8, 1, 32, 32)
    for _ in range(25):
        loss = (nn.functional.softplus(-critic(real)) + nn.functional.softplus(critic(fake))).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert critic(real).min().item() > critic(fake).max().item()
