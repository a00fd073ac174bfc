"""Measured contracts against closed forms: a chain of convolutions reaches as far as the sum of their radii."""

from __future__ import annotations

import math
import threading
import time

import pytest
import torch
from torch import Tensor, nn

from fluorsr.errors import ModelError
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.measure import Measured, _plain_convolutions, measure
from fluorsr.models.torchscript import freeze


class UNet(nn.Module):
    """One 3 x 3 convolution a level on the way down and one on the way up, around 2 x 2 pooling."""

    def __init__(self, depth: int, norm: nn.Module | None = None, width: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.norm = norm or nn.Identity()
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 3, padding=1) for _ in range(depth))
        self.tail = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.relu(self.head(x)))
        skips: list[Tensor] = []
        for down in self.down:
            skips.append(x)
            x = torch.relu(down(nn.functional.max_pool2d(x, 2)))
        for up in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = torch.relu(up(torch.cat([x, skips.pop()], dim=1)))
        return self.tail(x)


class PaddedUNet(UNet):
    """Takes any size, as many published U-Nets do: pads to the next multiple of 2**depth and crops back."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        unit = 2 ** len(self.down)
        padded = nn.functional.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        return super().forward(padded)[..., :height, :width]


class Lambda(nn.Module):
    def __init__(self, function, *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def conv(radius: int = 1, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(1, 1, 2 * radius + 1, padding=radius, **kwargs)


@pytest.mark.parametrize(("blocks", "width", "scale"), [(1, 4, 1), (3, 4, 1), (2, 8, 2), (8, 4, 2), (2, 4, 4)])
def test_edsr_reaches_as_far_as_its_convolutions(blocks, width, scale):
    # head, two a block, one after them; then each upsampler's convolution and the tail, at a finer scale each time
    reach = 1 + 2 * blocks + 1
    reach += {1: 1.0, 2: 1 + 1 / 2, 4: 1 + 1 / 2 + 1 / 4}[scale]
    torch.manual_seed(0)
    model = EDSR(EDSRConfig(blocks=blocks, width=width, scale=scale)).eval()
    assert measure(model) == Measured(frames=1, scale=scale, halo=math.ceil(reach), multiple=1, exact=True)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [UNet, PaddedUNet])
def test_unet(depth, kind):
    # head 1; each level down: ceil(r / 2) + 1 = 2; each level up: 2 r + 1; then rounded up to the multiple
    reach = 2
    for _ in range(depth):
        reach = 2 * reach + 1
    multiple = 2**depth
    torch.manual_seed(depth)
    assert measure(kind(depth).eval()) == Measured(1, 1, -(-reach // multiple) * multiple, multiple, exact=True)


def test_unet_whose_deepest_level_hardly_matters():
    # trained networks may give the lowest level next to no weight: NaN shows the reach and multiple all the same
    model = UNet(3).eval()
    with torch.no_grad():
        model.up[0].weight *= 1e-7
    assert measure(model) == Measured(1, 1, 24, 8, exact=True)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Identity(), (1, 1, 0, 1)),
        (nn.Upsample(scale_factor=2, mode="nearest"), (1, 2, 0, 1)),
        (nn.Upsample(scale_factor=4, mode="nearest"), (1, 4, 0, 1)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 1, 1)),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.PixelShuffle(2)), (1, 2, 0, 1)),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 1), nn.PixelShuffle(2)), (1, 1, 0, 2)),
        (conv(radius=3), (1, 1, 3, 1)),
        (nn.Conv2d(1, 1, 3, padding=8, dilation=8), (1, 1, 8, 1)),
        (nn.Conv2d(1, 1, 3, padding=100, dilation=100), (1, 1, 100, 1)),
        # output i reads i - 1 to i + 2 along x and i - 3 to i along y: the wider side counts
        (nn.Sequential(nn.ZeroPad2d((1, 2, 3, 0)), nn.Conv2d(1, 1, 4)), (1, 1, 3, 1)),
        (nn.Sequential(conv(), nn.MaxPool2d(3), nn.Upsample(scale_factor=3)), (1, 1, 3, 3)),
        (nn.Sequential(nn.AvgPool2d(5), conv(), nn.Upsample(scale_factor=5)), (1, 1, 5, 5)),
        (nn.Sequential(nn.AvgPool2d(6), nn.Upsample(scale_factor=6)), (1, 1, 0, 6)),
        (nn.Sequential(nn.AvgPool2d(24), nn.Upsample(scale_factor=24)), (1, 1, 0, 24)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ConvTranspose2d(2, 1, 2, stride=2)), (1, 1, 2, 2)),
        (nn.Conv2d(3, 1, 3, padding=1), (3, 1, 1, 1)),
        (nn.Conv2d(9, 1, 1), (9, 1, 0, 1)),
        (nn.Conv2d(15, 1, 1), (15, 1, 0, 1)),
        (nn.Conv2d(7, 1, 1), (7, 1, 0, 1)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_closed_forms(model, expected):
    torch.manual_seed(1)
    assert measure(model.eval()) == Measured(*expected, exact=True)


def test_hidden_reach():
    weak = conv(radius=2)
    nn.init.constant_(weak.weight, 1e-12)  # vanishes in rounding beside the centre
    weak.weight.data[..., 2, 2] = 1.0
    dead = conv(radius=2)
    nn.init.constant_(dead.bias, -100.0)  # everything below zero: a ReLU hides all of it
    swallowing = Lambda(lambda x, inner: inner(torch.nan_to_num(x)), conv(radius=4))
    assert measure(weak.eval()).halo == 2
    assert measure(nn.Sequential(dead, nn.ReLU()).eval()).halo == 2
    assert measure(swallowing.eval()).halo == 4


def test_reach_through_the_border_only():
    # each output pixel is its own input pixel, but on the way it is kept 3 pixels to the left: lost at a tile's edge
    def there_and_back(x: Tensor) -> Tensor:
        return nn.functional.pad(nn.functional.pad(x, (3, -3)), (-3, 3))

    assert measure(there_and_back).halo == 3


@pytest.mark.parametrize(
    ("model", "multiple"),
    [
        (nn.Sequential(conv(), nn.InstanceNorm2d(1), conv()), 1),
        (UNet(2, nn.InstanceNorm2d(4)), 4),
        (UNet(2, nn.GroupNorm(2, 4)), 4),
        (Lambda(lambda x, inner: inner(x) * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True)), conv()), 1),
        (Lambda(lambda x: torch.fft.ifft2(torch.fft.fft2(x) * 0.5).real), 1),
    ],
    ids=["InstanceNorm", "U-Net InstanceNorm", "U-Net GroupNorm", "squeeze and excite", "Fourier"],
)
def test_global_statistics_are_not_exact(model, multiple):
    torch.manual_seed(0)
    found = measure(model.eval())
    assert (found.exact, found.multiple) == (False, multiple)
    assert 16 <= found.halo <= 64
    assert found.halo % multiple == 0


def test_a_network_that_knows_where_it_is_is_not_exact():
    def with_coordinates(x: Tensor) -> Tensor:
        return x * torch.linspace(0, 1, x.shape[-1], device=x.device)

    assert measure(with_coordinates) == Measured(1, 1, 16, 1, exact=False)


def test_torchscript_is_measured_as_the_module():
    torch.manual_seed(0)
    model = UNet(2).eval()
    assert measure(freeze(model, torch.rand(1, 1, 32, 32))) == measure(model)


class WindowAttention(nn.Module):
    """Attention within windows of 8 x 8 pixels, as in a Swin transformer; every other layer shifts them cyclically."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift, self.qkv = shift, nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(x, (-self.shift, -self.shift), (2, 3))
        batch, channels, height, width = x.shape
        windows = x.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 2, 4, 3, 5, 1)
        query, key, value = self.qkv(windows.reshape(-1, 64, channels)).chunk(3, dim=-1)
        mixed = (torch.softmax(query @ key.mT, dim=-1) @ value).view(windows.shape)
        x = x + mixed.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
        return torch.roll(x, (self.shift, self.shift), (2, 3))


