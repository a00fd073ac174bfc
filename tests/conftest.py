"""Restorers whose right answer is known: integer weights in float64, so that comparisons are exact."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fluorsr.models.trust import remember
from fluorsr.restorer import RestorerSpec


class IntegerRestorer:
    """A convolution of radius `radius`, pixel-shuffled to `scale`, plus (where multiple > 1) a pooled branch.

    The pooled branch sums over multiple x multiple cells, convolves 3 x 3 and spreads the result over the cells again,
    so what a pixel gets depends on its place in the grid, as in a U-Net. All weights are small integers.
    """

    def __init__(self, scale: int = 1, radius: int = 1, multiple: int = 1, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = 2 * radius + 1
        self.kernel = torch.randint(-2, 3, (scale**2, 1, size, size), generator=generator).double()
        self.kernel[:, :, 0, 0] = self.kernel[:, :, -1, -1] = 1  # the full radius matters
        self.pooled = torch.randint(1, 3, (1, 1, 3, 3), generator=generator).double()
        reach = max(radius, 2 * multiple - 1 if multiple > 1 else 0)
        self.spec = RestorerSpec("integers", scale=scale, halo=-(-reach // multiple) * multiple, multiple=multiple)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        m, scale = self.spec.multiple, self.spec.scale
        x = tiles.double()
        out = F.pixel_shuffle(F.conv2d(x, self.kernel, padding="same"), scale)
        if m > 1:
            cells = F.avg_pool2d(x, m) * m * m
            out = out + F.interpolate(F.conv2d(cells, self.pooled, padding=1), scale_factor=m * scale)
        return out.float()

    def whole(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """The reference: the model on the whole reflect-padded image, cropped to it."""
        h, m, s = self.spec.halo, self.spec.multiple, self.spec.scale
        height, width = pixels.shape
        padded = np.pad(pixels, ((h, h + -height % m), (h, h + -width % m)), mode="reflect").astype(np.float32)
        restored = self.restore(torch.from_numpy(padded)[None, None], torch.zeros(1, 2, dtype=torch.int64), 0)
        return restored[0, 0, h * s : (h + height) * s, h * s : (h + width) * s].numpy()

    def with_halo(self, halo: int) -> IntegerRestorer:
        """The same model, declared with another halo."""
        other = IntegerRestorer.__new__(IntegerRestorer)
        other.kernel, other.pooled, other.spec = self.kernel, self.pooled, replace(self.spec, halo=halo)
        return other


@pytest.fixture(autouse=True)
def onednn_stays_on() -> Iterator[None]:
    """Measuring a model switches it off for a moment; left off, everything after takes minutes longer."""
    yield
    assert torch.backends.mkldnn.enabled, "oneDNN was left switched off"  # type: ignore[attr-defined]


@pytest.fixture
def integer_restorer() -> Callable[..., IntegerRestorer]:
    return IntegerRestorer


class SmallNetwork(torch.nn.Module):
    """Two convolutions and a sub-pixel tail: scale 2, halo 2. `work` repeats it, to make a run last."""

    def __init__(self, work: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 4, 3, padding=1)
        self.work = work

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(1)
        for _ in range(self.work):
            out = F.pixel_shuffle(self.second(torch.relu(self.first(x))), 2)
        return out


@pytest.fixture(scope="session", autouse=True)
def trust_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests have a trust list of their own, in this process and its children."""
    place = tmp_path_factory.mktemp("configuration") / "trusted"
    os.environ["FLUORSR_TRUST"] = str(place)
    return place


def _save_script(module: torch.nn.Module, path: Path) -> Path:
    """Save a module as TorchScript and trust it; torch says that it is deprecated, which is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(path))
    remember(path, hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def save_script() -> Callable[[torch.nn.Module, Path], Path]:
    """Saves a module as a TorchScript file."""
    return _save_script


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file without a spec: scale 2, halo 2."""
    return _save_script(SmallNetwork(), tmp_path_factory.mktemp("models") / "small.pt")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, computed 40 times over."""
    return _save_script(SmallNetwork(work=40), tmp_path_factory.mktemp("models") / "slow.pt")
