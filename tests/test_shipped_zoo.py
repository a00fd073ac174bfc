"""The shipped confocal models beside each other: each does what it is for, on fields that none was trained on."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.data.simulate import SimulationConfig, simulate_pair
from fluorsr.evaluate.restore import restore_field
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.spectrum import power_kept
from fluorsr.models.load import load, load_module
from fluorsr.models.noise import seed_of
from fluorsr.models.reach import measure_module
from fluorsr.models.zoo_index import describe, find, zoo

CONFOCAL = [name for name in zoo() if "confocal" in name]
EDSR, SRGAN, SR3 = "edsr-confocal-sted-x2", "srgan-confocal-sted-x2", "sr3-confocal-sted-x2"
FILAMENTS = "edsr-confocal-sted-x2-filaments"
SEED = 2**32
NEW_BAND = (0.27, 0.62)
"""Of the output's Nyquist frequency: finer than a spot of 250 nm passes, up to what one of 110 nm does."""


@pytest.mark.parametrize("name", CONFOCAL)
def test_what_a_model_says_of_itself_is_whole_and_measured(name: str) -> None:
    card, text = describe(name), find(name).with_suffix(".md").read_text(encoding="utf-8")
    assert card.notes["recipe"]["name"] == card.spec.name == name
    assert card.notes["recipe"]["seed"] < 2**31 < SEED
    assert set(card.notes["heldout"]) >= {"microtubules in focus, bright", "microtubules, bright", "vesicles, dim"}
    assert find(name).with_suffix(".yaml").is_file()
    for word in ("## What for, and what not", "## Known failures", "fluorsr train", "microtubules, bright", "light"):
        assert word in text
    measured = dataclasses.asdict(measure_module(load_module(name)[0]))
    assert {key: getattr(card.spec, key) for key in measured} == measured
    assert find(name).stat().st_size < 10e6


@cache
def field(structure: str, photons: float) -> tuple[NDArray[np.uint16], Tensor]:
    flat = {"thickness": (0.0, 0.0), "focus_um": (0.0, 0.0), "haze": (0.0, 0.0)}
    fixed = {"size_px": 64, "pixel_size_um": (0.06, 0.06), "photons": (photons, photons)}
    made = simulate_pair(SimulationConfig.model_validate(flat | fixed), SEED, 300, structure)
    return made.degraded[0], torch.from_numpy(made.target)


@cache
def restored(name: str, structure: str, photons: float, seed: int = 0) -> Tensor:
    """By the bare network, as in training, for a sampling model's halo is wider than the field. Fitted to the truth."""
    pixels, truth = field(structure, photons)
    low, high = np.percentile(pixels, (0.1, 99.9))
    x = torch.from_numpy((pixels.astype(np.float32) - np.float32(low)) / np.float32(high - low))[None, None]
    network, spec = load_module(name)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        image = (network(x, seed=seed) if spec.stochastic else network(x))[0, 0].float()
    return fit_intensity(image, truth)


def decibels(image: Tensor, structure: str, photons: float) -> float:
    truth = field(structure, photons)[1]
    return float(psnr(fit_intensity(image, truth), truth, data_range=float(truth.max() - truth.min())))


@pytest.mark.parametrize(("name", "times"), [(SRGAN, 2.0), (SR3, 1.3)])
def test_texture_is_what_the_others_are_for(name: str, times: float) -> None:
    """In dim images EDSR smooths away what it cannot know. The others keep more fine power, nearer to the truth's."""
    kept: dict[str, list[float]] = {EDSR: [], name: []}
    for structure in ("microtubules", "actin", "mitochondria"):
        truth = field(structure, 30.0)[1]
        for each, found in kept.items():
            found.append(float(power_kept(restored(each, structure, 30.0), truth, bands=NEW_BAND)[0]))
        loss = [decibels(restored(each, structure, 30.0), structure, 30.0) for each in (EDSR, name)]
        assert -0.3 < loss[0] - loss[1] < 2.5
    fine = {each: float(np.median(found)) for each, found in kept.items()}
    assert fine[name] > times * fine[EDSR]
    assert abs(np.log(fine[name])) < abs(np.log(fine[EDSR]))


def test_the_mean_of_samples_is_nearly_as_good_as_a_regression() -> None:
    for photons in (400.0, 30.0):
        samples = torch.stack([restored(SR3, "microtubules", photons, seed_of(0, n)) for n in range(8)])
        mean, one = (decibels(image, "microtubules", photons) for image in (samples.mean(0), samples[0]))
        assert mean > one
        assert mean > decibels(restored(EDSR, "microtubules", photons), "microtubules", photons) - 0.5


def test_mirrored_samples_deviate_as_independent_ones_and_their_mean_is_better() -> None:
    mirrored, independent = (
        torch.stack([restored(SR3, "microtubules", 400.0, seed) for seed in seeds])
        for seeds in ([seed_of(0, n) for n in range(8)], range(8))
    )
    assert float(mirrored.var(0, correction=0).mean()) == pytest.approx(float(independent.var(0).mean()), rel=0.15)
    better, mean = (decibels(samples.mean(0), "microtubules", 400.0) for samples in (mirrored, independent))
    assert better > mean + 0.2


TILT = 0.17


def lines(gap_um: float, photons: float = 400.0) -> NDArray[np.uint16]:
    """Two lines (or one, without a gap) as a spot of 250 nm shows them, on pixels of 60 nm, at a slant."""
    place = (np.arange(96) - 47.5) * 0.06
    across = place * np.cos(TILT) + place[:, None] * np.sin(TILT)
    light = sum(np.exp(-4 * np.log(2) * ((across - at) / 0.25) ** 2) for at in {-gap_um / 2, gap_um / 2})
    return (100 + np.random.default_rng(1).poisson(photons * light / light.max() + 2)).astype(np.uint16)


def peaks(image: NDArray[np.floating], pixel_um: float) -> list[float]:
    """Where light across the lines peaks, in um, of the middle of an image: the mean along them, in bins of 15 nm."""
    place = (np.arange(len(image)) - (len(image) - 1) / 2) * pixel_um
    across = place * np.cos(TILT) + place[:, None] * np.sin(TILT)
    middle = np.broadcast_to((np.abs(place) < 1.2)[:, None], image.shape)
    bins = np.arange(-20, 21)
    profile = np.array([image[middle & (np.round(across / 0.015) == k)].mean() for k in bins]) - np.median(image)
    high = [
        k for k in range(1, 40) if profile[k - 1] < profile[k] > profile[k + 1] and profile[k] > 0.5 * profile.max()
    ]
    return [0.015 * float(bins[k]) for k in high]


@pytest.mark.parametrize(("name", "gap_um"), [(EDSR, 0.2), (FILAMENTS, 0.2), (FILAMENTS, 0.15)])
def test_two_lines_come_apart_and_one_stays_one(name: str, gap_um: float) -> None:
    """150 nm apart the input shows one line, and so does the model for all structures: its card says so."""
    edsr = load(name, precision="fp32")
    assert len(peaks(lines(0.0).astype(float), 0.06)) == len(peaks(lines(0.15).astype(float), 0.06)) == 1
    two = peaks(restore_field(edsr, lines(gap_um)).numpy(), 0.03)
    assert len(two) == 2
    assert two[1] - two[0] == pytest.approx(gap_um, abs=0.03)
    assert len(peaks(restore_field(edsr, lines(0.0)).numpy(), 0.03)) == 1
