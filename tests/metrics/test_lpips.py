"""LPIPS against the authors' package, with untrained weights; where its files are looked for, and if absent."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fluorsr.errors import FormatError, InputError, MissingDependencyError, MissingWeightsError
from fluorsr.metrics.lpips import TRUNKS, Lpips, Name, load_lpips, lpips, lpips_vgg


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    load_lpips.cache_clear()
    yield
    load_lpips.cache_clear()


def untrained(name: Name, reference: ModuleType) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Trunk and heads as torchvision and lpips would save them: the weights that tools/reference/metrics.py gave."""
    features = Lpips(name).features.state_dict()
    made = [torch.from_numpy(reference.weights(tuple(v.shape), n)) for n, v in enumerate(features.values())]
    trunk = {f"features.{key}": value for key, value in zip(features, made, strict=True)}
    trunk["classifier.1.weight"] = torch.zeros(3)
    heads = {
        f"lin{n}.model.1.weight": torch.from_numpy(np.abs(reference.weights((1, c, 1, 1), 100 + n)))
        for n, c in enumerate(TRUNKS[name].channels)
    }
    return trunk, heads


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: Name, reference: ModuleType) -> None:
    """A torch cache and an installed lpips that hold untrained weights. The package's code would fail if imported."""
    trunk, heads = untrained(name, reference)
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(trunk, folder / "hub" / "checkpoints" / TRUNKS[name].file)
    site = folder / "site"
    (site / "lpips" / "weights" / "v0.1").mkdir(parents=True)
    torch.save(heads, site / "lpips" / "weights" / "v0.1" / f"{name}.pth")
    (site / "lpips" / "__init__.py").write_text("import torchvision\n", "utf-8")
    info = site / "lpips-0.1.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lpips\nVersion: 0.1.4\n", "utf-8")
    (info / "RECORD").write_text(f"lpips/__init__.py,,\nlpips/weights/v0.1/{name}.pth,,\n", "utf-8")
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_it_is_the_authors(
    name: Name, reference: ModuleType, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, name, reference)
    sharp, blurred = (torch.from_numpy(image).float() for image in reference.restored_and_input())
    width = float(sharp.max() - sharp.min())
    metric = lpips if name == "alex" else lpips_vgg
    ours = metric(torch.stack([blurred, sharp]), torch.stack([sharp, sharp]), data_range=width)
    assert ours.dtype == torch.float64
    assert ours[0].item() == pytest.approx(values["lpips"][name], abs=1e-6)
    assert ours[1].item() == 0
    # One offset and gain of both images, and of the range, change nothing.
    moved = metric(blurred * 5 + 900, sharp * 5 + 900, data_range=5 * width)
    assert moved.item() == pytest.approx(ours[0].item(), abs=1e-6)


def test_large_images_are_averaged_over_their_parts(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "alex", reference)
    first, second = torch.rand(2, 60, 100, generator=torch.Generator().manual_seed(1))
    second[0, 0], second[0, 60] = 0.0, 0.0  # each part has the whole's minimum
    parts = [lpips(first[:, x : x + 50], second[:, x : x + 50], data_range=1.0).item() for x in (0, 50)]
    monkeypatch.setattr("fluorsr.metrics.lpips.BLOCK", 60)
    assert lpips(first, second, data_range=1.0).item() == pytest.approx(np.mean(parts), rel=1e-6)


def test_missing_weights_are_explained(reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(40, 40)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        MissingWeightsError, match=r"ImageNet weights of alexnet, and .*alexnet-owt-7be5be79.pth does not"
    ):
        lpips(image, image, data_range=1.0)
    with pytest.raises(
        MissingWeightsError, match=r"run torchvision.models.vgg16\(weights='IMAGENET1K_V1'\), and copy vgg"
    ):
        lpips_vgg(image, image, data_range=1.0)
    trunk, heads = untrained("alex", reference)
    path = tmp_path / "trunk.pth"
    torch.save(trunk, path)

    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", none)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fluorsr\[lpips\]'"):
        load_lpips("alex", path)
    monkeypatch.setattr(importlib.metadata, "files", lambda _: [])
    with pytest.raises(MissingWeightsError, match=r"has no lpips/weights/v0.1/alex.pth; install lpips 0.1.4"):
        load_lpips("alex", path)
    torch.save(heads, tmp_path / "heads.pth")
    assert load_lpips("alex", path, tmp_path / "heads.pth").heads[0].shape == (64,)


def test_files_of_another_kind_are_refused(reference: ModuleType, tmp_path: Path) -> None:
    trunk, heads = untrained("alex", reference)
    for name, content in (("trunk", trunk), ("heads", heads), ("list", [1, 2])):
        torch.save(content, tmp_path / f"{name}.pth")
    (tmp_path / "text.pth").write_text("an error page", "utf-8")
    with pytest.raises(FormatError, match=r"heads.pth and .*heads.pth are not the weights of LPIPS \(alex\)"):
        load_lpips("alex", tmp_path / "heads.pth", tmp_path / "heads.pth")
    with pytest.raises(FormatError, match=r"are not the weights of LPIPS \(alex\): 'lin0.model.1.weight'"):
        load_lpips("alex", tmp_path / "trunk.pth", tmp_path / "trunk.pth")
    with pytest.raises(FormatError, match=r"text.pth is no file of weights that torch reads"):
        load_lpips("alex", tmp_path / "text.pth")
    with pytest.raises(FormatError, match=r"list.pth holds a list, not the weights"):
        load_lpips("alex", tmp_path / "list.pth")


def test_images_too_small_are_refused() -> None:
    with pytest.raises(InputError, match=r"LPIPS \(alex\) needs images of at least 31 x 31 pixels, not 30 x 90"):
        lpips(torch.rand(30, 90), torch.rand(30, 90), data_range=1.0)
