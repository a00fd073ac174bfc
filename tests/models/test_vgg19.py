"""The content loss on weights made here: torchvision's own are not there, its file's layout is."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from fluorsr.errors import FormatError, MissingWeightsError
from fluorsr.models.vgg19 import STAGES, load_vgg19

# (number in torchvision's features, channels in, out) of all 16 convolutions; pools follow numbers 3, 8, 17 and 26
CONVOLUTIONS = [
    (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
    (16, 256, 256), (19, 256, 512), (21, 512, 512), (23, 512, 512), (25, 512, 512), (28, 512, 512), (30, 512, 512),
    (32, 512, 512), (34, 512, 512),
]  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    state = {"classifier.0.bias": torch.zeros(3)}
    for number, before, after in CONVOLUTIONS:
        state[f"features.{number}.weight"] = torch.randn(after, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"features.{number}.bias"] = 0.1 * torch.randn(after)
    path = tmp_path_factory.mktemp("cache") / "vgg19.pth"
    torch.save(state, path)
    return path, state


def by_hand(images: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    x = (images.repeat(1, 3, 1, 1) - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    for number, _, _ in CONVOLUTIONS:
        if number in (5, 10, 19, 28):
            x = functional.max_pool2d(x, 2)
        x = torch.relu(functional.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], 1, 1))
    return x


def test_the_loss_is_the_squared_difference_of_rescaled_features(weights) -> None:
    path, state = weights
    loss = load_vgg19(path)
    a, b = torch.rand(2, 1, 32, 48).requires_grad_(), torch.rand(2, 1, 32, 48)
    found = loss(a, b)
    expected = (by_hand(a, state) - by_hand(b, state)).square().mean() / 12.75**2
    torch.testing.assert_close(found, expected)
    found.backward()
    assert bool(torch.isfinite(a.grad).all())
    assert float(a.grad.abs().max()) > 0
    assert loss(b, b).item() == 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_it_is_vgg19() -> None:
    """16 convolutions and 3 dense layers make 19; 20,024,384 of its 143,667,240 weights are convolutions'."""
    convolutions = [(a, b) for stage in STAGES for a, b in itertools.pairwise(stage)]
    assert convolutions == [(before, after) for _, before, after in CONVOLUTIONS]
    assert sum(9 * a * b + b for a, b in convolutions) == 20_024_384


def test_missing_and_foreign_weights_are_told(tmp_path, monkeypatch, weights) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"checkpoints/vgg19-dcbb9e9d.pth does not exist; .*content=features"):
        load_vgg19()
    path, state = weights
    del path
    torch.save({key: value for key, value in state.items() if "features.34" not in key}, tmp_path / "vgg16.pth")
    with pytest.raises(FormatError, match=r"vgg16.pth does not hold the weights of VGG19: Missing key"):
        load_vgg19(tmp_path / "vgg16.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(FormatError, match=r"text.pth is no file of weights that torch reads"):
        load_vgg19(tmp_path / "text.pth")
