"""Training batches: the same for a step whatever came before, aligned with their targets, normalised by the field."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fluorsr.data.augment import Augmentation, Orientation
from fluorsr.data.patches import Patches, make_field, normalised
from fluorsr.data.simulate import SimulationConfig, configure, simulate_pair
from fluorsr.errors import InputError

IN_FOCUS = {"haze": (0, 0), "thickness": (0, 0), "focus_um": (0, 0)}
CONFIG = SimulationConfig.model_validate(
    {"size_px": 48, "photons": (500, 500), "structures": {"mitochondria": 1.0}, **IN_FOCUS}
)


def patches(batch: int = 6, **changes: Any) -> Patches:
    varied = Augmentation(gain=0.3, offset=0.04)
    return Patches(
        CONFIG, 3, batch, patch=24, pool=4, refresh=0.5, percentiles=(0.1, 99.9), augmentation=varied, **changes
    )


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
    alike = [np.corrcoef(x, y)[0, 1] for x, y in zip(inputs.flatten(1), binned.flatten(1), strict=True)]
    assert np.mean(alike) > 0.7
    assert min(alike) > 0.2


def test_normalisation_is_the_fields() -> None:
    field = simulate_pair(CONFIG, 3, 0)
    pixels, target = normalised(field, (0.1, 99.9))
    low, high = np.percentile(field.degraded, (0.1, 99.9))
    np.testing.assert_allclose(pixels[0], (field.degraded[0] - low) / (high - low), atol=1e-5)
    np.testing.assert_allclose(target[0], (field.target - low) / (high - low), rtol=1e-4, atol=1e-5)


def test_a_target_of_raw_frames_is_0_where_nothing_is_in_focus_however_bright_the_haze() -> None:
    """What cannot be told from frames, whose own 0 is their haze, would only teach blotches."""
    changes = {"modality": "sim-raw", "frames": 15, "haze": (1, 1), "size_px": 48, "structures": {"vesicles": 1.0}}
    pixels, target = normalised(simulate_pair(configure("sim-3x5", fixed=True, **changes), 3, 0), (0.1, 99.9))
    assert pixels.shape == (15, 48, 48)
    assert abs(float(np.percentile(target, 10))) < 1e-3
    assert target.max() > 0.2


def test_patches_of_orders_lie_over_their_targets_in_every_orientation() -> None:
    config = configure("sim-3x5", size_px=48, photons=2000.0, structures={"mitochondria": 1.0}, haze=0.0, thickness=0.1)
    made = Patches(config, 3, 8, 24, 4, 0.5, (0.1, 99.9), Augmentation(packed=2), orders=True)
    inputs, targets = made(0)
    assert inputs.shape == (8, 4 * 7, 24, 24)
    wide = functional.pixel_shuffle(inputs, 2)[:, 0]
    alike = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(wide, targets, strict=True)]
    assert min(alike) > 0.7
    turned = Augmentation(packed=2).orient(inputs[0], targets[0], Orientation(1, mirror=True))
    assert torch.equal(
        functional.pixel_shuffle(turned[0], 2),
        Orientation(1, mirror=True).apply(functional.pixel_shuffle(inputs[0], 2)),
    )


def test_a_patch_larger_than_the_field_is_refused() -> None:
    with pytest.raises(InputError, match="patch 64 must fit the simulated field of 48 pixels"):
        Patches(CONFIG, 1, 1, 64, 1, 1.0, (0.1, 99.9))
    with pytest.raises(InputError, match="pool 4 must be at least the number of processes, 5"):
        patches(share=(0, 5))


def test_workers_make_the_same_batches() -> None:
    with ThreadPoolExecutor(2) as executor:
        made, asked = patches(executor=executor), patches()
        for step in (0, 1, 5):
            for a, b in zip(made(step), asked(step), strict=True):
                assert torch.equal(a, b)


def test_processes_share_the_fields_and_draw_their_own_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes every second field, and no two make one twice."""
    made: list[list[int]] = [[], []]
    batches = []
    for place in (0, 1):

        def make(config: SimulationConfig, seed: int, index: int, *rest: Any, place: int = place, **more: Any) -> Any:
            made[place].append(index)
            return make_field(config, seed, index, *rest, **more)

        monkeypatch.setattr("fluorsr.data.patches.make_field", make)
        part = patches(3, share=(place, 2))
        batches.append([part(step)[0] for step in range(4)])
    assert made == [[0, 2, 4], [1, 3]]
    assert not torch.equal(batches[0][0], batches[1][0])
