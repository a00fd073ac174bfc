"""Training batches: the same for a step whatever came before, aligned with their targets, normalised by the field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from fluorsr.data.patches import Patches, normalised
from fluorsr.data.simulate import SimulationConfig, simulate_pair
from fluorsr.errors import InputError

CONFIG = SimulationConfig(size_px=48, photons=(500, 500), density=(2, 2))


def patches(jitter: float = 0.3) -> Patches:
    return Patches(CONFIG, seed=3, batch=6, patch=24, pool=4, refresh=0.5, percentiles=(0.1, 99.9), jitter=jitter)


def test_a_steps_batch_depends_on_the_step_only() -> None:
    walked, direct = patches(), patches()
    for step in range(7):
        inputs, targets = walked(step)
    assert inputs.shape == (6, 1, 24, 24)
    assert targets.shape == (6, 1, 48, 48)
    again = direct(6)
    assert torch.equal(inputs, again[0])
    assert torch.equal(targets, again[1])
    assert not torch.equal(inputs, direct(7)[0])


def test_targets_lie_over_their_inputs() -> None:
    """Blurred and binned, a target looks like its input in every orientation: a wrong flip would not."""
    inputs, targets = patches()(0)
    binned = functional.avg_pool2d(targets, 2)
    for x, y in zip(inputs.flatten(1), binned.flatten(1), strict=True):
        assert np.corrcoef(x, y)[0, 1] > 0.7


def test_normalisation_is_the_fields() -> None:
    field = simulate_pair(CONFIG, 3, 0)
    pixels, target = normalised(field, (0.1, 99.9))
    low, high = np.percentile(field.degraded, (0.1, 99.9))
    np.testing.assert_allclose(pixels.numpy(), (field.degraded - low) / (high - low), atol=1e-5)
    np.testing.assert_allclose(target.numpy(), (field.target - low) / (high - low), rtol=1e-4, atol=1e-5)


def test_a_patch_larger_than_the_field_is_refused() -> None:
    with pytest.raises(InputError, match="patch 64 must fit the simulated field of 48 pixels"):
        Patches(CONFIG, 1, 1, 64, 1, 1.0, (0.1, 99.9), 0.0)
