"""The record's rows cover every storage object of level 0 and the tail once, in the order of the plan's blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.image import Image
from fluorsr.io.writer import Layout
from fluorsr.io.zarr_store import plan_levels
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import make_plan, whole
from fluorsr.restorer import RestorerSpec

shapes = st.tuples(*(st.integers(1, 2) for _ in "tcz"), st.integers(1, 3000), st.integers(1, 3000))


@settings(max_examples=30, deadline=None)
@given(shapes, st.sampled_from([256, 100, 66, 51]))
def test_every_pixel_of_level_0_and_the_tail_has_one_row(shape: tuple[int, ...], block: int) -> None:
    layout = Layout("tczyx", shape, "uint8", block=(block, block))
    places = Places(layout)
    levels = {level.number: level for level in plan_levels(layout)}
    covered = {n: np.zeros((*shape[:3], *levels[n].size), np.uint8) for n in (0, *places.tail)}
    for row in range(len(places)):
        place = places[row]
        covered[place.level][(place.plane.t, place.plane.c, place.plane.z, slice(*place.y), slice(*place.x))] += 1
        assert row in places.rows(place.level)
    assert all((counts == 1).all() for counts in covered.values())
    assert places.blocks == len(places.rows(0))


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_rows_above_are_those_that_show_the_block(shape: tuple[int, ...]) -> None:
    places = Places(Layout("tczyx", shape, "uint8", block=(66, 66)))
    for row in range(0, len(places), max(1, len(places) // 20)):
        below = places[row]
        found = set(places.above(row))
        for other in range(len(places)):
            above = places[other]
            factor = 2 ** (above.level - below.level) if above.level > below.level else 0
            shows = factor > 0 and above.plane == below.plane
            for (start, stop), (first, last) in zip((above.y, above.x), (below.y, below.x), strict=True):
                shows = shows and start * factor < last and first < stop * factor
            assert shows == (other in found), (row, other)


def test_rows_are_the_plans_blocks() -> None:
    spec = RestorerSpec("edsr", scale=2, halo=4)
    image = Image(np.zeros((2, 2, 3, 150, 170), np.uint8), "tczyx")
    plan = make_plan(image, spec, whole(image), block=64)
    places = Places(plan.layout)
    assert places.blocks == len(plan)
    for row, place in zip(range(len(plan)), (places[i] for i in itertools.count()), strict=False):
        block = plan.block(row)
        assert (block.output, block.y_out, block.x_out) == (place.plane, place.y[0], place.x[0])


def test_a_place_is_told_in_words() -> None:
    places = Places(Layout("czyx", (1, 2, 100, 90), "uint8", block=(64, 64)))
    assert str(places[7]) == "t 0, c 0, z 1, y 64:100, x 64:90"
    with pytest.raises(StopIteration):
        places[8]
