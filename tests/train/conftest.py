"""Runs small enough to be trained in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from fluorsr.train.recipe import Recipe

TINY = {
    "name": "tiny",
    "architecture": "edsr",
    "model": {"blocks": 1, "width": 4, "scale": 2},
    "data": {"size_px": 32, "structures": {"microtubules": 1.0, "nuclei": 1.0}},
    "steps": 6,
    "batch": 2,
    "patch": 16,
    "pool": 2,
    "warmup": 2,
    "validate_every": 3,
    "log_every": 2,
}


@pytest.fixture(autouse=True)
def _few_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """One field a structure to validate on."""
    monkeypatch.setattr("fluorsr.train.sources.FIELDS", 1)


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """A recipe of six steps, with changes."""
    return lambda **changes: Recipe(**{**TINY, **changes})


@pytest.fixture
def tiny_yaml(tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def pairs_folder(tmp_path: Path) -> Path:
    """Ten pairs of 96 x 96 pixels at scale 1: bright lines, and what an instrument with a twice wider spot saw."""
    folder = tmp_path / "pairs"
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:96, :96]
    for name in ("input", "target"):
        (folder / name).mkdir(parents=True)
    for number in range(10):
        images = [np.full(x.shape, 20.0), np.full(x.shape, 20.0)]
        for _ in range(12):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-40, 40)
            far = (x - 48) * np.cos(angle) + (y - 48) * np.sin(angle) - offset
            for side, sigma in enumerate((3.0, 1.5)):
                images[side] += 600 / sigma * np.exp(-(far**2) / (2 * sigma**2))
        for image, name in zip(images, ("input", "target"), strict=True):
            tifffile.imwrite(folder / name / f"cell{number}.tif", rng.poisson(image).astype(np.uint16))
    return folder
