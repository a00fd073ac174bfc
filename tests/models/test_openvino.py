"""Networks through OpenVINO: torch's numbers to rounding, the same bits for any threads, and clear refusals."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.errors import InputError, MissingDependencyError
from fluorsr.models.openvino import OpenVinoNetwork
from fluorsr.restorer import RestorerSpec

MODEL = "edsr-confocal-sted-x2"
IMAGE = np.random.default_rng(0).poisson(60, (100, 130)).astype(np.uint16)
USUAL = {"dtype": "float32", "tile": 136}


def test_it_is_torchs_result_to_rounding_whatever_the_tile_and_the_threads() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    torchs = fluorsr.restore(IMAGE, MODEL, precision="fp32", **USUAL).data
    span = np.ptp(torchs)
    one = fluorsr.restore(IMAGE, MODEL, precision="fp32", engine="openvino", threads=1, **USUAL).data
    assert 0 < np.abs(one - torchs).max() < 1e-4 * span
    two = fluorsr.restore(IMAGE, MODEL, precision="fp32", engine="openvino", threads=2, **USUAL).data
    np.testing.assert_array_equal(two, one)
    tiled = fluorsr.restore(IMAGE, MODEL, precision="fp32", engine="openvino", **{**USUAL, "tile": 104}).data
    assert np.abs(tiled - one).max() < 1e-4 * span
    half = fluorsr.restore(IMAGE, MODEL, precision="bf16", engine="openvino", **USUAL).data
    assert 1e-4 * span < np.abs(half - torchs).max() < 0.1 * span


class SignalStack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int, int]:
    """Of this thread, as the kernel has it."""
    own = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(own)) == 0
    return own.start, own.flags, own.size


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are looked at as Linux has them")
def test_the_callers_thread_keeps_its_signal_stack() -> None:
    """OpenVINO's own, freed with the model, would make the next signal end the process."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    before = signal_stack()
    model = fluorsr.load(MODEL, precision="fp32", engine="openvino")
    fluorsr.restore(IMAGE, model, threads=1, **USUAL)
    assert signal_stack() == before
    del model
    gc.collect()
    assert signal_stack() == before


def test_a_run_with_it_is_recorded_as_such(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    zarr.save(str(tmp_path / "in.zarr"), IMAGE[:40, :60])
    options = {"model": MODEL, "precision": "fp32"}
    fluorsr.infer(tmp_path / "in.zarr", tmp_path / "out.zarr", engine="openvino", **options)
    assert fluorsr.verify(tmp_path / "out.zarr", repair=True).complete
    with pytest.raises(InputError, match="engine: was 'openvino', now None"):
        fluorsr.infer(tmp_path / "in.zarr", tmp_path / "out.zarr", resume=True, **options)


def test_what_it_does_not_run_is_refused(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for model, why in (
        (small_model, r"runs networks of fluorsr's own \(\.safetensors\), not .*small\.pt; leave out --engine"),
        ("richardson-lucy", r"not richardson-lucy; leave out --engine"),
    ):
        with pytest.raises(InputError, match=why):
            fluorsr.load(model, engine="openvino")
    with pytest.raises(
        InputError, match="engine openvino runs on the CPU, not on cuda; leave out --engine or --device"
    ):
        fluorsr.load(MODEL, engine="openvino", device="cuda")
    with pytest.raises(InputError, match="engine 'onnx' is not one of torch, openvino"):
        fluorsr.load(MODEL, engine="onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        MissingDependencyError, match=r"openvino, which is not installed; try: pip install 'fluorsr\[cpu\]'"
    ):
        fluorsr.load(MODEL, engine="openvino")


def test_frames_and_batches_keep_their_order() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    mix = torch.nn.Conv2d(3, 1, 1, bias=False).eval().requires_grad_(False)
    network = OpenVinoNetwork(mix, RestorerSpec("mix", frames=3), precision="fp32")
    tiles = torch.rand(4, 3, 16, 24)
    found = network.restore(tiles, torch.zeros(4, 2, dtype=torch.int64), 0)
    torch.testing.assert_close(found, mix(tiles))
