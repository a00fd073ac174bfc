"""Diffusion models through the pipeline: seeds, steps, samplers, and what several samples agree on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.errors import InputError
from fluorsr.models.noise import gaussian
from fluorsr.models.reach import measure_module
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.weights import save_weights
from fluorsr.normalize import fit
from fluorsr.pipeline.estimate import estimate
from fluorsr.pipeline.summary import Progress
from fluorsr.restorer import RestorerSpec

IMAGE = np.random.default_rng(1).integers(100, 900, (60, 70)).astype(np.uint16)
USUAL = {"device": "cpu", "precision": "fp32"}


def contents(store: Path) -> dict[str, str]:
    """Every file below a store, and the hash of its bytes."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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
    singles = [fluorsr.restore(IMAGE, model, seed=seed, dtype="float32", **USUAL).data for seed in (5, -6, 6)]
    found = fluorsr.restore(IMAGE, model, samples=3, seed=5, **USUAL)
    assert found.mean.data.dtype == np.uint16
    np.testing.assert_allclose(found.mean.data, np.clip(np.mean(singles, axis=0), 0, 65535), atol=0.51)
    assert found.deviation.data.dtype == np.float32
    np.testing.assert_allclose(found.deviation.data, np.std(singles, axis=0), rtol=1e-3, atol=1e-2)
    assert float(found.deviation.data.mean()) > 1
    assert found.mean.shape == found.deviation.shape == (120, 140)


class Drawn:
    """Samples odd * n + even * (n^2 - 1) of noise n: of mean 0 and variance odd^2 + 2 even^2, in every pixel."""

    spec = RestorerSpec("drawn", stochastic=True)

    def __init__(self, odd: float, even: float) -> None:
        self.odd, self.even = odd, even

    def restore(self, tiles: torch.Tensor, origin: torch.Tensor, seed: int) -> torch.Tensor:
        noise = gaussian(seed, 0, origin, *tiles.shape[2:])
        return self.odd * noise + self.even * (noise.square() - 1)


@pytest.mark.parametrize("samples", [2, 4, 5, 8])
@pytest.mark.parametrize(("odd", "even"), [(1.0, 0.0), (1.0, 0.3), (0.5, 0.5)])
def test_mirrored_samples_of_known_distribution(odd: float, even: float, samples: int) -> None:
    """Mean and variance in closed form; independent samples' mean has the error (odd^2 + 2 even^2) / samples."""
    image = np.linspace(0, 1, 200 * 200, dtype=np.float32).reshape(200, 200)
    scale = fit(fluorsr.Image(image, "yx"))
    found = fluorsr.restore(image, Drawn(odd, even), samples=samples, dtype="float32")
    mean = (found.mean.data - scale.low) / (scale.high - scale.low)
    variance = (found.deviation.data / (scale.high - scale.low)) ** 2
    left = (samples % 2) / samples**2  # of the odd part: the sample that has no mirror
    doubled = (2 * samples - samples % 2) / samples**2
    error = left * odd**2 + doubled * 2 * even**2
    assert float(np.square(mean).mean()) == pytest.approx(error, rel=0.06, abs=1e-9)
    expected = (1 - left) * odd**2 + (1 - doubled) * 2 * even**2
    assert float(variance.mean()) == pytest.approx(expected, rel=0.06)


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
    record = out / "fluorsr" / "zarr.json"  # as of a version whose levels were evenly spaced
    record.write_text(record.read_text().replace('"levels"', '"other"'))
    with pytest.raises(InputError, match=r"levels: was None, now 1\.7"):
        fluorsr.infer(source, out, resume=True, **options)


