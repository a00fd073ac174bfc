"""Patches favour what is there to learn, do not forget the background, and never depend on what was drawn before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.data.sampling import PatchSampler, Place
from fluorsr.errors import InputError


def half_full(scale: int = 1) -> torch.Tensor:
    """Structure in the left quarter of a field of 128 x 256, nothing elsewhere."""
    target = torch.zeros(128 * scale, 256 * scale)
    target[:, : 64 * scale] = torch.rand(128 * scale, 64 * scale, generator=torch.Generator().manual_seed(0))
    return target


@pytest.mark.parametrize("scale", [1, 2])
def test_foreground_is_favoured_and_background_seen(scale: int) -> None:
    sampler = PatchSampler([half_full(scale)], scale, 32, seed=1)
    places = [sampler(i) for i in range(1000)]
    full = sum(place.x < 64 for place in places) / 1000
    assert full > 0.8  # a uniform draw would give 0.28
    assert 0.05 < sum(place.x > 64 for place in places) / 1000 < 0.25
    evenly = PatchSampler([half_full(scale)], scale, 32, 1, uniform=1.0)
    assert sum(evenly(i).x < 64 for i in range(1000)) < 350


@settings(max_examples=60, deadline=None)
@given(height=st.integers(8, 70), width=st.integers(8, 70), patch=st.integers(1, 8), seed=st.integers(0, 99))
def test_every_patch_lies_inside(height: int, width: int, patch: int, seed: int) -> None:
    target = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    sampler = PatchSampler([target], 1, patch, seed, uniform=0.1)
    for i in range(20):
        place = sampler(i)
        assert 0 <= place.y <= height - patch
        assert 0 <= place.x <= width - patch


def test_patch_i_is_always_the_same() -> None:
    fields = [half_full(), torch.rand(64, 64, generator=torch.Generator().manual_seed(1))]
    forwards = list(map(PatchSampler(fields, 1, 16, 5), range(30)))
    one = PatchSampler(fields, 1, 16, 5)
    assert [one(i) for i in reversed(range(30))][::-1] == forwards
    assert list(map(PatchSampler(fields, 1, 16, 6), range(30))) != forwards
    assert {place.field for place in forwards} == {0, 1}


def test_one_bright_spot_does_not_outweigh_the_rest() -> None:
    target = torch.rand(256, 256, generator=torch.Generator().manual_seed(0))
    target[100:103, 100:103] = 1e4
    sampler = PatchSampler([target], 1, 32, 0, uniform=0.0)
    near = sum(68 <= place.y <= 103 and 68 <= place.x <= 103 for place in map(sampler, range(500)))
    assert near < 100


def test_an_empty_field_and_a_field_of_one_patch() -> None:
    assert len(set(map(PatchSampler([torch.ones(64, 64)], 1, 16, 0), range(50)))) > 30
    assert PatchSampler([torch.rand(32, 32)], 1, 32, 0)(3) == Place(0, 0, 0)


def test_every_candidate_is_reached() -> None:
    sampler = PatchSampler([torch.rand(40, 40, generator=torch.Generator().manual_seed(0))], 1, 32, 0, uniform=0.0)
    places = [sampler(i) for i in range(2000)]
    assert {place.y for place in places} == set(range(9)) == {place.x for place in places}


def test_faults_are_told() -> None:
    with pytest.raises(InputError, match="patch 65 must fit field 0 of 64 x 80 input pixels"):
        PatchSampler([torch.zeros(128, 160)], 2, 65, 0)
    with pytest.raises(InputError, match="uniform 2 must be 0 to 1"):
        PatchSampler([torch.zeros(64, 64)], 1, 16, 0, uniform=2)
    with pytest.raises(InputError, match="no field to cut patches from"):
        PatchSampler([], 1, 16, 0)
    bad = torch.rand(64, 64)
    bad[10, 10] = float("nan")
    with pytest.raises(InputError, match="field 0 has pixels that are not finite"):
        PatchSampler([bad], 1, 16, 0)