def test_window_attention():
    # from a window's edge: convolution 1, windows 8, shifted windows 12, windows 16, shifted 20, convolution 21; then
    # rounded up to the windows
    torch.manual_seed(0)
    layers = [WindowAttention(shift) for shift in (0, 4, 0, 4)]
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers, nn.Conv2d(4, 1, 3, padding=1))
    assert measure(model.eval()) == Measured(1, 1, 24, 8, exact=True)


def test_attention_over_everything_is_not_exact():
    def attend(x: Tensor) -> Tensor:
        pixels = x.flatten(1)[..., None]
        return x + (torch.softmax(pixels @ pixels.mT, dim=-1) @ pixels).view(x.shape)

    assert measure(attend) == Measured(1, 1, 16, 1, exact=False)


def test_frames_may_be_given():
    anything = Lambda(lambda x: x.mean(dim=1, keepdim=True))
    assert measure(anything).frames == 1
    assert measure(anything, frames=5).frames == 5
    with pytest.raises(ModelError, match="frames is 65; it must be 1 to 64"):
        measure(anything, frames=65)


def test_the_backends_are_left_as_they_were():
    measure(nn.Identity())
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cudnn.enabled


def test_two_threads_at_once_leave_the_backends_as_they_were():
    entered = threading.Event()

    def hold(seconds):
        with _plain_convolutions():
            entered.set()
            time.sleep(seconds)

    first = threading.Thread(target=hold, args=(0.2,))
    first.start()
    assert entered.wait(5)
    hold(0.4)
    first.join()
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Upsample(scale_factor=1.5), r"1\.5 along y and 1\.5 along x; the scale must be one whole number"),
        (nn.Upsample(scale_factor=(2.0, 1.0)), r"2 along y and 1 along x; the scale must be one whole number"),
        (nn.Conv2d(1, 1, 3), r"so convolutions must be padded"),
        (nn.Conv2d(3, 3, 1), r"makes \[1, 3, 32, 64\] of \[1, 3, 32, 64\]; it must make \[1, 1, sY, sX\]"),
        (nn.Upsample(scale_factor=32), r"scale is 32; it must be 1 to 16"),
        (nn.Conv2d(20, 1, 1), r"takes no float32 input \[1, frames, Y, X\] with frames 1, 3, 9, 15, 2, .*first error"),
        (Lambda(lambda x: x.double()), r"returns torch\.float64; it must return torch\.float32"),
        (Lambda(lambda x: (x * 255).int()), r"returns torch\.int32; it must return torch\.float32"),
        (Lambda(lambda x: (x, x)), r"returns a tuple; it must return one tensor"),
        (Lambda(lambda x: x.mean()), r"makes \[\] of"),
        (Lambda(lambda x: x / 0), r"NaN or inf for finite input"),
        (nn.Conv2d(1, 1, 1).half(), r"takes no float32 input"),
    ],
    ids=[
        "1.5", "2 and 1", "unpadded", "RGB", "32", "20 frames", "float64", "int32", "tuple", "number", "inf", "half",
    ],
)  # fmt: skip
def test_refused(model, message):
    with pytest.raises(ModelError, match=message):
        measure(model.eval())


def test_dropout_in_training_mode_is_refused():
    with pytest.raises(ModelError, match=r"two results for one input.*Export it after .eval"):
        measure(nn.Sequential(nn.Dropout(0.5)).train())
