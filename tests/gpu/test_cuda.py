"""What only a GPU can show. On a machine without one all of it is skipped: nothing else may depend on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.train.recipe import read_recipe
from fluorsr.train.run import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

EDSR = "edsr-confocal-sted-x2"
SEED = 2**32 + 91


def field(frames: int, size: int = 128) -> Field:
    if frames == 1:
        return simulate_pair(configure("confocal-sted", fixed=True, size_px=size), SEED, 0, "microtubules")
    config = configure("sim-3x5", fixed=True, size_px=size, photons=1000, thickness=0.5, haze=0.2)
    return simulate_pair(config, SEED, 0, "microtubules")


def restored(name: str, field: Field, device: str, **options: Any) -> np.ndarray:
    """Of 15 raw frames the first phases of each direction, as many as the model takes."""
    frames, pixels = describe(name).spec.frames, field.degraded
    if frames > 1:
        pixels = pixels.reshape(3, 5, *pixels.shape[1:])[:, : frames // 3].reshape(frames, *pixels.shape[1:])
    image = Image(pixels, "zyx", {"y": field.pixel_size_um, "x": field.pixel_size_um})
    axes = {"frames_axis": "z"} if frames > 1 else {}
    return np.asarray(fluorsr.restore(image, name, device=device, dtype="float32", **axes, **options).data).squeeze()


@pytest.mark.parametrize("name", zoo())
def test_every_shipped_model_restores_on_the_gpu_what_it_does_on_the_cpu(name: str) -> None:
    spec = describe(name).spec
    here = field(spec.frames, 128 if spec.frames == 1 else 256)
    steps = {"steps": 2} if spec.stochastic else {}
    expected = restored(name, here, "cpu", precision="fp32", **steps)
    found = restored(name, here, "cuda", precision="fp32", **steps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.ptp(expected))
    fast = restored(name, here, "cuda", precision="bf16", **steps)
    error = np.mean((fast - expected) ** 2)
    assert 10 * np.log10(np.ptp(expected) ** 2 / error) > 35


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_streams_change_no_bit(precision: str) -> None:
    """Tiles that travel and are computed side by side, against one after the other, ten times."""
    here = field(1, 512)
    options = {"precision": precision, "tile": 128}
    expected = restored(EDSR, here, "cuda", threads=1, **options)
    for _ in range(10):
        np.testing.assert_array_equal(restored(EDSR, here, "cuda", threads=8, **options), expected)


def test_a_gpu_too_small_takes_half_as_many_tiles() -> None:
    loaded = fluorsr.load(EDSR, device="cuda", precision="fp32")
    tiles, origin = torch.rand(32, 1, 256, 256), torch.zeros(32, 2, dtype=torch.int64)
    expected = torch.cat([loaded.restore(tiles[i : i + 1], origin[:1], 0) for i in range(32)])
    assert loaded.batch_limit is None
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        # 32 tiles need 256 x 256 x 32 features x 4 bytes each at least several times over: 256 MiB are too little.
        torch.cuda.set_per_process_memory_fraction(256 * 2**20 / total)
        found = loaded.restore(tiles, origin, 0)
        assert loaded.batch_limit is not None
        assert loaded.batch_limit < 32
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        with pytest.raises(InputError, match=r"too little memory for one tile of 4096 x 4096: try a smaller --tile"):
            loaded.restore(torch.rand(1, 1, 4096, 4096), origin[:1], 0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_run_and_one_process_a_gpu_write_the_same_pixels(tmp_path: Path) -> None:
    here = field(1, 512)
    zarr.create_array(tmp_path / "in.zarr", data=here.degraded[0])
    options: dict[str, Any] = {"model": EDSR, "precision": "fp32", "tile": 256, "block": 512}
    fluorsr.infer(tmp_path / "in.zarr", tmp_path / "one.zarr", device="cuda", **options)
    fluorsr.infer(tmp_path / "in.zarr", tmp_path / "all.zarr", gpus="all", **options)
    one, every = (zarr.open_group(tmp_path / name, mode="r")["0"][:] for name in ("one.zarr", "all.zarr"))
    np.testing.assert_array_equal(one, every)


def test_training_runs_on_the_gpu(tmp_path: Path) -> None:
    recipe = read_recipe("edsr-confocal-sted-x2", {"steps": 40, "warmup": 5, "validate_every": 20, "pool": 16})
    train(recipe, tmp_path / "run", workers=0)
    assert torch.cuda.get_device_name() in (tmp_path / "run" / "environment.json").read_text()
    assert (tmp_path / "run" / "edsr-confocal-sted-x2.safetensors").is_file()
