"""The mean over the eight symmetries: of what it is the mean, exact in tiles, and refused where it means nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.models.symmetries import TURNS, Symmetries
from fluorsr.normalize import Normalization
from fluorsr.predict import restore_region, tile_pool
from fluorsr.restorer import RestorerSpec
from fluorsr.tiling.grid import Grid

Make = Callable[..., Any]
NOWHERE = torch.zeros(1, 2, dtype=torch.int64)


@pytest.mark.parametrize("scale", [1, 2])
def test_it_is_the_mean_of_eight_answers_turned_back(integer_restorer: Make, scale: int) -> None:
    inside = integer_restorer(scale=scale)
    tile = np.random.default_rng(0).integers(0, 9, (24, 40)).astype(np.float32)  # not square
    found = Symmetries(inside).restore(torch.from_numpy(tile)[None, None], NOWHERE, 0)[0, 0].numpy()
    answers = []
    for turns, mirror in TURNS:  # the same by numpy
        given = np.rot90(np.fliplr(tile) if mirror else tile, turns)
        answer = inside.restore(torch.from_numpy(given.copy())[None, None], NOWHERE, 0)[0, 0].numpy()
        back = np.rot90(answer, -turns)
        answers.append(np.fliplr(back) if mirror else back)
    assert len({answer.tobytes() for answer in answers}) == 8  # the kernel has no symmetry of its own
    np.testing.assert_array_equal(found, np.mean(answers, axis=0))


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_that_are_not_square_give_the_whole_image(integer_restorer: Make, scale: int, multiple: int) -> None:
    restorer = Symmetries(integer_restorer(scale=scale, radius=2, multiple=multiple))
    halo = restorer.spec.halo
    pixels = np.random.default_rng(1).integers(0, 9, (96, 64)).astype(np.uint16)
    padded = np.pad(pixels, halo, mode="reflect").astype(np.float32)
    whole = restorer.restore(torch.from_numpy(padded)[None, None], NOWHERE, 0)[0, 0].numpy()
    whole = whole[halo * scale : -halo * scale, halo * scale : -halo * scale]
    tile = (24 + 2 * halo, 40 + 2 * halo)
    grid = Grid((1, 96, 64), (1, *tile), (0, halo, halo), (0, 0, 0), (1, multiple, multiple), (1, scale, scale))
    one = Normalization(0.0, 1.0)
    with tile_pool(1) as pool:
        for side in (32, 96):
            for y in range(0, 96, side):
                rows = (y, y + side)
                part = restore_region(Image(pixels, "yx"), [PlaneIndex()], rows, (0, 64), restorer, grid, one, pool)
                np.testing.assert_array_equal(part.pixels, whole[y * scale : (y + side) * scale])


def test_a_shipped_model_has_it_by_an_option_and_the_record_says_so(tmp_path) -> None:
    pixels = np.random.default_rng(0).poisson(50, (60, 70)).astype(np.uint16)
    usual = {"model": "edsr-confocal-sted-x2", "device": "cpu", "precision": "fp32", "tile": 136, "dtype": "float32"}
    found = fluorsr.restore(pixels, tta=True, **usual).data
    turned = fluorsr.restore(np.rot90(pixels).copy(), tta=True, **usual).data
    plain = fluorsr.restore(pixels, **usual).data
    assert np.abs(np.rot90(turned, -1) - found).max() < 1e-3 * np.ptp(plain)  # it turns with the image
    assert np.abs(np.rot90(fluorsr.restore(np.rot90(pixels).copy(), **usual).data, -1) - plain).max() > 1

    zarr.save(str(tmp_path / "in.zarr"), pixels)
    fluorsr.infer(tmp_path / "in.zarr", tmp_path / "out.zarr", tta=True, **usual)
    np.testing.assert_array_equal(fluorsr.open(tmp_path / "out.zarr").to_numpy(), found)
    with pytest.raises(InputError, match="tta: was True, now None"):
        fluorsr.infer(tmp_path / "in.zarr", tmp_path / "out.zarr", resume=True, **usual)


class _Of:
    def __init__(self, **spec: Any) -> None:
        self.spec = RestorerSpec("model", **spec)


def test_raw_frames_and_samples_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"model takes 15 raw frames, whose stripes turn with the image .* leave out tta"
    ):
        Symmetries(_Of(frames=15))
    with pytest.raises(InputError, match="model draws samples: their mean is had with samples; leave out tta"):
        Symmetries(_Of(stochastic=True))
