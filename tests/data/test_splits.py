"""Splits keep fields of view whole, add up, and depend on nothing but the seed and the names."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluorsr.data.pairs import Pair, PairSet
from fluorsr.data.splits import FRACTIONS, split_fields, split_pairs
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex

names = st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=60, unique=True)


@given(names=names, seed=st.integers(0, 2**40), data=st.data())
def test_counts_add_up_and_order_does_not_matter(names: list[str], seed: int, data: st.DataObject) -> None:
    splits = split_fields(names, seed)
    assert set(splits) == set(names)
    counts = Counter(splits.values())
    for split, fraction in FRACTIONS.items():
        assert counts[split] >= 1
        assert abs(counts[split] - fraction * len(names)) < 2
    assert split_fields(data.draw(st.permutations(names)), seed) == splits
    assert split_fields([*names, *names], seed) == splits


@given(names=names, seed=st.integers(0, 1000))
def test_a_new_field_moves_few_others(names: list[str], seed: int) -> None:
    before = split_fields(names[1:], seed, {"train": 0.5, "test": 0.5})
    after = split_fields(names, seed, {"train": 0.5, "test": 0.5})
    assert sum(before[name] != after[name] for name in names[1:]) <= 1


def test_another_seed_gives_another_split() -> None:
    fields = [f"cell{i}" for i in range(55)]
    assert len({tuple(sorted(split_fields(fields, seed).items())) for seed in range(10)}) == 10
    assert Counter(split_fields(fields, 0).values()) == {"train": 44, "val": 6, "test": 5} or Counter(
        split_fields(fields, 0).values()
    ) == {"train": 44, "val": 5, "test": 6}


def test_the_split_is_the_same_on_every_machine() -> None:
    """Hashes of blake2b, so this list never changes; a change would mix training and test data of earlier runs."""
    fields = [f"cell{i}" for i in range(10)]
    test = [
        name for name, split in sorted(split_fields(fields, 7, {"train": 0.7, "test": 0.3}).items()) if split == "test"
    ]
    assert test == ["cell3", "cell5", "cell7"]


def test_planes_of_one_field_stay_together() -> None:
    image = Image(np.zeros((64, 64), np.uint16), "yx")
    pairs = tuple(
        Pair(f"{f}#{z}", "", f, 1, image, image, (PlaneIndex(),), PlaneIndex(), None, None)  # type: ignore[arg-type]
        for f in "abcdefghij"
        for z in range(4)
    )
    found = split_pairs(PairSet(pairs, 1, 1), 3)
    by_field = {(pair.fov, pair.split) for pair in found}
    assert len(by_field) == 10
    assert Counter(split for _, split in by_field) == {"train": 8, "val": 1, "test": 1}


def test_faults_are_told() -> None:
    with pytest.raises(InputError, match="2 fields of view cannot make 3 splits"):
        split_fields(["a", "b"], 0)
    with pytest.raises(InputError, match="add up to 1"):
        split_fields(["a", "b"], 0, {"train": 0.5})
    with pytest.raises(InputError, match="must be of train, val, test"):
        split_fields(["a", "b"], 0, {"train": 0.5, "dev": 0.5})
    with pytest.raises(InputError, match="seed -1"):
        split_fields(["a", "b", "c"], -1)
