"""The simulated microscope under Micro-Manager's engine, and smart acquisition with it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fluorsr.acquire import acquire
from fluorsr.data.scene import Scene
from fluorsr.data.simulate import configure
from fluorsr.errors import InputError
from fluorsr.io.open import open_image
from fluorsr.models.load import load
from fluorsr.pipeline.memory import restore

pytest.importorskip("pymmcore_plus", reason="the extra `acquire` is not installed")
useq = pytest.importorskip("useq")
pytestmark = pytest.mark.filterwarnings("default")  # of the device library, which is not ours

SIDE, FIELD = 48, 96


@pytest.fixture
def core():
    from fluorsr.acquire.simulated import simulated_microscope  # noqa: PLC0415  (imports the extra)

    return simulated_microscope("vesicles", side=SIDE, field_px=FIELD, exposure_ms=1)


def test_the_camera_shows_the_specimen_where_the_stage_is_under_fresh_noise(core):
    scene = Scene(configure("confocal-280", fixed=True, size_px=FIELD), 0, 0, "vesicles")
    assert core.getPixelSizeUm() == pytest.approx(scene.pixel_um)
    field = scene.read(0, FIELD, 0, FIELD).degraded[0].astype(float)
    for y, x in ((0, 0), (-10, 7), (24, -24)):
        core.setXYPosition(x * scene.pixel_um, y * scene.pixel_um)
        first, second = (core.snap().astype(float) for _ in range(2))
        top, left = 24 + y, 24 + x
        expected = field[top : top + SIDE, left : left + SIDE]
        assert first.shape == (SIDE, SIDE)
        assert not np.array_equal(first, second)
        assert np.corrcoef(first.ravel(), expected.ravel())[0, 1] > 0.9
        assert abs(first.mean() - expected.mean()) < 0.05 * expected.std()
    core.setXYPosition(1e6, -1e6)
    assert core.getXYPosition() == pytest.approx((24 * scene.pixel_um, -24 * scene.pixel_um))
    core.setOriginXY()
    assert core.getXYPosition() == (0, 0)
    core.setXYPosition(-24 * scene.pixel_um, 24 * scene.pixel_um)
    assert core.getXYPosition() == pytest.approx((-24 * scene.pixel_um, 24 * scene.pixel_um))


def test_exposures_share_the_camera_but_not_the_noise():
    """Of one scene: the first is the one that training sees, each other is its own, again and again."""
    config = configure("confocal-280", fixed=True, size_px=32, offset_spread=50.0, read_noise=0.3, photons=10)
    scene = Scene(config, 0, 0, "vesicles")
    plain, zero, one, two, again = (
        scene.read(0, 32, 0, 32, **how).degraded[0].astype(float)
        for how in ({}, {"exposure": 0}, {"exposure": 1}, {"exposure": 2}, {"exposure": 1})
    )
    np.testing.assert_array_equal(plain, zero)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9  # offsets of 50 counts from pixel to pixel


def test_two_hundred_frames_lose_no_raw_frame_and_the_store_says_what_it_holds(core, small_model, tmp_path):
    raw = {}
    core.mda.events.frameReady.connect(lambda frame, event: raw.setdefault(event.index["t"], frame.copy()))
    model = load(small_model, precision="fp32")
    lapse = useq.MDASequence(time_plan={"interval": 0, "loops": 200})
    done = acquire(core, lapse, tmp_path / "live.ome.zarr", model, queue=2, show=lambda *_: time.sleep(0.002))
    assert sorted(raw) == list(range(200))
    assert (done.frames, done.restored + len(done.dropped)) == (200, 200)
    image = open_image(tmp_path / "live.ome.zarr")
    assert image.pixel_size_um["x"] == pytest.approx(core.getPixelSizeUm() / 2)
    dropped = {index.t for index in done.dropped}
    pixels = image.to_numpy()
    for t in range(200):
        expected = np.zeros_like(pixels[t]) if t in dropped else restore(raw[t], model).data if t % 40 == 0 else None
        if expected is not None:
            np.testing.assert_array_equal(pixels[t], expected)
    assert {t for t in range(200) if not pixels[t].any()} == dropped


def test_faults():
    from fluorsr.acquire.simulated import simulated_microscope  # noqa: PLC0415

    with pytest.raises(InputError, match="a camera of 128 pixels does not fit into a field of 64"):
        simulated_microscope(field_px=64)
    with pytest.raises(InputError, match="sim-3x5 takes 15 raw frames for an image; this camera takes presets of one"):
        simulated_microscope(preset="sim-3x5", field_px=64, side=32)
