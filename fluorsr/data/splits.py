"""Split a set into training, validation and test by field of view, never by patch.

Two patches of one field share filaments, noise and illumination: a network tested on the neighbour of what it was
trained on looks better than it is. Each field is ranked by a hash of the seed and its name, so the split depends
neither on the order of the files nor on the platform, and a field that joins later moves few others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fluorsr.data.listing import SPLITS
from fluorsr.data.pairs import PairSet
from fluorsr.errors import InputError

FRACTIONS: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def split_fields(fields: Iterable[str], seed: int, fractions: Mapping[str, float] = FRACTIONS) -> dict[str, str]:
    """Give each field of view a split: field -> name out of `fractions`.

    Counts are the fractions of all fields, rounded so that they add up; a fraction above 0 gets at least one field.
    Raises InputError for faulty fractions, a negative seed, or fewer fields than splits.
    """
    names = sorted(set(fields))
    wanted = [split for split, fraction in fractions.items() if fraction > 0]
    if set(fractions) - set(SPLITS) or min(fractions.values(), default=-1) < 0 or not _is_one(fractions.values()):
        raise InputError(f"fractions {dict(fractions)} must be of {', '.join(SPLITS)}, at least 0, and add up to 1")
    if seed < 0:
        raise InputError(f"seed {seed} must be at least 0")
    if len(names) < len(wanted):
        raise InputError(
            f"{len(names)} fields of view cannot make {len(wanted)} splits; record more fields, or leave out a split"
        )
    counts = {split: max(1, math.floor(fractions[split] * len(names) + 1e-9)) for split in wanted}
    while sum(counts.values()) != len(names):
        # The split that is furthest from its share gains a field, or loses one that it can spare.
        short = sum(counts.values()) < len(names)
        able = [split for split in wanted if short or counts[split] > 1]
        lack = {split: fractions[split] * len(names) - counts[split] for split in able}
        chosen = max(able, key=lambda split: lack[split] if short else -lack[split])
        counts[chosen] += 1 if short else -1
    ranked = sorted(names, key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())
    chosen_splits = [split for split in wanted for _ in range(counts[split])]
    return dict(zip(ranked, chosen_splits, strict=True))


def split_pairs(pairs: PairSet, seed: int, fractions: Mapping[str, float] = FRACTIONS) -> PairSet:
    """The same pairs with their splits drawn anew, all pairs of a field of view in one. Raises as `split_fields`."""
    splits = split_fields((pair.fov for pair in pairs), seed, fractions)
    return replace(pairs, pairs=tuple(replace(pair, split=splits[pair.fov]) for pair in pairs))


def _is_one(fractions: Iterable[float]) -> bool:
    return math.isclose(sum(fractions), 1.0, abs_tol=1e-9)
