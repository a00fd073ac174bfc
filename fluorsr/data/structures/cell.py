"""A cell of the endless plane: its place, its random numbers, and what of it is wanted.

Every random number is a function of (seed, structure, cell row, cell column, purpose, index) alone, so a cell is the
same whoever draws it, in whatever order. Objects (some hundreds a cell) come from numpy's counter-based Philox, a
stream a purpose; labels (up to millions) from a hash of their own number, so that those out of sight cost nothing.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_MASK = 2**64 - 1
REGION_UM = 30.0
"""Size of the regions that are crowded or nearly empty."""

_SPECIMEN = 1 << 32  # purposes of the specimen as a whole, apart from those of cells


@dataclass(frozen=True)
class Cell:
    """One cell; positions are in micrometres from its corner.

    window   (y, x) start and (y, x) stop of what is wanted: labels outside it may be left out
    """

    seed: int
    structure: str
    row: int
    column: int
    side_um: float
    window: tuple[tuple[float, float], tuple[float, float]]

    @property
    def _kind(self) -> int:
        return zlib.crc32(self.structure.encode())

    def rng(self, purpose: int = 0) -> np.random.Generator:
        """A stream of this cell alone."""
        return self._philox(purpose, self.row, self.column)

    def specimen(self) -> np.random.Generator:
        """A stream that is the same in every cell: what is drawn once for the whole plane."""
        return self._philox(_SPECIMEN, 0, 0)

    def neighbour(self, rows: int, columns: int) -> Cell:
        """The cell so many rows and columns on, whose window is of no meaning."""
        return Cell(self.seed, self.structure, self.row + rows, self.column + columns, self.side_um, self.window)

    def sees(self, y: Float64, x: Float64, reach_um: float | Float64) -> NDArray[np.bool_]:
        """Which objects that reach so far about (y, x) may be inside the window."""
        (y0, x0), (y1, x1) = self.window
        seen: NDArray[np.bool_] = (y > y0 - reach_um) & (y < y1 + reach_um) & (x > x0 - reach_um) & (x < x1 + reach_um)
        return seen

    def uniform(self, purpose: int, number: NDArray[np.int64]) -> tuple[Float64, Float64, Float64]:
        """Three independent uniform numbers in (0, 1) for each non-negative `number`, of 21 bits each."""
        bits = hash64((self.seed, self._kind, self.row, self.column, purpose), number)
        step = 1.0 / (1 << 21)
        low = np.uint64((1 << 21) - 1)
        parts = (bits >> np.uint64(43), (bits >> np.uint64(22)) & low, (bits >> np.uint64(1)) & low)
        first, second, third = ((part.astype(np.float64) + 0.5) * step for part in parts)
        return first, second, third

    def noise(self, purpose: int, y: Float64, x: Float64, scale_um: float) -> Float64:
        """A smooth random function of the plane at positions of this cell: mean 0, variance 1.

        Numbers at the nodes of a square lattice `scale_um` apart, blended with weights that make every variance 1.
        """
        v = (self.row * self.side_um + y) / scale_um
        u = (self.column * self.side_um + x) / scale_um
        row, column = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
        fy, fx = _ease(v - row), _ease(u - column)
        words = (self.seed, self._kind, _SPECIMEN + 1, purpose)
        down = [(hash64((*words, 0), row + step), weight) for step, weight in ((0, 1 - fy), (1, fy))]
        right = [(hash64((*words, 1), column + step), weight) for step, weight in ((0, 1 - fx), (1, fx))]
        total, squares = np.zeros_like(v), np.zeros_like(v)
        for (first, of_y), (second, of_x) in itertools.product(down, right):
            weight = of_y * of_x
            node = (hash64(words, first ^ second) >> np.uint64(11)).astype(np.float64) / 2**53
            total += weight * (2 * node - 1) * math.sqrt(3)
            squares += weight**2
        noise: Float64 = total / np.sqrt(squares)
        return noise

    def scatter(
        self,
        rng: np.random.Generator,
        per_um2: float,
        unevenness: float,
        square: tuple[float, float, float] | None = None,
    ) -> tuple[Float64, Float64]:
        """Positions y, x of objects of a mean density, crowded in some regions (of REGION_UM) and rare in others.

        `unevenness` is the standard deviation of the logarithm of the local density; 0 is a Poisson process.
        Positions fill the cell, or a `square` in it: the y and x of its corner, and its side.
        """
        # Thinning: candidates at 2.5 standard deviations' density, above which the local density is levelled off.
        bound = math.exp(2.5 * unevenness - unevenness**2 / 2)
        y0, x0, side = (0.0, 0.0, self.side_um) if square is None else square
        n = int(rng.poisson(per_um2 * side**2 * bound))
        y, x, u = y0 + side * rng.random(n), x0 + side * rng.random(n), rng.random(n)
        if unevenness > 0:
            kept = u * bound < np.exp(unevenness * self.noise(0, y, x, REGION_UM) - unevenness**2 / 2)
            y, x = y[kept], x[kept]
        return y, x

    def _philox(self, purpose: int, row: int, column: int) -> np.random.Generator:
        key = np.array([self.seed & _MASK, self._kind], dtype=np.uint64)
        counter = np.array([0, purpose, row & _MASK, column & _MASK], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))


def hash64(words: tuple[int, ...], number: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 random bits for each number: SplitMix64 (Steele, Lea and Flood 2014), its state set by `words`."""
    key = _key(words)
    state = number.astype(np.uint64)
    with np.errstate(over="ignore"):
        state *= np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64(key)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state ^= state >> np.uint64(shift)
            state *= np.uint64(factor)
        state ^= state >> np.uint64(31)
    return state


@functools.lru_cache(maxsize=1 << 14)
def _key(words: tuple[int, ...]) -> int:
    key = 0
    for word in words:
        key = _mix(((key + (word & _MASK)) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK)
    return key


def _mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def _ease(part: Float64) -> Float64:
    """0 to 1 with flat ends."""
    return part * part * (3 - 2 * part)
