"""Rows of the record, and the places in the output that they stand for.

row   0 .. blocks-1         blocks of level 0, with the levels written beside them; t slowest, then c, z, y, x
row   blocks .. rows-1      blocks of the pyramid's tail, level by level, in the same order
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fluorsr.image import PlaneIndex
from fluorsr.io.writer import Layout
from fluorsr.io.zarr_store import Level, fused_levels, plan_levels


@dataclass(frozen=True)
class Place:
    """One storage object: its level, plane and pixels (of that level), half open."""

    level: int
    plane: PlaneIndex
    y: tuple[int, int]
    x: tuple[int, int]

    def __str__(self) -> str:
        at, (y0, y1), (x0, x1) = self.plane, self.y, self.x
        return f"t {at.t}, c {at.c}, z {at.z}, y {y0}:{y1}, x {x0}:{x1}"


class Places:
    """The rows of one output."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        levels = plan_levels(layout)
        self.levels = len(levels)
        self.fused = min(fused_levels(layout.block), self.levels - 1)
        self._levels: list[Level] = [levels[0], *levels[1 + self.fused :]]
        self._planes = int(np.prod(layout.shape[:-2], dtype=np.int64))
        ends = np.cumsum([self._planes * rows * columns for rows, columns in map(_counts, self._levels)])
        self._starts = [0, *(int(end) for end in ends)]

    @property
    def blocks(self) -> int:
        """Rows of level 0."""
        return self._starts[1]

    def __len__(self) -> int:
        return self._starts[-1]

    def rows(self, level: int) -> range:
        """The rows of level 0 or of one level of the tail."""
        at = self._at(level)
        return range(self._starts[at], self._starts[at + 1])

    @property
    def tail(self) -> list[int]:
        return [level.number for level in self._levels[1:]]

    def __getitem__(self, row: int) -> Place:
        at = next(i for i, end in enumerate(self._starts[1:]) if row < end)
        level = self._levels[at]
        rows, columns = _counts(level)
        rest, column = divmod(row - self._starts[at], columns)
        plane, line = divmod(rest, rows)
        t, c, z = (int(i) for i in np.unravel_index(plane, [self.layout.size(axis) for axis in "tcz"]))
        y, x = (
            (i * side, min((i + 1) * side, size))
            for i, side, size in zip((line, column), level.shard, level.size, strict=True)
        )
        return Place(level.number, PlaneIndex(t, c, z), y, x)

    def above(self, row: int) -> Iterator[int]:
        """The rows of the tail that are built, directly or not, from this one."""
        place = self[row]
        for level in self._levels[1:]:
            if level.number > place.level:
                factor = 2 ** (level.number - place.level)
                at = (
                    start // factor // side for start, side in zip((place.y[0], place.x[0]), level.shard, strict=True)
                )
                yield self._row(level, place.plane, *at)

    def _row(self, level: Level, plane: PlaneIndex, line: int, column: int) -> int:
        rows, columns = _counts(level)
        index = int(np.ravel_multi_index((plane.t, plane.c, plane.z), [self.layout.size(axis) for axis in "tcz"]))
        return self._starts[self._at(level.number)] + (index * rows + line) * columns + column

    def _at(self, level: int) -> int:
        return next(i for i, known in enumerate(self._levels) if known.number == level)


def _counts(level: Level) -> tuple[int, int]:
    """Shards of one plane along y and x."""
    return -(-level.size[0] // level.shard[0]), -(-level.size[1] // level.shard[1])
