"""Batches from real pairs: patches of one place, normalised as the whole field, the same for the same seed and step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from fluorsr.data.augment import Augmentation, SimFrames
from fluorsr.data.pair_patches import PairPatches
from fluorsr.data.pairs import PairSet, open_pairs
from fluorsr.errors import InputError


@pytest.fixture
def pairs(tmp_path: Path) -> PairSet:
    """Two fields of 6 frames; frame f is the target's 2 x 2 mean, 10 times as bright, on 100 (f + 1) counts."""
    for i in range(2):
        target = np.random.default_rng(i).integers(0, 500, (128, 160)).astype(np.uint16)
        mean = target.reshape(64, 2, 80, 2).mean((1, 3))
        frames = np.stack([10 * mean + 100 * (f + 1) for f in range(6)]).astype(np.float32)
        for side, array in (("input", frames), ("target", target)):
            (tmp_path / side).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / side / f"{i}.tif", array)
    return open_pairs(tmp_path)


def test_shapes_and_repeatability(pairs: PairSet) -> None:
    patches = PairPatches(pairs, batch=3, patch=16, seed=5, augmentation=Augmentation(gain=0.1, offset=0.1, noise=0.1))
    later, first = patches(7), patches(0)
    assert [tuple(t.shape) for t in first] == [(3, 6, 16, 16), (3, 1, 32, 32)]
    again = PairPatches(pairs, batch=3, patch=16, seed=5, augmentation=Augmentation(gain=0.1, offset=0.1, noise=0.1))
    for a, b in zip((*first, *later), (*again(0), *again(7)), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], later[0])
    assert not torch.equal(first[0], PairPatches(pairs, 3, 16, 6)(0)[0])


def test_input_and_target_are_of_one_place_in_every_orientation(pairs: PairSet) -> None:
    """The mean of four target pixels is the input pixel, up to the two windows: correlation exactly 1."""
    patches = PairPatches(pairs, batch=24, patch=16, seed=1)
    pixels, target = patches(0)
    reduced = torch.nn.functional.avg_pool2d(target, 2)
    for one, other in zip(pixels[:, 0], reduced[:, 0], strict=True):
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] == pytest.approx(1, abs=1e-4)


def test_the_window_is_the_whole_fields(pairs: PairSet) -> None:
    pixels, _ = PairPatches(pairs, batch=40, patch=64, seed=1, percentiles=(0.0, 100.0), uniform=1.0)(0)
    assert 0 <= float(pixels.min()) < 0.1
    assert 0.9 < float(pixels.max()) <= 1


def test_the_target_is_as_bright_as_its_input(pairs: PairSet) -> None:
    """Its mean of four pixels is the input but for counts, so the least squares fit is exact: frames have one range."""
    pixels, target = PairPatches(pairs, batch=8, patch=16, seed=1, percentiles=(0.0, 100.0))(0)
    reduced = torch.nn.functional.avg_pool2d(target, 2)
    torch.testing.assert_close(reduced, pixels.mean(1, keepdim=True), rtol=0, atol=1e-3)


def test_haze_and_empty_fields_leave_the_target_a_range(tmp_path: Path) -> None:
    """Blocks that run against each other, as those of haze may, and a target without anything."""
    ramp = np.linspace(0, 1000, 64)[None].repeat(64, 0)
    for name, target in (("against", ramp[:, ::-1]), ("empty", np.full((64, 64), 7.0))):
        for side, array in (("input", ramp), ("target", target)):
            (tmp_path / name / side).mkdir(parents=True)
            tifffile.imwrite(tmp_path / name / side / "a.tif", array.astype(np.float32))
        _, made = PairPatches(open_pairs(tmp_path / name), 1, 64, 1, percentiles=(0.0, 100.0))(0)
        expected = 0.2 if name == "against" else 0.0
        assert float(made.max() - made.min()) == pytest.approx(expected, abs=0.01)


def test_fields_in_memory_and_on_disk_give_the_same_batches(pairs: PairSet) -> None:
    one = sum(tensor.nbytes for tensor in pairs.pairs[0].read())
    for room in (0, one):
        for a, b in zip(
            PairPatches(pairs, 4, 16, 5, memory_bytes=room)(3), PairPatches(pairs, 4, 16, 5)(3), strict=True
        ):
            assert torch.equal(a, b)


def test_processes_together_have_one_larger_batch(pairs: PairSet) -> None:
    whole = PairPatches(pairs, 4, 16, 5)(3)
    parts = [PairPatches(pairs, 2, 16, 5, share=(place, 2))(3) for place in (0, 1)]
    for number, tensor in enumerate(whole):
        assert torch.equal(tensor, torch.cat([part[number] for part in parts]))


def test_faults_are_told(pairs: PairSet) -> None:
    with pytest.raises(InputError, match="have 6 frames, the order of their angles describes 15"):
        PairPatches(pairs, 1, 16, 0, augmentation=Augmentation(SimFrames((0.0, 60.0, 120.0), 5)))
    with pytest.raises(InputError, match="patch 65 must fit field 0 of 64 x 80"):
        PairPatches(pairs, 1, 65, 0)
    with pytest.raises(InputError, match="batch 0"):
        PairPatches(pairs, 0, 16, 0)
    assert PairPatches(pairs, 1, 16, 0, augmentation=Augmentation(SimFrames((0.0, 90.0), 3)))(0)[0].shape[1] == 6
