"""Types of the native core (csrc/python). Triples are (z, y, x); call it through fluorsr.tiling."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Index3 = tuple[int, int, int]

class Grid:
    def __init__(
        self, shape: Index3, tile: Index3, halo: Index3, overlap: Index3, multiple: Index3, scale: Index3
    ) -> None: ...
    @property
    def stride(self) -> Index3: ...
    @property
    def count(self) -> Index3: ...
    def tiles(self, start: Index3, stop: Index3) -> tuple[Index3, Index3, NDArray[np.int64], Index3, Index3]: ...

def extract(
    source: NDArray[Any],
    source_start: Index3,
    image_shape: Index3,
    starts: NDArray[np.int64],
    tile: Index3,
    *,
    subtract: float,
    multiply: float,
    fill: float,
    out: NDArray[np.float32] | None = None,
    threads: int = 1,
    simd: str = "",
) -> NDArray[np.float32]: ...
def blend(
    tiles: NDArray[np.float32],
    grid: Grid,
    first: Index3,
    counts: Index3,
    start: Index3,
    stop: Index3,
    out: NDArray[Any],
    *,
    multiply: float,
    add: float,
    threads: int = 1,
    simd: str = "",
) -> tuple[int, int]: ...
def crc32c(data: NDArray[Any] | bytes, value: int = 0, *, portable: bool = False) -> int: ...
def crc32c_in_hardware() -> bool: ...
def simd_levels() -> list[str]: ...