def test_samples_of_what_does_not_vary_are_refused(model) -> None:
    with pytest.raises(
        InputError, match="edsr-confocal-sted-x2 gives the same image for every seed; leave out samples"
    ):
        fluorsr.restore(IMAGE, samples=2, **USUAL)
    with pytest.raises(InputError, match="samples is 1; a deviation takes at least 2"):
        fluorsr.restore(IMAGE, model, samples=1, **USUAL)
    with pytest.raises(InputError, match="seed is -1; samples begin at a seed of 0 or more"):
        fluorsr.restore(IMAGE, model, samples=2, seed=-1, **USUAL)
    with pytest.raises(InputError, match="it restores in one step; leave out --steps and --sampler"):
        fluorsr.restore(IMAGE, steps=4, **USUAL)


@pytest.fixture(scope="module")
def plane(tmp_path_factory) -> Path:
    """[40, 270] uint16: five blocks of 128 output pixels, with level 1 beside level 0."""
    path = tmp_path_factory.mktemp("input") / "plane.zarr"
    zarr.save(str(path), np.random.default_rng(2).integers(100, 900, (40, 270)).astype(np.uint16))
    return path


DRAWN = {"samples": 2, "seed": 5, "tile": 112, "threads": 1, **USUAL}


def test_mean_and_deviation_are_two_images_whatever_the_block(model, plane, tmp_path) -> None:
    found = fluorsr.restore(fluorsr.open(plane), model, **DRAWN)
    for block in (128, 256):
        out = tmp_path / f"{block}.zarr"
        summary = fluorsr.infer(plane, out, model=model, block=block, **DRAWN)
        assert summary.samples == 2
        mean, deviation = fluorsr.open(out), fluorsr.open(out / "deviation")
        assert (mean.dtype, deviation.dtype, deviation.axes) == (np.uint16, np.float32, "yx")
        np.testing.assert_array_equal(mean.to_numpy(), found.mean.data)
        np.testing.assert_array_equal(deviation.to_numpy(), found.deviation.data)
        assert fluorsr.open(out / "deviation", level=1).size("x") == 270
        assert fluorsr.verify(out).complete


def test_interrupted_samples_are_resumed_and_damage_to_either_image_is_mended(model, plane, tmp_path) -> None:
    options = {"model": model, "block": 128, **DRAWN}
    fluorsr.infer(plane, tmp_path / "whole.zarr", **options)
    undisturbed = contents(tmp_path / "whole.zarr")

    def stop(at: Progress) -> None:
        if at.stage == "restore" and at.done >= 2:
            raise KeyboardInterrupt

    out = tmp_path / "out.zarr"
    with pytest.raises(KeyboardInterrupt):
        fluorsr.infer(plane, out, progress=stop, **options)
    with pytest.raises(InputError, match="samples: was 2, now 4"):
        fluorsr.infer(plane, out, resume=True, **{**options, "samples": 4})
    record = out / "fluorsr" / "zarr.json"
    text = record.read_text()
    record.write_text(text.replace('"mirrored"', '"other"'))  # as of a version that drew independent samples
    with pytest.raises(InputError, match="mirrored: was None, now True"):
        fluorsr.infer(plane, out, resume=True, **options)
    record.write_text(text)
    fluorsr.infer(plane, out, resume=True, **options)
    assert contents(out) == undisturbed
    for name in ("0/c/0/3", "deviation/0/c/0/4", "deviation/1/c/0/1"):
        (out / name).unlink()
        damage = fluorsr.verify(out)
        assert len(damage.faults) == 1
        assert damage.faults[0].startswith("the deviation: ") == name.startswith("deviation")
        assert fluorsr.verify(out, repair=True).complete
        assert contents(out) == undisturbed


def test_samples_need_a_place_for_two_images(model, plane, tmp_path) -> None:
    with pytest.raises(InputError, match="no place for the deviation of samples beside their mean; name an OME-Zarr"):
        fluorsr.infer(plane, tmp_path / "out.tif", model=model, samples=2)


def test_plan_counts_every_sample(model, plane) -> None:
    one, four = (estimate(plane, model=model, samples=n, calibration_s=0, **USUAL) for n in (None, 4))
    assert four.output_bytes_raw == 3 * one.output_bytes_raw  # uint16, and float32 beside it
    assert four.seconds[1] > 2 * one.seconds[1]
