"""The simulator: what it makes against closed forms, and the same sample whatever is asked for before."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pydantic
import pytest
import torch

from fluorsr.data.presets import PRESETS
from fluorsr.data.scene import Scene
from fluorsr.data.simulate import SimulationConfig, configure, simulate_field, simulate_pair
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError

SINGLE = ("confocal-280", "confocal-sted", "widefield-sted", "widefield-sim")
STILL = {"haze": 0.0, "background": 1.0, "jitter_px": 0.0, "bidirectional_px": 0.0, "offset_spread": 0.0}


def test_sample_k_of_a_seed_is_always_the_same_and_no_other_is() -> None:
    config = SimulationConfig(size_px=32)
    first = simulate_pair(config, 7, 3)
    simulate_pair(config, 7, 2)
    second = simulate_pair(pickle.loads(pickle.dumps(config)), 7, 3)
    np.testing.assert_array_equal(first.degraded, second.degraded)
    np.testing.assert_array_equal(first.target, second.target)
    assert first.drawn == second.drawn
    assert not np.array_equal(first.degraded, simulate_pair(config, 7, 4).degraded)
    assert not np.array_equal(first.degraded, simulate_pair(config, 8, 3).degraded)


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_dtypes(preset: str) -> None:
    config = configure(preset, size_px=24)
    field = simulate_pair(config, 1, 0, "vesicles")
    assert (field.degraded.shape, field.degraded.dtype) == ((config.frames, 24, 24), np.uint16)
    assert (field.target.shape, field.target.dtype) == ((48, 48), np.float32)
    assert field.target_pixel_size_um == field.pixel_size_um / 2
    assert field.photons == json.loads(json.dumps(field.drawn))["photons"]


@pytest.mark.parametrize("structure", ["microtubules", "nuclei", "vesicles", "lines"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_confocal_target_has_the_inputs_mean_and_is_sharper(structure: str, scale: int) -> None:
    """Light that leaves the field over its edge differs by what lies there: some per cent of a small field."""
    field = simulate_field(96, structure, 11, photons=500, scale=scale, **STILL)
    light = field.target - field.drawn["offset"]
    assert light.mean() == pytest.approx(field.degraded.mean() - field.drawn["offset"], rel=0.04)
    binned = light.reshape(96, scale, 96, scale).mean((1, 3))
    assert np.quantile(binned, 0.999) > np.quantile(field.degraded - field.drawn["offset"], 0.999)


@pytest.mark.parametrize("preset", SINGLE)
def test_photons_are_those_of_the_brightest_pixels(preset: str) -> None:
    changes = STILL | {"read_noise": 0.0, "photons": 1e4, "quantum_efficiency": 1.0}
    field = simulate_field(64, "microtubules", 3, preset=preset, **changes)
    peak = (np.quantile(field.degraded, 0.999) - field.drawn["offset"]) / field.drawn["gain"]
    assert peak == pytest.approx(1e4 + 1, rel=0.03)


def test_noise_is_that_of_the_detector() -> None:
    """Where there is only background: variance = gain^2 (photo-electrons + read_noise^2) + 1/12."""
    field = simulate_field(
        128, "points", 3, **(STILL | {"density": 1e-4, "background": 40.0, "read_noise_spread": 0.0})
    )
    drawn = field.drawn
    electrons = 40 * drawn["quantum_efficiency"]
    dark = field.target <= np.quantile(field.target, 0.25)
    pixels = field.degraded[0][dark[::2, ::2]].astype(np.float64)
    assert pixels.mean() == pytest.approx(drawn["offset"] + drawn["gain"] * electrons, rel=0.01)
    wanted = drawn["gain"] ** 2 * (electrons + drawn["read_noise"] ** 2) + 1 / 12
    assert pixels.var() == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_field_is_empty(structure: str) -> None:
    config = SimulationConfig(size_px=64, structures={structure: 1.0})
    for index in range(6):
        field = simulate_pair(config, 5, index)
        light = field.target.max() - field.target.min()
        assert light > 0.2 * field.photons * field.drawn["gain"] * field.drawn["quantum_efficiency"]


def test_haze_is_smooth_and_a_confocal_hardly_sees_it() -> None:
    means = {}
    for preset in ("widefield-sted", "confocal-280"):
        fields = [simulate_field(64, "points", 9, preset=preset, **(STILL | {"haze": haze})) for haze in (0.0, 1.0)]
        clear, hazy = (each.degraded.astype(np.float64) for each in fields)
        usual = fields[0].photons * fields[0].drawn["gain"] * fields[0].drawn["quantum_efficiency"]
        means[preset] = (hazy.mean() - clear.mean()) / usual
        added = fields[1].target - fields[0].target
        assert added.std() < 0.05 * usual
        assert np.abs(np.diff(added)).max() < 0.01 * usual
    assert 0.4 < means["widefield-sted"] < 2.0
    assert means["confocal-280"] < 0.1 * means["widefield-sted"]


def test_what_is_out_of_focus_is_weak_and_smooth_in_a_target_of_wide_field() -> None:
    """A filament that the input sees as a wide blur must be no filament in the target."""
    near, far = (simulate_field(96, "lines", 2, preset="widefield-sted", focus_um=z, **STILL) for z in (0.0, 1.6))
    targets = [(f.target - f.drawn["offset"]) / f.drawn["gain"] / f.drawn["quantum_efficiency"] for f in (near, far)]
    inputs = [
        (f.degraded[0] - f.drawn["offset"]) / f.drawn["gain"] / f.drawn["quantum_efficiency"] for f in (near, far)
    ]
    # Photons are those of the input's brightest pixels, so out of focus there is more light in all.
    share = [t.mean() / i.mean() for t, i in zip(targets, inputs, strict=True)]
    assert share[1] < 0.1 * share[0]
    edges = [np.abs(np.diff(t)).mean() / t.mean() for t in targets]
    assert edges[1] < 0.2 * edges[0]


@pytest.mark.parametrize("preset", SINGLE)
def test_a_block_is_the_same_whatever_else_is_read(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluorsr.data.scene.TILE_PX", 32)
    config = configure(preset, size_px=80, structures={"microtubules": 1.0}, jitter_px=0.3)
    whole = Scene(config, 4, 1).read(0, 80, 0, 80)
    scene = Scene(config, 4, 1)
    for y0, y1, x0, x1 in ((70, 80, 3, 64), (0, 33, 31, 80), (32, 64, 32, 64)):
        part = scene.read(y0, y1, x0, x1)
        np.testing.assert_array_equal(part.degraded, whole.degraded[:, y0:y1, x0:x1])
        np.testing.assert_array_equal(part.target, whole.target[2 * y0 : 2 * y1, 2 * x0 : 2 * x1])


@pytest.mark.parametrize("preset", SINGLE)
def test_tiles_leave_no_seam(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise-free target across the border of two tiles is that of one tile."""
    config = configure(preset, fixed=True, size_px=96, structures={"microtubules": 1.0}, photons=1e4)
    whole = Scene(config, 4, 1)
    monkeypatch.setattr("fluorsr.data.scene.TILE_PX", 48)
    tiled = Scene(config, 4, 1)
    # The same place and scale of light, which are chosen by the tiles.
    tiled._origin, tiled._photons_per_light = whole._origin, whole._photons_per_light
    tiled._held, tiled._points = {}, {}
    expected, found = whole.read(0, 96, 0, 96).target, tiled.read(0, 96, 0, 96).target
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.ptp(expected))


