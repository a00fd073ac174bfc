"""tools/bench/live.py watches a stream through fluorsr-host."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from fluorsr.export.torchscript import export_torchscript
from fluorsr.models.architectures import build
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (ROOT / "build/host/fluorsr-host").is_file(), reason="not built: bash tools/host.sh builds it")
def test_a_stream_is_watched(tmp_path, monkeypatch, capsys):
    place = importlib.util.spec_from_file_location("live", ROOT / "tools/bench/live.py")
    live = importlib.util.module_from_spec(place)
    monkeypatch.setitem(sys.modules, "live", live)
    place.loader.exec_module(live)

    torch.manual_seed(0)
    weights, module = tmp_path / "tiny.safetensors", build("edsr", {"blocks": 1, "width": 4})
    spec = RestorerSpec("tiny", scale=2, halo=8)
    save_weights(weights, module, architecture="edsr", config={"blocks": 1, "width": 4}, spec=spec, notes={})
    scenes = live.camera(192, 1)
    assert len(scenes) == live.SCENES
    assert scenes[0].shape == (1, 192, 192)  # more than a pipe holds: the host keeps pace with the watcher
    export_torchscript(weights, tmp_path / "tiny.ts")
    found = live.host(tmp_path / "tiny.ts", scenes, 300, 1, "cpu", None)
    assert found.frames == 300
    assert 0 < found.p50 <= found.p99
    assert max(found.gained_mib) < 8

    monkeypatch.setattr(live, "camera", lambda size, frames: [scenes[0][:, :size, :size].copy()])
    arguments = ["live.py", "--model", str(weights), "--frames", "30", "--loop-frames", "3", "--size", "32"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    live.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 2 * 3
