"""Ranges rather than numbers: how a structure varies from specimen to specimen and from object to object."""

from __future__ import annotations

import abc
import math
from typing import Annotated, Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

WIDE = 4.0
"""From this ratio of its ends on, a positive range is drawn log-uniformly: each factor is as likely as the next."""


def _as_pair(value: Any) -> Any:
    """One number stands for the range of that number alone."""
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _rises(value: tuple[float, float]) -> tuple[float, float]:
    if not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] <= value[1]):
        raise ValueError(f"a range is two finite numbers, low <= high; got {value[0]} and {value[1]}")
    return value


def _not_negative(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] < 0:
        raise ValueError(f"a range of this quantity starts at 0 or above; got {value[0]} to {value[1]}")
    return value


def _positive(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] <= 0:
        raise ValueError(f"a range of this quantity starts above 0; got {value[0]} to {value[1]}")
    return value


def _share(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] < 0 or value[1] > 1:
        raise ValueError(f"a range of shares lies between 0 and 1; got {value[0]} to {value[1]}")
    return value


_Pair = tuple[float, float]
Range = Annotated[_Pair, pydantic.BeforeValidator(_as_pair), pydantic.AfterValidator(_rises)]
"""(low, high)"""
Amount = Annotated[Range, pydantic.AfterValidator(_not_negative)]
"""(low, high), 0 or above"""
Positive = Annotated[Range, pydantic.AfterValidator(_positive)]
"""(low, high), above 0"""
Share = Annotated[Range, pydantic.AfterValidator(_share)]
"""(low, high), from 0 to 1"""


class Parameters(pydantic.BaseModel, abc.ABC):
    """What varies in a structure. Each docstring says which ranges are drawn once a specimen, and which per object."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    cell_um: ClassVar[float] = 16.0
    """Side of the cells that this structure divides the plane into."""

    @property
    @abc.abstractmethod
    def reach_um(self) -> float:
        """How far the light of a cell may lie beyond its borders, along y and x."""


def draw(rng: np.random.Generator, span: _Pair, n: int) -> NDArray[np.float64]:
    """`n` numbers of a range: log-uniform where it is positive and wide, else uniform."""
    low, high = span
    if is_logarithmic(span):
        return np.exp(rng.uniform(math.log(low), math.log(high), n))
    return rng.uniform(low, high, n)


def draw_one(rng: np.random.Generator, span: _Pair) -> float:
    """One number of a range."""
    return float(draw(rng, span, 1)[0])


def mean(span: _Pair) -> float:
    """The expectation of `draw`."""
    low, high = span
    return (high - low) / math.log(high / low) if is_logarithmic(span) else (low + high) / 2


def is_logarithmic(span: _Pair) -> bool:
    """Whether a range is drawn by its logarithm."""
    return span[0] > 0 and span[1] >= WIDE * span[0]
