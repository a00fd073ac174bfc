r"""How long a run is, and how its learning rate goes: up within the warm-up, then down as the recipe says.

rate    1 |   /''''''''\__              cosine: half a cosine down to 1 %
          |  /             \__          at: [0.5], factor: 0.1: steps down; constant: none
        0 +-/------------------'-- spent part of the budget, 0 to 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic


class Drops(pydantic.BaseModel):
    """Multiply the rate by `factor` at each of the parts of the budget in `at`: [0.5] is half-way."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    at: tuple[float, ...]
    factor: float = pydantic.Field(gt=0, lt=1)

    @pydantic.field_validator("at")
    @classmethod
    def _rises(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)) or not 0 < value[0] <= value[-1] < 1:
            raise ValueError(f"must rise and lie between 0 and 1, parts of the run; got {list(value)}")
        return value


Schedule = Annotated[
    Annotated[Literal["cosine", "constant"], pydantic.Tag("named")] | Annotated[Drops, pydantic.Tag("drops")],
    pydantic.Discriminator(lambda given: "drops" if isinstance(given, (dict, Drops)) else "named"),
]


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps`, or `minutes` where those end first. `warmup` steps lead to the full learning rate."""

    steps: int
    minutes: float | None = None
    warmup: int = 0
    schedule: Schedule = "cosine"

    def spent(self, step: int, seconds: float) -> float:
        """The part of the budget that is used up, 0 to 1 and beyond."""
        return max(step / self.steps, seconds / 60 / self.minutes if self.minutes else 0.0)

    def rate(self, step: int, spent: float) -> float:
        """Learning rate relative to its peak."""
        if isinstance(self.schedule, Drops):
            fallen = self.schedule.factor ** sum(spent >= at for at in self.schedule.at)
        elif self.schedule == "cosine":
            fallen = 0.505 + 0.495 * math.cos(math.pi * min(spent, 1.0))
        else:
            fallen = 1.0
        return min(1.0, (step + 1) / (self.warmup + 1)) * fallen
