"""Diffusion models through the pipeline: seeds, steps, samplers, and what several samples agree on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.errors import InputError
from fluorsr.models.reach import measure_module
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec

IMAGE = np.random.default_rng(1).integers(100, 900, (60, 70)).astype(np.uint16)
USUAL = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.manual_seed(0)
    network = SR3(SR3Config(width=8, multipliers=(1, 2), predicts="v", steps=2)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.normal_(0, 0.05)
    path = tmp_path_factory.mktemp("models") / "sr3.safetensors"
    spec = RestorerSpec("sr3", **vars(measure_module(network)))
    save_weights(path, network, architecture="sr3", config=network.config.model_dump(mode="json"), spec=spec, notes={})
    return str(path)


def test_samples_give_their_mean_and_deviation(model) -> None:
    singles = [fluorsr.restore(IMAGE, model, seed=5 + n, dtype="float32", **USUAL).data for n in range(3)]
    found = fluorsr.restore(IMAGE, model, samples=3, seed=5, **USUAL)
    assert found.mean.data.dtype == np.uint16
    np.testing.assert_allclose(found.mean.data, np.clip(np.mean(singles, axis=0), 0, 65535), atol=0.51)
    assert found.deviation.data.dtype == np.float32
    np.testing.assert_allclose(found.deviation.data, np.std(singles, axis=0, ddof=1), rtol=1e-3, atol=1e-2)
    assert float(found.deviation.data.mean()) > 1
    assert found.mean.shape == found.deviation.shape == (120, 140)


def test_a_sample_does_not_depend_on_its_tiles(model) -> None:
    whole = fluorsr.restore(IMAGE, model, dtype="float32", **USUAL).data
    tiled = fluorsr.restore(IMAGE, model, dtype="float32", tile=2 * 24 + 16, batch=3, **USUAL).data
    np.testing.assert_allclose(tiled, whole, atol=1e-3 * np.ptp(whole))
    other = fluorsr.restore(IMAGE, model, dtype="float32", seed=1, **USUAL).data
    assert np.abs(other - whole).mean() > 100 * np.abs(tiled - whole).mean()


def test_out_of_core_is_in_memory_and_the_record_knows_the_steps(model, tmp_path) -> None:
    source, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    zarr.save(str(source), IMAGE)
    options = {"model": model, "steps": 3, "sampler": "ddpm", "seed": 7, **USUAL}
    fluorsr.infer(source, out, threads=1, **options)
    expected = fluorsr.restore(IMAGE, steps=3, sampler="ddpm", seed=7, model=model, **USUAL).data
    np.testing.assert_array_equal(fluorsr.open(out).data[...], expected)
    with pytest.raises(fluorsr.FluorsrError, match=r"(?s)steps.*3.*4"):
        fluorsr.infer(source, out, resume=True, **{**options, "steps": 4})


def test_samples_of_what_does_not_vary_are_refused(model) -> None:
    with pytest.raises(
        InputError, match="edsr-confocal-sted-x2 gives the same image for every seed; leave out samples"
    ):
        fluorsr.restore(IMAGE, samples=2, **USUAL)
    with pytest.raises(InputError, match="samples is 1; a deviation takes at least 2"):
        fluorsr.restore(IMAGE, model, samples=1, **USUAL)
    with pytest.raises(InputError, match="it restores in one step; leave out --steps and --sampler"):
        fluorsr.restore(IMAGE, steps=4, **USUAL)
