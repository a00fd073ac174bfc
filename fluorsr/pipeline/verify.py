"""Re-read a run's output and check every block against the record, and every pyramid level against the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fluorsr.errors import FormatError, NotFoundError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.io.pyramid import halve, level_sizes
from fluorsr.pipeline.journal import Journal
from fluorsr.tiling.blend import crc32c


@dataclass(frozen=True)
class Verification:
    """What a check found: blocks in the run, those recorded as done, and what is wrong, one line each."""

    output: str
    blocks: int
    done: int
    faults: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return self.done == self.blocks and not self.faults

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {**asdict(self), "complete": self.complete}


def verify(output: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check an output of `fluorsr.infer`.

    Every block recorded as done is read back and its CRC32C compared; where all are done, each pyramid level must be
    the 2 x 2 mean of the level before. Nothing is changed. Raises NotFoundError where there is no such output or it
    holds no record.
    """
    path = Path(output)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    journal = Journal.open(path)
    image = open_image(path)
    block = journal.fingerprint["block"]
    places = list(_blocks(image, block))
    if len(places) != len(journal):
        raise FormatError(f"{path} has room for {len(places)} blocks, but its record lists {len(journal)}")
    done = journal.done
    faults: list[str] = []
    for index, (plane, y, x) in enumerate(places):
        if done[index]:
            faults += _check_block(image, plane, y, x, index, journal.crc32c(index))
        if progress:
            progress(index + 1, len(places))
    if done.all():
        for level in range(1, len(level_sizes(image.size("y"), image.size("x")))):
            faults += _check_level(path, level, block)
    return Verification(str(path), len(places), int(done.sum()), tuple(faults))


def _blocks(image: Image, block: tuple[int, int]) -> Iterator[tuple[PlaneIndex, slice, slice]]:
    height, width = image.size("y"), image.size("x")
    for plane in image.planes():
        for y in range(0, height, block[0]):
            for x in range(0, width, block[1]):
                yield plane, slice(y, min(y + block[0], height)), slice(x, min(x + block[1], width))


def _check_block(image: Image, plane: PlaneIndex, y: slice, x: slice, index: int, recorded: int) -> list[str]:
    where = f"block {index} (t {plane.t}, c {plane.c}, z {plane.z}, y {y.start}:{y.stop}, x {x.start}:{x.stop})"
    try:
        found = crc32c(image.read(plane, y, x))
    except FormatError as error:
        return [f"{where} cannot be read: {error}"]
    return [] if found == recorded else [f"{where} has changed: CRC32C {found:08x}, recorded {recorded:08x}"]


def _check_level(path: Path, level: int, block: tuple[int, int]) -> list[str]:
    try:
        finer, coarser = open_image(path, level=level - 1), open_image(path, level=level)
    except (FormatError, NotFoundError) as error:
        return [f"pyramid level {level} cannot be read: {error}"]
    faults = []
    for plane, y, x in _blocks(coarser, block):
        where = f"pyramid level {level} (t {plane.t}, c {plane.c}, z {plane.z}, y {y.start}, x {x.start})"
        try:
            expected = halve(finer.read(plane, _doubled(y, finer.size("y")), _doubled(x, finer.size("x"))))
            if not np.array_equal(coarser.read(plane, y, x), expected, equal_nan=expected.dtype.kind == "f"):
                faults.append(f"{where} is not the mean of level {level - 1}")
        except FormatError as error:
            faults.append(f"{where} cannot be read: {error}")
    return faults


def _doubled(part: slice, size: int) -> slice:
    return slice(2 * part.start, min(2 * part.stop, size))
