"""AlexNet and VGG16 without weights, layer by layer as torchvision has them, for lpips to import in its place.

torchvision's wheels do not import beside a torch without CUDA.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

from torch import nn


def alexnet(pretrained: bool = False) -> SimpleNamespace:
    """The features of AlexNet."""
    return SimpleNamespace(
        features=nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
        )
    )


def vgg16(pretrained: bool = False) -> SimpleNamespace:
    """The features of VGG16."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        if width == 0:
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU()]
        channels = width
    return SimpleNamespace(features=nn.Sequential(*layers))


def stand_in_for_torchvision() -> None:
    """Let `from torchvision import models` find the networks of this file."""
    torchvision, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    vars(models).update(alexnet=alexnet, vgg16=vgg16)
    vars(torchvision).update(models=models)
    sys.modules.update({"torchvision": torchvision, "torchvision.models": models})
