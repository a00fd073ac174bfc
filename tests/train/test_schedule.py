"""Learning rates over a run."""

from __future__ import annotations

import pydantic
import pytest

from fluorsr.train.schedule import Budget, Drops


def test_the_rate_warms_up_and_falls_with_what_is_spent() -> None:
    budget = Budget(steps=100, minutes=2.0, warmup=9)
    assert budget.rate(0, 0.0) == pytest.approx(0.1)
    assert budget.rate(9, 0.0) == pytest.approx(1.0)
    assert budget.rate(50, 0.5) == pytest.approx(0.505)
    assert budget.rate(99, 1.0) == pytest.approx(0.01)
    assert budget.spent(50, 12.0) == 0.5
    assert budget.spent(1, 120.0) == 1.0


def test_a_constant_rate_stays_and_drops_fall_in_steps() -> None:
    assert Budget(10, schedule="constant").rate(9, 0.9) == 1.0
    drops = Budget(100, schedule=Drops(at=(0.5, 0.75), factor=0.1))
    assert [drops.rate(0, spent) for spent in (0.0, 0.49, 0.5, 0.8)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("at", [(), (0.5, 0.5), (0.0,), (0.3, 1.0)])
def test_drops_lie_within_the_run(at: tuple[float, ...]) -> None:
    with pytest.raises(pydantic.ValidationError, match="must rise and lie between 0 and 1"):
        Drops(at=at, factor=0.5)
