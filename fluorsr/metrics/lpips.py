"""Learned perceptual image patch similarity (Zhang et al. 2018, CVPR), in plain torch.

    d(x, y) = sum_l mean_hw  w_l . (F_l(x) / |F_l(x)| - F_l(y) / |F_l(y)|)^2                               (equation 1)

F_l are features of a network trained on photographs (the trunk), w_l weights fitted to what people call similar (the
heads). Grey images are repeated in three channels, in [-1, 1], as the authors ask.

The heads come with the package lpips (`fluorsr[lpips]`), whose files are read without importing it: the import would
need torchvision. The trunks are torchvision's, and are not shipped: they are looked for where torch keeps downloads.
Nothing ever takes their place, since features of other weights give another number under the same name.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fluorsr.errors import FormatError, InputError, MissingDependencyError, MissingWeightsError
from fluorsr.metrics.check import check_pair
from fluorsr.metrics.frc import Squares

BLOCK = 1024
"""Larger images are cut into parts of at most this side, and their distances averaged by area."""
ROWS = 64
"""Rows of features compared at a time: as many more copies of VGG16's first features would take gigabytes."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and spread of photographs in [-1, 1]: the authors' scaling layer."""

Name = Literal["alex", "vgg"]


class Trunk(NamedTuple):
    """A network's layers, and after which of them (exclusive) features are taken.

    layers     (channels in, out, kernel, stride, padding) of a convolution and its ReLU, or (kernel, stride) of a pool
    taps       numbers of layers
    channels   of the features
    file       of torchvision's ImageNet weights in torch's cache
    model      torchvision's name for it
    smallest   side of an image that still has features at the last tap
    """

    layers: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    file: str
    model: str
    smallest: int


def _vgg(*stages: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Stages of 3 x 3 convolutions with a pool between them."""
    layers: list[tuple[int, ...]] = []
    for n, stage in enumerate(stages):
        layers += [(2, 2)] if n else []
        layers += [(a, b, 3, 1, 1) for a, b in itertools.pairwise(stage)]
    return tuple(layers)


TRUNKS: dict[str, Trunk] = {
    # Krizhevsky 2014 ("one weird trick").
    "alex": Trunk(
        (
            (3, 64, 11, 4, 2),
            (3, 2),
            (64, 192, 5, 1, 2),
            (3, 2),
            (192, 384, 3, 1, 1),
            (384, 256, 3, 1, 1),
            (256, 256, 3, 1, 1),
        ),
        (1, 3, 5, 6, 7),
        (64, 192, 384, 256, 256),
        "alexnet-owt-7be5be79.pth",
        "alexnet",
        31,
    ),
    # Simonyan and Zisserman 2015, configuration D.
    "vgg": Trunk(
        _vgg((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512)),
        (2, 5, 9, 13, 17),
        (64, 128, 256, 512, 512),
        "vgg16-397923af.pth",
        "vgg16",
        16,
    ),
}