def test_lines_of_a_scan_jitter_in_the_input_alone() -> None:
    still, shaken = (simulate_field(64, "lines", 6, **(STILL | {"jitter_px": j, "photons": 1e5})) for j in (0.0, 2.0))
    np.testing.assert_allclose(still.target, shaken.target, rtol=1e-2)
    rough = [np.abs(np.diff(f.degraded[0].astype(np.float64), axis=0)).mean() for f in (still, shaken)]
    assert rough[1] > 1.5 * rough[0]


def test_a_finer_scale_shows_the_same_specimen() -> None:
    two, four = (simulate_field(32, "actin", 6, scale=scale, **STILL).target for scale in (2, 4))
    np.testing.assert_allclose(four.reshape(64, 2, 64, 2).mean((1, 3)), two, atol=0.02 * np.ptp(two))


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InputError, match=r"there is no structure 'tubulin'; use one of microtubules, "):
        simulate_field(64, "tubulin", 1)
    with pytest.raises(InputError, match=r"cannot simulate this: haze: .*low <= high.*; photons: .*starts above 0"):
        simulate_field(64, "vesicles", 1, photons=-5, haze=(2, 1))
    with pytest.raises(InputError, match="there is no preset 'sted'; use one of confocal-280, confocal-sted"):
        simulate_field(64, "vesicles", 1, preset="sted")
    with pytest.raises(InputError, match="seed -1 and index 0 must be at least 0"):
        simulate_field(64, "vesicles", -1)
    with pytest.raises(InputError, match=r"target_fwhm_um 0\.4 must be narrower than the confocal spot"):
        simulate_field(64, "vesicles", 1, target_fwhm_um=0.4)
    with pytest.raises(InputError, match=r"rows 0 to 65 and columns 0 to 64 must lie within the field of 64 pixels"):
        Scene(SimulationConfig(size_px=64), 1, 1).read(0, 65, 0, 64)
    with pytest.raises(pydantic.ValidationError, match="weights of at least 0"):
        SimulationConfig(structures={"tubulin": 1.0})
    with pytest.raises(
        pydantic.ValidationError,
        match=r"(?s)frames 15 must be 1 for confocal-sted; .*numerical_aperture 1\.6 must be below index_immersion",
    ):
        SimulationConfig(frames=15, numerical_aperture=(1.0, 1.6))
    with pytest.raises(pydantic.ValidationError, match=r"period_um 0\.1 must be at least .*cannot draw finer stripes"):
        SimulationConfig(modality="sim-raw", frames=15, period_um=(0.1, 0.5))
    with pytest.raises(pydantic.ValidationError, match="leave no negative light"):
        SimulationConfig(modality="sim-raw", frames=15, second_modulation=(0.9, 0.9), modulation=(0.9, 1.0))


def test_torch_threads_do_not_change_a_sample() -> None:
    config = SimulationConfig(size_px=64)
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(simulate_pair(config, 3, 3))
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0].degraded, found[1].degraded)
    np.testing.assert_array_equal(found[0].target, found[1].target)
