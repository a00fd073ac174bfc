"""Stripes far out and in the dark are found, chance is as likely everywhere, and where none are none are found."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_orders import SimOptics, nominal_phases
from fluorsr.classical.sim_parameters import NoStripesError, estimate_parameters, reach_per_um
from fluorsr.classical.sim_scene import Scene
from fluorsr.classical.sim_search import _Surface, _whitened
from fluorsr.data.simulate import configure, simulate_pair

SEED = 2**32 + 11
THIN = {"thickness": 0.5, "haze": 0.2}
THICK = {"thickness": 3.0, "density": 2.0, "haze": 0.5}


@cache
def taken(beams: int, index: int, structure: str, photons: float, thick: bool) -> tuple[Tensor, SimOptics, Tensor]:
    """Frames [3, N, Y, X] of a microscope of the family, its optics, and its true vectors [3, 2]."""
    preset, phases = ("sim-3x5", 5) if beams == 3 else ("sim-3x3", 3)
    config = configure(preset, size_px=128, photons=photons, **(THICK if thick else THIN))
    field = simulate_pair(config, SEED, index, structure)
    optics = make_optics(field.drawn["numerical_aperture"], field.drawn["emission_nm"], field.pixel_size_um)
    assert field.stripes is not None
    frames = torch.from_numpy(field.degraded.astype(np.float64)).reshape(3, phases, 128, 128)
    return frames, optics, field.stripes.wave_per_um[::phases]


def steps_off(found: Tensor, true: Tensor, optics: SimOptics) -> float:
    """Largest error of a vector of either sign, in frequency steps of the field."""
    sign = torch.sign((found * true).sum(1, keepdim=True))
    return float((sign * found - true).norm(dim=1).max() * 128 * optics.pixel_size_um)


@pytest.mark.parametrize(
    ("beams", "index", "structure", "photons", "thick"),
    [
        (2, 4, "nuclei", 1000.0, False),
        (2, 10, "microtubules", 1000.0, True),
        (2, 2, "mitochondria", 100.0, False),
        (2, 11, "actin", 100.0, True),
        (2, 0, "microtubules", 30.0, False),
        (3, 9, "nuclei", 1000.0, True),
        (3, 8, "vesicles", 30.0, True),
        (3, 0, "microtubules", 10.0, False),
    ],
)
def test_stripes_that_one_level_of_chance_for_all_places_would_hide(beams, index, structure, photons, thick) -> None:
    frames, optics, true = taken(beams, index, structure, photons, thick)
    measured = estimate_parameters(frames, optics, beams=beams)
    assert steps_off(measured.wave_per_um, true, optics) < 0.6


def test_chance_is_as_likely_near_as_far() -> None:
    """Of frames whose orders hold nothing but noise, clarity has the same mean at all lengths of the vector."""
    frames, optics, _ = taken(2, 0, "microtubules", 1000.0, False)
    generator = torch.Generator().manual_seed(0)
    even = torch.poisson(frames.mean((0, 1), keepdim=True).expand(3, 3, -1, -1), generator=generator)
    scene = Scene(even, optics.lens, 1)
    nominal = nominal_phases(3, 1).expand(3, -1, -1)
    low, high = reach_per_um(optics, 1, None)
    means = []
    for product, chance in zip(*_whitened(scene, nominal), strict=True):
        surface = _Surface(product, chance, scene, low, high)
        length = torch.hypot(surface.fy, surface.fx)
        thirds = [low + (high - low) * part / 3 for part in range(4)]
        rings = [surface.values[surface.inside & (length >= a) & (length < b)] for a, b in itertools.pairwise(thirds)]
        means.append([float(ring.mean()) for ring in rings])
    found = np.array(means).mean(0)
    np.testing.assert_allclose(found, found.mean(), rtol=0.15)


@pytest.mark.parametrize("beams", [2, 3])
@pytest.mark.parametrize("photons", [3000.0, 30.0])
@pytest.mark.parametrize("bleached", [0.0, 0.05])
def test_even_light_has_no_stripes(beams: int, photons: float, bleached: float) -> None:
    generator = torch.Generator().manual_seed(1)
    phases = 2 * beams - 1
    for index, structure, thick in ((0, "microtubules", False), (3, "vesicles", False), (9, "nuclei", True)):
        frames, optics, _ = taken(2, index, structure, 1000.0, thick)
        wide = frames.mean((0, 1))
        lit = 2 + photons * (wide - wide.min()) / (wide.max() - wide.min())
        dimming = (1 - bleached) ** torch.arange(3 * phases, dtype=torch.float64).reshape(3, phases, 1, 1)
        with pytest.raises(NoStripesError):
            estimate_parameters(torch.poisson(lit * dimming, generator=generator), optics, beams=beams)


def test_a_few_spots_do_not_tell_one_pattern_from_another() -> None:
    frames, optics, _ = taken(2, 3, "vesicles", 30.0, False)
    with pytest.raises(NoStripesError):
        estimate_parameters(frames, optics, beams=2)
