"""The words a user selects with, to indices: `--channels tubulin,1 --z 3:9 --t 0 --region 1000:2000,0:500`."""

from __future__ import annotations

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.pipeline.plan import Selection, whole


def select(
    image: Image,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
) -> Selection:
    """Turn the command line's words into a Selection; None means all.

    channels   names or indices, separated by commas
    z, t       indices or half-open ranges, separated by commas: `0,4:8`
    all count images of the view (fluorsr.pipeline.frames): where t holds raw frames, time points and not frames
    region     half-open input pixels, `y0:y1,x0:x1`; an empty side means the image's edge

    Raises InputError where something is not in the image.
    """
    everything = whole(image)
    y, x = _region(image, region) if region is not None else (everything.y, everything.x)
    return Selection(
        t=_indices("t", t, image.size("t")) if t is not None else everything.t,
        c=_channels(image, channels) if channels is not None else everything.c,
        z=_indices("z", z, image.size("z")) if z is not None else everything.z,
        y=y,
        x=x,
    )


def _channels(image: Image, words: str) -> tuple[int, ...]:
    names = [channel.name for channel in image.channels]
    found: list[int] = []
    for word in (w.strip() for w in words.split(",")):
        if word in names:
            found.append(names.index(word))
        elif word.isdecimal() and int(word) < len(names):
            found.append(int(word))
        else:
            raise InputError(
                f"channel {word!r} is not in this image; it has {', '.join(names)} (0 to {len(names) - 1})"
            )
    return _unrepeated("--channels", found)


def _indices(axis: str, words: str, size: int) -> tuple[int, ...]:
    found: list[int] = []
    for word in (w.strip() for w in words.split(",")):
        start, stop = _range(f"--{axis}", word, size) if ":" in word else (_integer(f"--{axis}", word),) * 2
        stop += ":" not in word
        if not 0 <= start < stop <= size:
            raise InputError(f"--{axis} {word} is outside the image: {axis} runs from 0 to {size - 1}")
        found.extend(range(start, stop))
    return _unrepeated(f"--{axis}", found)


def _region(image: Image, words: str) -> tuple[tuple[int, int], tuple[int, int]]:
    parts = words.split(",")
    if len(parts) != 2 or not all(":" in part for part in parts):
        raise InputError(f"--region {words!r} must be y0:y1,x0:x1 in input pixels; for example 0:1024,512:1536")
    y, x = (_range("--region", part, image.size(axis)) for axis, part in zip("yx", parts, strict=True))
    for axis, (start, stop) in (("y", y), ("x", x)):
        if not 0 <= start < stop <= image.size(axis):
            raise InputError(f"--region {words}: {axis} {start}:{stop} must rise and lie inside 0:{image.size(axis)}")
    return y, x


def _range(option: str, word: str, size: int) -> tuple[int, int]:
    start, _, stop = word.strip().partition(":")
    return (_integer(option, start) if start else 0), (_integer(option, stop) if stop else size)


def _integer(option: str, word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise InputError(f"{option}: {word!r} is not a whole number") from error


def _unrepeated(option: str, found: list[int]) -> tuple[int, ...]:
    if len(set(found)) != len(found):
        raise InputError(f"{option} names index {next(i for i in found if found.count(i) > 1)} more than once")
    return tuple(found)
