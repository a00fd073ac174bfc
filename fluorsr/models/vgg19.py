"""Content loss: how differently a network of photographs sees two images (Ledig et al. 2017, section 2.2.1).

    loss = mean ( phi(restored) - phi(target) )^2 / 12.75^2                                             (equation 5)

phi is VGG19 (Simonyan and Zisserman 2015) up to its convolution 5_4 and the ReLU after it. Its ImageNet weights are
torchvision's, and are not shipped; nothing ever stands in for them.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from fluorsr.errors import FormatError, MissingWeightsError
from fluorsr.metrics.lpips import read_pth

FILE = "vgg19-dcbb9e9d.pth"
"""Torchvision's name of the weights, in torch's cache."""

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's photographs in 0 to 1."""

RESCALE = 1 / 12.75
STAGES = ((3, 64, 64), (64, 128, 128), (128, *[256] * 4), (256, *[512] * 4), (512, *[512] * 4))


class VGG19Content(nn.Module):
    """The loss, its weights not yet loaded: (restored, target), both [B, 1, Y, X] in about 0 to 1, -> a scalar."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, stage in enumerate(STAGES):
            layers += [nn.MaxPool2d(2)] if n else []
            for before, after in itertools.pairwise(stage):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)  # numbered as torchvision's
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, restored: Tensor, target: Tensor) -> Tensor:
        """Differentiable in both."""
        seen, wanted = (
            self.features((images.expand(-1, 3, -1, -1) - self.mean) / self.spread) for images in (restored, target)
        )
        loss: Tensor = ((seen - wanted) * RESCALE).square().mean()
        return loss


def load_vgg19(path: str | Path | None = None) -> VGG19Content:
    """The loss with the weights of a torchvision file, by default the one in torch's cache.

    Raises MissingWeightsError where there is none, FormatError where it is not VGG19's.
    """
    path = Path(path).expanduser() if path else Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        raise MissingWeightsError(
            f"the VGG19 content loss needs ImageNet weights, and {path} does not exist; on a machine with torchvision "
            f"and a network run torchvision.models.vgg19(weights='IMAGENET1K_V1') and copy {FILE} from its torch cache "
            "to there, or match the discriminator's features instead: --set options.content=features"
        )
    loss = VGG19Content()
    state = {key.removeprefix("features."): value for key, value in read_pth(path).items() if "features." in key}
    try:
        loss.features.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(f"{path} does not hold the weights of VGG19: {str(error).splitlines()[1].strip()}") from error
    return loss
