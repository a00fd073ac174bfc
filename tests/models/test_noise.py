"""Noise of a place: published words of Philox, the normal distribution by scipy, and no dependence on the tile."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from fluorsr.models.noise import gaussian, philox, seed_of

F = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((F, F, F, F), (F, F), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words) -> None:
    """The known answers of its authors (Random123, kat_vectors, philox4x32 10)."""
    found = philox(tuple(torch.tensor(c) for c in counter), key)
    assert tuple(int(word) for word in found) == words


def field(seed: int = 1, draw: int = 0, y: int = 0, x: int = 0, size: int = 256) -> torch.Tensor:
    return gaussian(seed, draw, torch.tensor([[y, x]]), size, size)[0, 0]


def test_it_is_standard_normal() -> None:
    values = field().flatten().numpy()
    assert stats.kstest(values, "norm").pvalue > 0.01
    assert stats.kstest(abs(values[abs(values) > 2]), lambda t: 1 - stats.norm.sf(t) / stats.norm.sf(2)).pvalue > 0.01


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"seed": 1 + 2**40}, {"draw": 1}, {"y": 256}, {"x": 2**33}, {"y": -256}]
)
def test_seeds_draws_and_places_are_independent(other) -> None:
    a, b = field(), field(**other)
    assert abs(float((a * b).mean())) < 4 / 256  # of 65,536 independent products: 4 standard deviations
    assert abs(float((a.square() * b.square()).mean() - 1)) < 16 / 256


def test_samples_come_in_mirrored_pairs() -> None:
    assert [seed_of(5, n) for n in range(5)] == [5, -6, 6, -7, 7]
    for seed in (0, 5, 2**40):
        assert torch.equal(field(seed_of(seed, 1), draw=3), -field(seed, draw=3))


def test_neighbours_are_independent() -> None:
    power = torch.fft.rfft2(field(), norm="ortho").abs().square()[1:128, 1:128].flatten()
    assert stats.kstest(power.numpy(), "expon").pvalue > 0.01  # white: every frequency's power is exponential


def test_overlapping_tiles_see_the_same_noise() -> None:
    origin = torch.tensor([[-7, 5], [10, -3], [2**33, 2**40]])
    tiles = gaussian(3, 2, origin, 40, 50)
    assert tiles.shape == (3, 1, 40, 50)
    assert tiles.dtype == torch.float32
    assert torch.equal(tiles[0, 0, 17:, :42], gaussian(3, 2, torch.tensor([[10, 5]]), 23, 42)[0, 0])
    assert torch.equal(tiles[1, 0, :23, 8:], tiles[0, 0, 17:, :42])
    assert torch.equal(tiles[2, 0, 1:, 1:], gaussian(3, 2, origin[2:] + 1, 39, 49)[0, 0])


def test_it_is_finite_where_the_words_are_extreme() -> None:
    """The logarithm's argument at words 0 and 2**32 - 1 (which rounds up to 2**32 in float32)."""
    arguments = (torch.tensor([0, F]).float() + 0.5) * 2.0**-32
    radii = torch.sqrt(-2 * torch.log(arguments))
    assert radii.tolist() == pytest.approx([6.764, 0.0], abs=1e-3)
