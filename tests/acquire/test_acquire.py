"""Live restoration with Micro-Manager's demo camera."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import zarr

from fluorsr.acquire import acquire
from fluorsr.errors import InputError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.models.load import load
from fluorsr.pipeline.memory import restore

pymmcore_plus = pytest.importorskip("pymmcore_plus", reason="the extra `acquire` is not installed")
useq = pytest.importorskip("useq")
pytestmark = pytest.mark.filterwarnings("default")  # of the device library, which is not ours


@pytest.fixture
def core():
    mm_test_adapters = pytest.importorskip("mm_test_adapters", reason="no demo camera: pip install mm-test-adapters")
    core = pymmcore_plus.CMMCorePlus()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    try:
        core.loadDevice("Camera", "DemoCamera", "DCam")
    except Exception as error:  # noqa: BLE001 - whatever the native library says
        pytest.skip(f"the demo camera does not load here: {error}")
    core.initializeDevice("Camera")
    core.setCameraDevice("Camera")
    core.setProperty("Camera", "PixelType", "16bit")
    core.setProperty("Camera", "OnCameraCCDXSize", 64)
    core.setProperty("Camera", "OnCameraCCDYSize", 48)
    core.setExposure(1)
    return core


def sequence(frames):
    return useq.MDASequence(time_plan={"interval": 0, "loops": frames})


def test_no_raw_frame_is_lost_and_what_is_dropped_is_named(core, small_model, tmp_path):
    raw = []
    core.mda.events.frameReady.connect(lambda frame, event: raw.append(event.index["t"]))
    done = acquire(core, sequence(200), tmp_path / "live.ome.zarr", small_model, queue=2)
    assert raw == list(range(200))
    assert done.frames == 200
    assert done.restored + len(done.dropped) == 200
    image = open_image(tmp_path / "live.ome.zarr")
    assert (image.axes, image.shape, image.dtype.name) == ("tyx", (200, 96, 128), "uint16")
    dropped = {index.t for index in done.dropped}
    empty = {t for t in range(200) if not image.read(PlaneIndex(t=t), slice(None), slice(None)).any()}
    assert empty == dropped
    noted = zarr.open_group(tmp_path / "live.ome.zarr", mode="r").attrs["fluorsr-acquisition"]
    assert {index["t"] for index in noted["dropped"]} == dropped


def test_without_a_limit_every_frame_is_restored_as_fluorsr_does(core, small_model, tmp_path):
    model = load(small_model, precision="fp32")
    frames, shown = {}, {}
    core.mda.events.frameReady.connect(lambda frame, event: frames.setdefault(event.index["t"], frame.copy()))
    done = acquire(
        core, sequence(6), None, model, queue=None, show=lambda index, pixels: shown.update({index.t: pixels})
    )
    assert (done.restored, done.dropped) == (6, ())
    for t in range(6):
        np.testing.assert_array_equal(shown[t], restore(frames[t], model).data)


def test_a_slow_viewer_does_not_hold_the_camera_up(core, small_model):
    done = acquire(core, sequence(40), None, small_model, queue=1, show=lambda *_: time.sleep(0.2))
    assert done.frames == 40
    assert len(done.dropped) > 10


def test_faults(core, small_model, save_script, tmp_path):
    def broken(index, pixels):
        raise ZeroDivisionError("the viewer fell over")

    raw = []
    core.mda.events.frameReady.connect(lambda frame, event: raw.append(event.index["t"]))
    with pytest.raises(ZeroDivisionError, match="the viewer fell over"):
        acquire(core, sequence(5), None, small_model, show=broken)
    assert raw == list(range(5))
    with pytest.raises(InputError, match=r"the sequence has the axes p beside t, c and z"):
        acquire(core, useq.MDASequence(stage_positions=[(0, 0), (1, 1)]), None, small_model)
    with pytest.raises(InputError, match="queue 0 must be at least 1"):
        acquire(core, sequence(2), None, small_model, queue=0)
    three = save_script(torch.nn.Conv2d(3, 1, 1), tmp_path / "three.pt")
    with pytest.raises(InputError, match="makes one image of 3 frames"):
        acquire(core, sequence(2), None, three)
