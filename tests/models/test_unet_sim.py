"""U-Net for SIM against the published size, its drawing, and its grid."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fluorsr.models.measure import measure
from fluorsr.models.torchscript import script
from fluorsr.models.unet_sim import UNetSIM, UNetSIMConfig

SMALL = (4, 8, 16)


def parameters(config: UNetSIMConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in UNetSIM(config).parameters())


def test_parameter_counts_are_the_published_ones() -> None:
    """31.03 M: the U-Net of Ronneberger et al. 2015 with one channel in and out, as is widely reported.

    Jin et al.'s code (github.com/drbeiliu/DeepLearning, unet_parts.py) adds 14 frames (9 * 14 * 64 weights) and
    BatchNorm (two numbers for each of the 5,888 channels that leave a 3 x 3 convolution); its scU-Net is two of them.
    """
    one = parameters(UNetSIMConfig(frames=1))
    assert one == pytest.approx(31.03e6, rel=1e-4)
    assert parameters(UNetSIMConfig()) == one + 9 * 14 * 64
    channels = 2 * (64 + 128 + 256 + 512 + 1024) + 2 * (512 + 256 + 128 + 64)
    paper = parameters(UNetSIMConfig(batch_norm=True))
    assert paper == one + 9 * 14 * 64 + 2 * channels
    # scU-Net: 15 channels out of the first (14 more), 15 more into the second
    assert parameters(UNetSIMConfig(batch_norm=True, cascade=True)) == 2 * paper + 14 * 65 + 9 * 15 * 64


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("frames", [1, 3, 9, 15])
def test_shapes_and_torchscript_agree(frames: int, scale: int, cascade: bool) -> None:
    network = UNetSIM(UNetSIMConfig(frames=frames, widths=SMALL, scale=scale, cascade=cascade, batch_norm=True)).eval()
    x = torch.rand(2, frames, 8, 12)
    y = network(x)
    assert y.shape == (2, 1, 8 * scale, 12 * scale)
    torch.testing.assert_close(script(network)(x), y)


def test_the_grid_is_that_of_the_poolings() -> None:
    torch.manual_seed(0)
    found = measure(UNetSIM(UNetSIMConfig(frames=3, widths=SMALL, scale=2)).eval())
    assert (found.frames, found.scale, found.multiple, found.exact) == (3, 2, 4, True)
    # By hand: 2 + 2 * 2 + 2 * 4 on the way down, 2 * 2 + 2 up, 1 of the tail, and up to 3 to the grid's next cross
    assert 20 <= found.halo <= 24


def test_the_skips_carry_and_the_deep_reaches() -> None:
    """With the deepest level cut off, the reach shrinks to that of the finer ones; with the skip cut, it stays."""
    torch.manual_seed(0)
    network = UNetSIM(UNetSIMConfig(frames=1, widths=SMALL)).eval()
    whole = measure(network).halo
    with torch.no_grad():
        network.restore.up[0].doubler = Nothing(network.restore.up[0].doubler)
    assert measure(network).halo < whole


class Nothing(nn.Module):
    def __init__(self, like: nn.Module) -> None:
        super().__init__()
        self.like = like

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(self.like(torch.zeros_like(x)))


def test_the_signal_is_still_there_at_the_bottom() -> None:
    """With torch's own start it would be a thousandth there after ten ReLUs, and the network would learn nothing."""
    torch.manual_seed(0)
    network = UNetSIM(UNetSIMConfig(widths=(16, 32, 64, 64, 64))).restore
    x = torch.randn(2, 15, 64, 64)
    deep = network.head(x)
    for down in network.down:
        deep = down(network.pool(deep))
    assert 0.2 < (deep.square().mean() / x.square().mean()).sqrt().item() < 20


def test_the_cascade_shows_the_second_network_both() -> None:
    torch.manual_seed(0)
    network = UNetSIM(UNetSIMConfig(frames=3, widths=SMALL, cascade=True)).eval()
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(network(x), network.restore(torch.cat([x, network.clean(x)], dim=1)))


@pytest.mark.parametrize(
    ("wrong", "text"), [({"frames": 2}, "1, 3, 9 or 15"), ({"scale": 4}, "1 or 2"), ({"widths": (8,)}, "at least 2")]
)
def test_wrong_configurations_are_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        UNetSIMConfig(**wrong)
