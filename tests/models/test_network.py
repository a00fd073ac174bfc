from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fluorsr.errors import ModelError
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.network import Network, channels_last, prepare
from fluorsr.restorer import RestorerSpec

SPEC = RestorerSpec("edsr", scale=2, halo=8)
ORIGIN = torch.zeros(4, 2, dtype=torch.int64)


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0).double()


def edsr(precision: str, blocks: int = 2, width: int = 16) -> Network:
    torch.manual_seed(0)
    module = EDSR(EDSRConfig(blocks=blocks, width=width, scale=2))
    return Network(prepare(module, device="cpu", precision=precision), SPEC, precision=precision)


@pytest.fixture(autouse=True)
def one_torch_thread():
    """As in a run: tiles side by side, torch itself single-threaded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["fp32", "bf16"])
def network(request) -> Network:
    return edsr(request.param)


def test_output_is_float32_and_near_the_module(network):
    torch.manual_seed(0)
    plain = EDSR(EDSRConfig(blocks=2, width=16, scale=2)).eval()
    tiles = torch.rand(4, 1, 40, 56)
    with torch.inference_mode():
        expected = plain(tiles)
    found = network.restore(tiles, ORIGIN, 0)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[network.precision]
    assert float((found - expected).abs().max()) < tolerance * float(expected.max() - expected.min())


def test_position_in_the_batch_changes_no_bit(network):
    tiles = torch.rand(4, 1, 40, 56)
    expected = network.restore(tiles, ORIGIN, 0)
    for shift in range(1, 4):
        assert torch.equal(network.restore(tiles.roll(shift, 0), ORIGIN, 0).roll(-shift, 0), expected)
    repeated = network.restore(tiles[:1].repeat(4, 1, 1, 1), ORIGIN, 0)
    assert all(torch.equal(row, expected[0]) for row in repeated)


def test_concurrent_threads_change_no_bit(network):
    tiles = torch.rand(12, 2, 1, 48, 64).unbind()
    expected = [network.restore(pair, ORIGIN[:2], 0) for pair in tiles]
    for threads in (1, 4):
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in range(3):
                found = list(pool.map(lambda pair: network.restore(pair, ORIGIN[:2], 0), tiles))
                assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


class Orders(TorchDispatchMode):
    """Notes the steps from channel to channel in what each convolution is given and makes, and its output channels."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, called, types, args=(), kwargs=None):
        made = called(*args, **(kwargs or {}))
        if called is torch.ops.aten.conv2d.default:
            self.found.append((args[0].stride()[1], made.stride()[1], made.shape[1]))
        return made


def test_no_layer_falls_back_to_channels_first():
    # a one-channel weight or input left with ambiguous strides makes torch choose channels-first from there on
    torch.manual_seed(0)
    module = prepare(EDSR(EDSRConfig(blocks=1, width=8, scale=2)), device="cpu", precision="fp32")
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.stride() == (9 * part.in_channels, 1, 3 * part.in_channels, part.in_channels)
    with Orders() as orders:
        Network(module, SPEC).restore(torch.rand(1, 1, 32, 32), ORIGIN[:1], 0)
    assert len(orders.found) == 5  # the body and its end
    assert all(given == 1 for given, _, _ in orders.found)
    assert all(made == 1 for _, made, channels in orders.found if channels > 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_channels_last(batch, channels):
    tensor = torch.rand(batch, channels, 5, 7)
    found = channels_last(tensor)
    assert torch.equal(found, tensor)
    assert found.stride() == (35 * channels, 1, 7 * channels, channels)
    part = torch.rand(batch, channels, 9, 7)[:, :, 2:7]
    assert torch.equal(channels_last(part), part)


def test_output_that_breaks_the_spec():
    tiles = torch.rand(1, 1, 32, 32)
    with pytest.raises(ModelError, match=r"edsr: the model's output is 32 pixels high .* scale 2, so 64"):
        Network(nn.Identity(), SPEC).restore(tiles, ORIGIN[:1], 0)
    with pytest.raises(ModelError, match=r"returns torch\.float64; it must return torch\.float32"):
        Network(Doubling(), SPEC).restore(tiles, ORIGIN[:1], 0)


def test_the_allocator_can_be_tuned_again_and_again():
    assert tune_allocator() == tune_allocator()
