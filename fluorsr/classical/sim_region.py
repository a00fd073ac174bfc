"""The part of a field that its stripes are measured on: where they are strongest, among a few evenly spread ones.

The first two frames differ most where the stripes are; out-of-focus light does not change between them. TorchScript.
"""

from __future__ import annotations

from torch import Tensor

from fluorsr.classical import sim_constants as usual


def places(height: int, width: int) -> list[tuple[int, int]]:
    """First pixels (y, x) of the parts of a field of that size; the middle one comes first."""
    found: list[tuple[int, int]] = []
    for y in _starts(height):
        for x in _starts(width):
            found.append((y, x))
    return found


def _starts(length: int) -> list[int]:
    room = max(0, length - usual.REGION)
    found: list[int] = []
    for start in (room // 2, room // 6, room - room // 6):
        if start not in found:
            found.append(start)
    return found


def contrast(first: Tensor, second: Tensor) -> float:
    """How strongly a part [Y, X] of two frames shows stripes, in counts squared."""
    return float((first - second).nan_to_num().var(unbiased=False))


def strongest_part(frames: Tensor) -> tuple[int, int]:
    """First pixel (y, x) of the part of frames [F, Y, X], F >= 2, whose stripes are strongest."""
    side = usual.REGION
    found = places(frames.shape[1], frames.shape[2])
    best, most = found[0], -1.0
    if len(found) > 1:
        for y, x in found:
            here = contrast(frames[0, y : y + side, x : x + side], frames[1, y : y + side, x : x + side])
            if here > most:
                best, most = (y, x), here
    return best