class Lpips(nn.Module):
    """Trunk and heads, their weights not yet loaded. forward: images in [-1, 1] [N, 1 or 3, Y, X] twice -> [N]."""

    shift: Tensor
    scale: Tensor

    def __init__(self, name: Name) -> None:
        super().__init__()
        self.trunk = TRUNKS[name]
        self.features = nn.Sequential()
        index = 0
        # Numbered as torchvision's, which count a convolution and its ReLU as two: its checkpoints load as they are.
        for layer in self.trunk.layers:
            if len(layer) == 2:
                self.features.add_module(str(index), nn.MaxPool2d(*layer))
                index += 1
            else:
                before, after, kernel, stride, padding = layer
                self.features.add_module(str(index), nn.Conv2d(before, after, kernel, stride, padding))
                self.features.add_module(str(index + 1), nn.ReLU(inplace=True))
                index += 2
        self.heads = nn.ParameterList([torch.zeros(n) for n in self.trunk.channels])
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        for convolution in self.features:
            if isinstance(convolution, nn.Conv2d):
                convolution.weight.data = convolution.weight.contiguous(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        # One after the other: side by side, VGG16's first features of a part of an image would take 2 GiB.
        pair = [
            ((image.expand(-1, 3, -1, -1) - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
            for image in (first, second)
        ]
        total = torch.zeros(first.shape[0], dtype=torch.float64, device=first.device)
        begin = done = 0
        for tap, head in zip(self.trunk.taps, self.heads, strict=True):
            end = begin + sum(1 if len(layer) == 2 else 2 for layer in self.trunk.layers[done:tap])
            pair = [self.features[begin:end](image) for image in pair]
            begin, done = end, tap
            rows, columns = pair[0].shape[-2:]
            parts = zip(*(torch.split(image, ROWS, -2) for image in pair), strict=True)
            total += torch.stack([_distance(a, b, head) for a, b in parts]).sum(0) / (rows * columns)
        return total


def _distance(first: Tensor, second: Tensor, head: Tensor) -> Tensor:
    """Weighted squared distances of unit features, summed over an image: [N, C, Y, X] twice -> [N] float64."""
    # The 1e-10 keeps places without any feature from dividing by 0; it is the authors'.
    a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in (first, second))
    return torch.einsum("nchw,c->nhw", (a - b).square(), head).sum((-2, -1), dtype=torch.float64)


def lpips(
    prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0, trunk: Name = "alex"
) -> Tensor:
    """LPIPS distance, 0 where equal: [..., Y, X] twice -> [...] float64.

    Both are mapped by 2 (x - target's minimum) / data_range - 1, so that the target spans [-1, 1]; not clipped. The
    pixel size does not matter. Raises InputError below 31 x 31 (alex) or 16 x 16 (vgg) pixels, MissingWeightsError or
    MissingDependencyError where weights are absent.
    """
    check_pair(prediction, target, data_range)
    smallest = TRUNKS[trunk].smallest
    rows, columns = target.shape[-2:]
    if min(rows, columns) < smallest:
        raise InputError(
            f"LPIPS ({trunk}) needs images of at least {smallest} x {smallest} pixels, not {rows} x {columns}"
        )
    planes = zip(prediction.reshape(-1, rows, columns), target.reshape(-1, rows, columns), strict=True)
    totals = [lpips_sum(p, t, float(t.min()), data_range, trunk) for p, t in planes]
    return (torch.tensor(totals, dtype=torch.float64, device=target.device) / (rows * columns)).reshape(
        target.shape[:-2]
    )


def lpips_sum(
    prediction: Tensor | Squares, target: Tensor | Squares, low: float, data_range: float, trunk: Name = "alex"
) -> float:
    """The distance of two images [Y, X], part by part, times their area; `low` becomes -1, `low` + data_range 1."""
    network = load_lpips(trunk).to(target.device)
    rows, columns = target.shape
    total = 0.0
    for at in itertools.product(_parts(rows), _parts(columns)):
        parts = [(2 * (image[at] - low) / data_range - 1).float()[None, None] for image in (prediction, target)]
        total += float(network(*parts)) * parts[0].numel()
    return total


def lpips_vgg(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float = 1.0) -> Tensor:
    """`lpips` with the VGG16 trunk."""
    return lpips(prediction, target, data_range=data_range, pixel_size_um=pixel_size_um, trunk="vgg")


@lru_cache(maxsize=2)
def load_lpips(name: Name, trunk: Path | None = None, heads: Path | None = None) -> Lpips:
    """The network with its weights, from files of torchvision and lpips, or from where those keep theirs.

    Raises MissingWeightsError, MissingDependencyError, or FormatError where a file is not what it should be.
    """
    network = Lpips(name)
    trunk = trunk or Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[name].file
    if not trunk.is_file():
        raise MissingWeightsError(
            f"LPIPS needs the ImageNet weights of {TRUNKS[name].model}, and {trunk} does not exist; on a machine with "
            f"torchvision and a network run torchvision.models.{TRUNKS[name].model}(weights='IMAGENET1K_V1'), and copy "
            f"{TRUNKS[name].file} from its torch cache to there. Nothing else can stand in for them"
        )
    features = {key: value for key, value in read_pth(trunk).items() if key.startswith("features.")}
    heads = heads or _installed_heads(name)
    weights = read_pth(heads)
    try:
        network.features.load_state_dict({key.removeprefix("features."): value for key, value in features.items()})
        for n, head in enumerate(network.heads):
            head.copy_(weights[f"lin{n}.model.1.weight"].view(-1))
    except (RuntimeError, KeyError) as error:
        raise FormatError(f"{trunk} and {heads} are not the weights of LPIPS ({name}): {error}") from error
    return network


def _installed_heads(name: Name) -> Path:
    """The heads in the files of the installed package lpips, which is not imported."""
    try:
        files = importlib.metadata.files("lpips") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "LPIPS needs the heads in the package lpips, which is not installed; try: pip install 'fluorsr[lpips]'"
        ) from error
    wanted = f"lpips/weights/v0.1/{name}.pth"
    for file in files:
        if file.as_posix() == wanted:
            return Path(str(file.locate()))
    raise MissingWeightsError(f"the installed package lpips has no {wanted}; install lpips 0.1.4")


def read_pth(path: Path) -> dict[str, Tensor]:
    """Tensors of a .pth file, read without running any code in it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        # The reader takes any bytes for a pickle, and stumbles in as many ways.
        raise FormatError(f"{path} is no file of weights that torch reads: {error}; fetch it again") from error
    if not isinstance(state, dict):
        raise FormatError(f"{path} holds a {type(state).__name__}, not the weights of a network; fetch it again")
    return state


def _parts(size: int) -> list[slice]:
    """As few parts of near-equal length as BLOCK allows."""
    count = -(-size // BLOCK)
    edges = [size * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
