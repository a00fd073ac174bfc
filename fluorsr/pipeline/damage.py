"""Blocks that are not as recorded: their pixels on disk, the levels beside them, the input they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from fluorsr.errors import FormatError, NotFoundError
from fluorsr.image import Image
from fluorsr.io.open import open_image
from fluorsr.io.pyramid import halve
from fluorsr.io.writer import Layout
from fluorsr.pipeline.journal import DEVIATION, BlockFacts, Journal
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan
from fluorsr.predict import available_threads, read_source, source_crc32c
from fluorsr.tiling.blend import crc32c

READ_AT_ONCE = 64
"""Blocks handed to the reading threads at a time."""

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """Rows of the record whose storage is not as recorded, and one line of text for each."""

    rows: tuple[int, ...]
    faults: tuple[str, ...]

    def to_redo(self, places: Places) -> list[int]:
        """The damaged rows and those of the tail that are built from them."""
        return sorted({*self.rows, *(above for row in self.rows for above in places.above(row))})


def find_damage(journal: Journal, path: Path, layout: Layout, watch: Watch) -> Damage:
    """Read back every finished row and the levels written with it: each must have its CRC32C, or be the 2 x 2 mean.

    A level whose array cannot be opened is a fault without a row. Where the run drew samples, all this holds for their
    deviation as well. Raises FormatError where record and store do not fit.
    """
    places = Places(layout)
    if len(places) != len(journal):
        raise FormatError(f"{path} has room for {len(places)} blocks, but its record lists {len(journal)}")
    stored = [_Stored(path, "", "crc32c", places)]
    if DEVIATION in journal.columns:
        stored.append(_Stored(path / "deviation", "the deviation: ", "deviation_crc32c", places))

    def fault(row: int) -> str:
        return next((text for image in stored if (text := image.fault(row, journal.facts(row)))), "")

    found = dict(_each(np.flatnonzero(journal.done).tolist(), fault, watch))
    return Damage(tuple(found), (*(text for image in stored for text in image.faults), *found.values()))


def changed_inputs(journal: Journal, plan: Plan, image: Image, watch: Watch) -> list[str]:
    """The finished blocks whose input pixels are no longer those that they were made from, one line each."""
    places = Places(plan.layout)

    def fault(row: int) -> str:
        block = plan.block(row)
        frames = read_source(image, block.planes, block.y, block.x, plan.grid)
        return f"block {row} ({places[row]})" if source_crc32c(frames) != journal.facts(row).input_crc32c else ""

    return [text for _, text in _each(np.flatnonzero(journal.done[: len(plan)]).tolist(), fault, watch)]


def _each(rows: list[int], fault: Callable[[int], str], watch: Watch) -> Iterator[tuple[int, str]]:
    """(row, fault) of the rows that have one, read by as many threads as there are cores."""
    with ThreadPoolExecutor(available_threads(), thread_name_prefix="verify") as pool:
        done = 0
        waiting = iter(rows)
        while batch := list(islice(waiting, READ_AT_ONCE)):
            for row, text in zip(batch, pool.map(fault, batch), strict=True):
                if text:
                    yield row, text
            done += len(batch)
            watch(done, len(rows))


class _Stored:
    """One image of a run as it is on disk. `faults` holds a line for each level that cannot be opened."""

    def __init__(self, path: Path, name: str, column: str, places: Places) -> None:
        """`name` begins each line; `column` is that of the record that holds its checksums."""
        self.name, self.column, self.places = name, column, places
        self.levels: dict[int, Image] = {}
        self.faults: list[str] = []
        for level in range(places.levels):
            try:
                self.levels[level] = open_image(path, level=level)
            except (FormatError, NotFoundError) as error:
                self.faults.append(f"{name}pyramid level {level} cannot be read: {error}")

    def fault(self, row: int, facts: BlockFacts) -> str:
        """What is wrong with one row's storage, empty where nothing is; levels that cannot be opened are left out."""
        place, recorded = self.places[row], getattr(facts, self.column)
        where = f"block {row} ({place})" if place.level == 0 else f"pyramid level {place.level}, block {row} ({place})"
        if place.level not in self.levels:
            return ""
        try:
            pixels = self.levels[place.level].read(place.plane, slice(*place.y), slice(*place.x))
            if (found := crc32c(pixels)) != recorded:
                return f"{self.name}{where} has changed: CRC32C {found:08x}, recorded {recorded:08x}"
            for level in range(1, 1 + self.places.fused) if place.level == 0 else ():
                pixels = halve(pixels)
                y, x = (
                    slice(start >> level, (start >> level) + n)
                    for start, n in zip((place.y[0], place.x[0]), pixels.shape, strict=True)
                )
                if level in self.levels and not np.array_equal(
                    self.levels[level].read(place.plane, y, x), pixels, equal_nan=pixels.dtype.kind == "f"
                ):
                    return f"{self.name}pyramid level {level} of {where} is not the mean of level {level - 1}"
        except FormatError as error:
            return f"{self.name}{where} cannot be read: {error}"
        return ""
