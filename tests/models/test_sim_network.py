"""A network of orders as a restorer of raw frames: the plane's stripes are measured once, and tiles agree with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from fluorsr.classical.sim_parameters import NoStripesError
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.errors import ModelError
from fluorsr.evaluate.restore import restore_field
from fluorsr.export.source import open_source
from fluorsr.models.architectures import build
from fluorsr.models.load import LoadedModel, load
from fluorsr.models.reach import measure_module
from fluorsr.models.sim_network import SimNetwork
from fluorsr.models.unet_sim import UNetSIMConfig
from fluorsr.models.weights import save_weights
from fluorsr.restorer import MeasuringRestorer, RestorerSpec

CONFIG = {"frames": 15, "widths": [4, 6], "scale": 2, "periods_um": [0.42, 0.56]}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    module = build("unet_sim", CONFIG).eval()
    spec = RestorerSpec("orders", **asdict(measure_module(module)), pixel_size_um=0.062)
    file = tmp_path_factory.mktemp("orders") / "orders.safetensors"
    save_weights(file, module, architecture="unet_sim", config=CONFIG, spec=spec, notes={})
    return file


@pytest.fixture(scope="module")
def model(path: Path) -> LoadedModel:
    return load(path, precision="fp32", pixel_size_um=0.062)


@pytest.fixture(scope="module")
def field() -> Field:
    return simulate_pair(configure("sim-3x5", fixed=True, size_px=96, haze=0.0, photons=2000.0), 11, 0, "microtubules")


def test_from_outside_it_takes_raw_frames_and_measures(model: LoadedModel) -> None:
    assert (model.spec.frames, model.spec.scale, model.spec.exact) == (15, 2, True)
    assert model.spec.halo % model.spec.multiple == 0
    assert isinstance(model.network, MeasuringRestorer)
    assert UNetSIMConfig(frames=9, scale=2, periods_um=(0.2, 0.3)).inputs == 28


def test_it_finds_the_stripes_that_were_drawn(model: LoadedModel, field: Field) -> None:
    assert isinstance(model.network, SimNetwork)
    frames = torch.from_numpy(field.degraded.astype(np.float32)) / 1000
    facts = model.network.measure(frames, (0, 0))
    np.testing.assert_allclose(facts["period_nm"], 1000 * field.drawn["period_um"], rtol=0.01)
    assert facts["level"] == pytest.approx(float(frames.mean()))
    moved = model.network.measure(frames, (10, 20))
    assert moved["wave_per_um"] == facts["wave_per_um"]
    assert moved["phase_rad"] != facts["phase_rad"]


def test_tiles_agree_with_the_whole_to_the_last_digits(model: LoadedModel, field: Field) -> None:
    assert isinstance(model.network, SimNetwork)
    frames = torch.from_numpy(field.degraded.astype(np.float32)) / 1000
    known = model.network.measured(model.network.measure(frames, (0, 0)))
    whole = known.restore(frames[None], torch.zeros(1, 2, dtype=torch.int64), 0)[0, 0]
    y, x, side, halo = 8, 20, 72, model.spec.halo
    part = known.restore(frames[None, :, y : y + side, x : x + side], torch.tensor([[y, x]]), 0)[0, 0]
    inside = slice(2 * halo, 2 * (side - halo))
    there = whole[2 * y : 2 * (y + side), 2 * x : 2 * (x + side)]
    torch.testing.assert_close(part[inside, inside], there[inside, inside], atol=1e-4, rtol=1e-4)


def test_a_field_goes_through_the_pipeline_and_frames_without_stripes_are_told(
    model: LoadedModel, field: Field
) -> None:
    assert restore_field(model, field.degraded).shape == (192, 192)
    noise = np.random.default_rng(0).poisson(100, (15, 64, 64)).astype(np.uint16)
    tiles, origin = torch.from_numpy(noise.astype(np.float32))[None], torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(NoStripesError):
        model.network.restore(tiles, origin, 0)


def test_nine_frames_tell_whether_they_are_of_two_beams_or_three(tmp_path: Path) -> None:
    """Two beams are the second order of stripes of twice the period, whether their vectors are found or handed over."""
    torch.manual_seed(0)
    config = {**CONFIG, "frames": 9}
    module = build("unet_sim", config).eval()
    spec = RestorerSpec("nine", **asdict(measure_module(module)), pixel_size_um=0.062)
    save_weights(tmp_path / "nine.safetensors", module, architecture="unet_sim", config=config, spec=spec, notes={})
    options = {"size_px": 128, "haze": 0.0, "photons": 1000.0, "pixel_size_um": 0.062}
    three = simulate_pair(configure("sim-3x5", fixed=True, **options), 11, 0, "microtubules")
    two = simulate_pair(configure("sim-3x3", fixed=True, **options), 11, 0, "microtubules")
    assert three.stripes is not None
    assert two.stripes is not None
    network = load(tmp_path / "nine.safetensors", precision="fp32", pixel_size_um=0.062).network
    assert isinstance(network, SimNetwork)
    for field, kept, true in (
        (three, [0, 1, 2, 5, 6, 7, 10, 11, 12], three.stripes.wave_per_um[::5]),
        (two, list(range(9)), two.stripes.wave_per_um[::3] / 2),
    ):
        frames = torch.from_numpy(field.degraded.astype(np.float32)[kept]) / 1000
        for beams, calibrated in ((None, network), (3 if field is three else 2, None)):
            facts = (calibrated or network.calibrated(true, beams or 3)).measure(frames, (0, 0))
            found = torch.tensor(facts["wave_per_um"])
            sign = torch.sign((found * true).sum(1, keepdim=True))
            torch.testing.assert_close(sign * found, true, atol=0.02, rtol=0)
        if field is two:
            phases, drawn = np.array(facts["phase_rad"]), two.stripes.phase_rad.reshape(3, 3).numpy()
            assert np.median(np.degrees(np.abs(np.angle(np.exp(1j * (2 * phases - drawn)))))) < 5


def test_what_it_cannot_do_is_told(path: Path) -> None:
    assert "not raw frames" in open_source(path).notes["takes"]
    for wrong in ({"frames": 1}, {"scale": 1}, {"cascade": True}, {"periods_um": (0.5, 0.4)}):
        with pytest.raises(ModelError, match="periods_um"):
            build("unet_sim", {**CONFIG, **wrong})
