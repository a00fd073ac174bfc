"""Shifts put in exactly (by moving a drawn specimen) come out again; unrelated fields are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fluorsr.data.registration import Shift, correct_shift, fourier_shift, measure_shift
from fluorsr.errors import InputError


def spots(shape: tuple[int, int], sigma: float, move: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> Tensor:
    """Sum of Gaussian spots whose centres, in pixels, are moved exactly: the closed form, no resampling."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    image = np.zeros(shape)
    for cy, cx, light in zip(
        rng.uniform(-30, shape[0] + 30, 150),
        rng.uniform(-30, shape[1] + 30, 150),
        rng.uniform(0.5, 1.5, 150),
        strict=True,
    ):
        image += light * np.exp(-((y - cy - move[0]) ** 2 + (x - cx - move[1]) ** 2) / (2 * sigma**2))
    return torch.from_numpy(image)


def noisy(image: Tensor, photons: float, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(image * photons + 2, generator=generator) + torch.randn(image.shape, generator=generator)


@pytest.mark.parametrize("move", [(0.0, 0.0), (0.37, -0.81), (-3.25, 5.6), (20.0, 0.0), (-17.4, -12.9)])
def test_known_shifts_between_a_blurred_noisy_image_and_a_sharp_one(move: tuple[float, float]) -> None:
    shift = measure_shift(noisy(spots((128, 160), 2.4), 50), spots((128, 160), 1.2, move))
    assert math.hypot(shift.y - move[0], shift.x - move[1]) < 0.12
    assert shift.related
    assert shift.agreement > 0.8


def test_without_noise_the_shift_is_right_to_a_fiftieth_of_a_pixel() -> None:
    shift = measure_shift(spots((128, 128), 1.5), spots((128, 128), 1.5, (0.43, -1.17)))
    assert math.hypot(shift.y - 0.43, shift.x + 1.17) < 0.02


def test_the_error_is_what_repetition_shows() -> None:
    sharp = spots((96, 96), 1.2, (0.3, 0.3))
    blurred = spots((96, 96), 2.4)
    found = [measure_shift(noisy(blurred, 5, seed), sharp) for seed in range(12)]
    off = np.sqrt(np.mean([(s.y - 0.3) ** 2 + (s.x - 0.3) ** 2 for s in found]) / 2)
    claimed = np.median([s.error for s in found])
    assert 0.4 * claimed < off < 2 * claimed


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_fields_do_not_correlate(seed: int) -> None:
    assert not measure_shift(noisy(spots((128, 128), 2.4), 100), spots((128, 128), 1.2, seed=seed + 10)).related


def test_noise_and_flat_images_are_related_to_nothing() -> None:
    noise = noisy(torch.zeros(64, 64), 1)
    assert not measure_shift(noise, noisy(torch.zeros(64, 64), 1, 2)).related
    assert not measure_shift(noise, torch.ones(64, 64)).related


def test_uneven_light_alone_does_not_make_a_pair() -> None:
    light = 1 + torch.outer(torch.hann_window(128), torch.hann_window(128)).double()
    first, second = (noisy(spots((128, 128), 2.0, seed=seed) * light, 100, seed) for seed in (30, 31))
    assert not measure_shift(first, second).related


def test_a_fourier_shift_moves_a_band_limited_image_exactly() -> None:
    y, x = torch.arange(60.0).double()[:, None], torch.arange(50.0).double()[None, :]

    def spot(cy: float, cx: float) -> Tensor:
        return torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8)

    moved = fourier_shift(spot(30, 24), (0.3, -0.7))
    torch.testing.assert_close(moved.double(), spot(30.3, 23.3), atol=1e-6, rtol=0)


def test_a_fourier_shift_ripples_little_where_the_edge_cuts_structures() -> None:
    moved = fourier_shift(spots((120, 100), 2.0), (0.3, -0.7))
    wanted = spots((120, 100), 2.0, (0.3, -0.7))
    assert (moved - wanted)[4:-4, 4:-4].abs().max() < 0.02 * wanted.max()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("move", [(0.0, 0.0), (3.0, -2.0), (0.4, -0.3), (-4.6, 7.25)])
def test_a_corrected_pair_lies_on_itself(move: tuple[float, float], scale: int) -> None:
    shape = (96, 80)
    pixels = spots(shape, 2.0).float()
    large = (shape[0] * scale, shape[1] * scale)
    target, wanted = (spots(large, 2.0, (scale * y, scale * x)).float() for y, x in (move, (0.0, 0.0)))
    shift = Shift(*move, 0.05, 1.0, 10.0)
    frames, corrected = correct_shift(torch.stack([pixels, 2 * pixels]), target, shift, scale)
    assert tuple(corrected.shape) == tuple(scale * n for n in frames.shape[-2:])
    # The input is cropped, never resampled: find the crop, and compare the target's with what was there before.
    height, width = frames.shape[-2:]
    y, x = next(
        (y, x)
        for y in range(shape[0] - height + 1)
        for x in range(shape[1] - width + 1)
        if torch.equal(pixels[y : y + height, x : x + width], frames[0])
    )
    assert torch.equal(frames[1], 2 * frames[0])
    if scale == 1:
        same = wanted[y : y + height, x : x + width]
        assert (corrected - same)[4:-4, 4:-4].abs().max() < 0.02 * wanted.max()
    if all(float(part).is_integer() for part in move):
        assert torch.equal(
            corrected,
            target[scale * (y + int(move[0])) :, scale * (x + int(move[1])) :][: scale * height, : scale * width],
        )


@settings(max_examples=25, deadline=None)
@given(y=st.floats(-20, 20), x=st.floats(-20, 20), scale=st.sampled_from([1, 2, 4]))
def test_a_corrected_pair_keeps_its_scale_and_all_but_the_shift(y: float, x: float, scale: int) -> None:
    pixels, target = correct_shift(
        torch.zeros(1, 80, 96), torch.zeros(80 * scale, 96 * scale), Shift(y, x, 0.1, 1, 9), scale
    )
    height, width = pixels.shape[-2:]
    assert target.shape == (height * scale, width * scale)
    assert 80 - abs(y) - 3 <= height <= 80
    assert 96 - abs(x) - 3 <= width <= 96


def test_faulty_arguments_are_told() -> None:
    with pytest.raises(InputError, match=r"one shape, not \(64, 64\) and \(64, 65\)"):
        measure_shift(torch.zeros(64, 64), torch.zeros(64, 65))
    with pytest.raises(InputError, match="20 x 64 pixels is too small: it needs 32"):
        measure_shift(torch.zeros(20, 64), torch.zeros(20, 64))
    with pytest.raises(InputError, match="leaves less than half"):
        correct_shift(torch.zeros(1, 64, 64), torch.zeros(64, 64), Shift(40.0, 0.0, 0.1, 1, 9), 1)
    with pytest.raises(InputError, match="is not 2 times an input"):
        correct_shift(torch.zeros(1, 64, 64), torch.zeros(64, 64), Shift(0.0, 0.0, 0.1, 1, 9), 2)
