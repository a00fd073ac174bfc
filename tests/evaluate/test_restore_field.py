"""One image restored, brought to the truth's pixels, and scored."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.evaluate.cost import measured
from fluorsr.evaluate.restore import light_kept, on_grid, restore_field, score
from fluorsr.restorer import RestorerSpec


class Summed:
    """The mean of three frames, pixels repeated; sizes must be multiples of 8."""

    spec = RestorerSpec(name="summed", frames=3, scale=2, halo=8, multiple=8)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        assert tiles.shape[-1] % 8 == tiles.shape[-2] % 8 == 0
        return tiles.mean(1, keepdim=True).repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_raw_frames_are_restored_in_their_own_counts_whatever_the_multiple() -> None:
    frames = np.random.default_rng(1).integers(100, 900, (3, 21, 30)).astype(np.uint16)
    restored = restore_field(Summed(), frames)
    np.testing.assert_allclose(restored.numpy(), frames.mean(0).repeat(2, 0).repeat(2, 1), rtol=1e-5)


def test_a_method_of_one_frame_gets_the_mean_of_the_frames(integer_restorer: type) -> None:
    frames = np.random.default_rng(1).integers(100, 900, (3, 24, 24)).astype(np.uint16)
    own = restore_field(integer_restorer(), frames)
    mean = restore_field(integer_restorer(), frames.mean(0).astype(np.float32))
    np.testing.assert_array_equal(own.numpy(), mean.numpy())


def test_finer_pixels_are_averaged_and_coarser_refused() -> None:
    fine = torch.arange(16.0).reshape(4, 4)
    assert on_grid(fine, (4, 4)) is fine
    assert on_grid(fine, (2, 2)).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    with pytest.raises(InputError, match=r"restored \(4, 4\) cannot be brought to the truth's \(8, 8\)"):
        on_grid(fine, (8, 8))


def test_light_is_counted_above_the_background() -> None:
    degraded = np.array([[100, 100], [100, 500]], np.uint16)
    assert light_kept(torch.from_numpy(degraded.astype("float32")), degraded) == pytest.approx(1)
    assert light_kept(torch.tensor([[100.0, 100], [100, 900]]), degraded) == pytest.approx(2)
    assert np.isnan(light_kept(torch.zeros(2, 2), np.zeros((2, 2), np.uint16)))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"one shape .* not \(4, 4\) and \(8, 8\)"):
        score(torch.zeros(4, 4), torch.zeros(8, 8), 0.03)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of memory")
def test_peak_memory_is_that_of_the_call() -> None:
    def use(mib: int) -> int:
        return int(np.ones(mib * 2**17).sum())

    for mib in (64, 8):
        _, cost = measured(lambda mib=mib: use(mib))
        assert cost.memory_mib == pytest.approx(mib, abs=4)
        assert cost.seconds > 0
