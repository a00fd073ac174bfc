"""The words of --channels, --z, --t and --region."""

from __future__ import annotations

import numpy as np
import pytest

from fluorsr.errors import InputError
from fluorsr.image import Channel, Image
from fluorsr.pipeline.select import select

IMAGE = Image(
    np.zeros((4, 2, 6, 50, 40), np.uint8), "tczyx", channels=(Channel("tubulin"), Channel("DNA, far")), name="cells"
)


def test_nothing_selects_everything() -> None:
    everything = select(IMAGE)
    assert everything.t == (0, 1, 2, 3)
    assert everything.c == (0, 1)
    assert (everything.y, everything.x) == ((0, 50), (0, 40))


def test_names_indices_ranges_and_open_ends() -> None:
    chosen = select(IMAGE, channels="tubulin", z="0, 3:5", t=":2", region="10:,:20")
    assert (chosen.c, chosen.z, chosen.t) == ((0,), (0, 3, 4), (0, 1))
    assert (chosen.y, chosen.x) == ((10, 50), (0, 20))
    assert select(IMAGE, channels="1,0").c == (1, 0)


@pytest.mark.parametrize(
    ("option", "word", "message"),
    [
        ("channels", "actin", "channel 'actin' is not in this image; it has tubulin, DNA, far"),
        ("channels", "2", "channel '2' is not in this image"),
        ("channels", "0,tubulin", "--channels names index 0 more than once"),
        ("z", "6", "--z 6 is outside the image: z runs from 0 to 5"),
        ("z", "4:2", "--z 4:2 is outside"),
        ("z", "-1", "--z -1 is outside"),
        ("t", "one", "--t: 'one' is not a whole number"),
        ("region", "0:10", "must be y0:y1,x0:x1"),
        ("region", "0:51,0:10", "y 0:51 must rise and lie inside 0:50"),
        ("region", "5:5,0:10", "y 5:5 must rise"),
        ("region", "a:b,0:10", "'a' is not a whole number"),
    ],
)
def test_what_is_not_there_is_refused(option: str, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select(IMAGE, **{option: word})
