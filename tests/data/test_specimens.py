"""Structures: reproducible, inside their limits, as dense as they say, and shaped as their physics says."""

from __future__ import annotations

import numpy as np
import pytest

from fluorsr.data.specimens import MAX_DEFOCUS_UM, STRUCTURES, chromatin, haze, join, vesicles


def philox(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("name", [*STRUCTURES, "haze"])
def test_structures_are_finite_reproducible_and_grow_with_density(name: str) -> None:
    draw = {**STRUCTURES, "haze": haze}[name]
    emitters, again = draw(philox(3), 12.0, 9.0, 2.0), draw(philox(3), 12.0, 9.0, 2.0)
    for column, same in zip(emitters, again, strict=True):
        assert column.dtype == np.float32
        assert np.isfinite(column).all()
        np.testing.assert_array_equal(column, same)
    assert (emitters.light >= 0).all()
    assert (emitters.defocus >= 0).all()
    assert (emitters.defocus <= MAX_DEFOCUS_UM).all()
    thin = sum(float(draw(philox(s), 12.0, 9.0, 0.3).light.sum()) for s in range(4))
    thick = sum(float(draw(philox(s), 12.0, 9.0, 3.0).light.sum()) for s in range(4))
    assert thick > 4 * thin


@pytest.mark.parametrize("name", [*STRUCTURES])
def test_no_density_is_an_empty_specimen(name: str) -> None:
    assert STRUCTURES[name](philox(1), 5.0, 5.0, 0.0).light.size == 0


def test_vesicles_are_no_larger_than_their_largest_radius() -> None:
    emitters = vesicles(philox(5), 20.0, 20.0)
    y = emitters.y.reshape(-1, 120)
    assert np.ptp(y, axis=1).max() <= 0.6 + 1e-4
    assert np.ptp(y, axis=1).min() > 0


def test_chromatin_is_periodic_positive_and_of_mean_one() -> None:
    texture = chromatin(philox(2), 128, 0.04)
    assert texture.min() > 0
    assert texture.mean() == pytest.approx(1, abs=1e-5)
    steps = np.abs(np.diff(texture, axis=0)).mean(), np.abs(texture[0] - texture[-1]).mean()
    assert steps[1] < 2 * steps[0]


def test_join_keeps_every_emitter() -> None:
    parts = [haze(philox(s), 10.0, 10.0) for s in (1, 2)]
    assert join(parts).light.size == sum(p.light.size for p in parts)
