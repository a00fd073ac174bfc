"""A turned pair is the pair turned; a turned SIM recording is one that the same microscope could have made."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.data.augment import ORIENTATIONS, AnySimFrames, Augmentation, Orientation, SimFrames
from fluorsr.errors import InputError

SIDE = 48


def patterns(angles_deg: tuple[float, ...], phases: int, offsets: list[float]) -> Tensor:
    """The illumination alone, [angles * phases, SIDE, SIDE] float64: written down from its formula."""
    y, x = (torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2).reshape(-1, 1), None
    x = y.T
    frames = []
    for angle, offset in zip(angles_deg, offsets, strict=True):
        along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
        frames += [torch.cos(2 * math.pi * (along / 7.3 + p / phases) + offset) for p in range(phases)]
    return torch.stack(frames)


def offset_of(frame: Tensor, angle_deg: float) -> tuple[float, float]:
    """Phase offset of a pattern of known direction, and what is left of it after the fit (0 where it fits)."""
    one = patterns((angle_deg,), 4, [0.0])
    design = torch.stack([one[0].flatten(), one[3].flatten()], 1)  # cosine, and cosine a quarter earlier: sine
    fit = torch.linalg.lstsq(design, frame.flatten()[:, None]).solution
    rest = frame.flatten() - (design @ fit)[:, 0]
    return math.atan2(-float(fit[1]), float(fit[0])), float(rest.abs().max())


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_turned_pair_is_the_pair_turned(orientation: Orientation, scale: int) -> None:
    """Where the target is the input, each pixel repeated, it still is afterwards, bit for bit."""
    pixels = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(0))
    target = pixels[0].repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    turned, reference = Augmentation().orient(pixels, target, orientation)
    assert torch.equal(reference, turned[0].repeat_interleave(scale, 0).repeat_interleave(scale, 1))
    assert torch.equal(turned[1], orientation.apply(pixels[1]))


def test_the_eight_orientations_differ_and_move_directions_as_they_move_pixels() -> None:
    image = torch.zeros(9, 9)
    image[4, 4], image[4, 7], image[6, 4] = 1, 2, 3  # centre; 3 to the right (x); 2 down (y)
    seen = set()
    for orientation in ORIENTATIONS:
        turned = orientation.apply(image)
        seen.add(tuple(turned.flatten().tolist()))
        for value, vector in ((2, (3, 0)), (3, (0, 2))):
            row, column = (int(v) for v in torch.nonzero(turned == value)[0])
            assert orientation.map_vector(*vector) == (column - 4, row - 4)
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("angles", "valid"),
    [
        ((0.0, 60.0, 120.0), 4),
        ((10.0, 70.0, 130.0), 2),
        ((0.0, 90.0), 8),
        ((20.0, 110.0), 4),
        ((45.0,), 4),
        ((13.0,), 2),
    ],
)
@pytest.mark.parametrize("phases", [3, 5])
def test_valid_orientations_keep_every_frame_in_its_place(angles: tuple[float, ...], valid: int, phases: int) -> None:
    """Frame (a, p) must again be a pattern at angle a whose phase steps by 2 pi / P from p to p + 1."""
    frames = SimFrames(angles, phases)
    assert len(frames.orders) == valid
    pixels = patterns(angles, phases, [0.3 + i for i in range(len(angles))])
    for orientation, order in frames.orders.items():
        assert sorted(order) == list(range(frames.count))
        turned, _ = Augmentation(frames).orient(pixels, pixels[0], orientation)
        for a, angle in enumerate(angles):
            found = [offset_of(turned[a * phases + p], angle) for p in range(phases)]
            assert max(rest for _, rest in found) < 1e-9
            for p in range(phases):
                step = (found[p][0] - found[0][0] - 2 * math.pi * p / phases + math.pi) % (2 * math.pi) - math.pi
                assert abs(step) < 1e-9


def test_orientations_that_would_lie_about_the_angles_are_refused() -> None:
    frames = SimFrames((10.0, 70.0, 130.0), 5)
    assert set(frames.orders) == {Orientation(), Orientation(2)}
    assert frames.orders[Orientation()] == tuple(range(15))
    assert frames.orders[Orientation(2)][:5] == (0, 4, 3, 2, 1)
    with pytest.raises(InputError, match=r"use one of Augmentation\.orientations"):
        Augmentation(frames).orient(torch.zeros(15, 8, 8), torch.zeros(8, 8), Orientation(1))
    with pytest.raises(InputError, match="has 9 frames, its order describes 15"):
        Augmentation(frames).orient(torch.zeros(9, 8, 8), torch.zeros(8, 8), Orientation())


@pytest.mark.parametrize("phases", [1, 3, 5])
def test_frames_of_any_microscope_keep_each_directions_frames_together_in_even_steps(phases: int) -> None:
    rng, frames = np.random.default_rng(2), AnySimFrames(3, phases)
    senses, directions = set(), set()
    for _ in range(64):
        order = np.array(frames.draw(rng)).reshape(3, phases)
        assert sorted(order.ravel()) == list(range(3 * phases))
        assert all(len(set(row // phases)) == 1 for row in order)
        steps = {tuple(np.diff(row) % phases) for row in order}
        assert all(len(set(step)) < 2 and set(step) <= {1, phases - 1} for step in steps)
        senses |= {step[:1] for step in steps}
        directions.add(tuple(order[:, 0] // phases))
    assert len(directions) == 6
    assert len(senses) == (1 if phases == 1 else 2)


def test_of_any_microscope_every_orientation_is_one_and_every_frame_has_its_light() -> None:
    pixels = torch.ones(15, 8, 8)
    augment = Augmentation(AnySimFrames(3, 5), flicker=0.05)
    assert augment.orientations == ORIENTATIONS
    lit, target = augment(pixels, pixels[:1], np.random.default_rng(1))
    assert torch.equal(target, pixels[:1])
    assert torch.equal(lit, lit[:, :1, :1].expand_as(lit))
    assert 0.02 < float(lit[:, 0, 0].std()) < 0.1
    with pytest.raises(InputError, match="has 9 frames, its order describes 15"):
        augment(pixels[:9], pixels[:1], np.random.default_rng(1))


def test_gain_and_offset_are_shared_and_noise_is_the_inputs_own() -> None:
    pixels = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    augment = Augmentation(gain=0.3, offset=0.2)
    for seed in range(5):
        turned, target = augment(pixels, pixels[0], np.random.default_rng(seed))
        assert torch.equal(turned[0], target)
    assert not torch.equal(target.sort().values, pixels[0].sort().values)
    turned, target = Augmentation(noise=0.1)(pixels, pixels[0], np.random.default_rng(1))
    spread = float((turned[0] - target).std())
    assert 0 < spread <= 0.11
    assert torch.equal(target.flatten().sort().values, pixels.flatten().sort().values)


def test_the_same_generator_gives_the_same_patch() -> None:
    pixels = torch.rand(15, 16, 16, generator=torch.Generator().manual_seed(0))
    augment = Augmentation(SimFrames((0.0, 60.0, 120.0), 5), gain=0.1, offset=0.1, noise=0.1)
    first, second = (augment(pixels, pixels[0], np.random.default_rng(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_faulty_settings_are_told() -> None:
    with pytest.raises(InputError, match="must be at least 0"):
        Augmentation(noise=-0.1)
    with pytest.raises(InputError, match="too near to be told apart"):
        SimFrames((1.0, 179.0), 3)
    with pytest.raises(InputError, match="need an angle and a phase"):
        SimFrames((), 3)
