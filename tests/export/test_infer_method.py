"""`infer` of an exported file: raw frames of every dtype and size against fluorsr's own pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fluorsr
from fluorsr.errors import InputError, ModelError
from fluorsr.export import torchscript
from fluorsr.export.operators import newer_than_2_0, plain
from fluorsr.export.parity import check
from fluorsr.export.program import limits, reflected, window
from fluorsr.export.torchscript import export_torchscript
from fluorsr.image import Image
from fluorsr.models.architectures import ARCHITECTURES
from fluorsr.models.load import load_module
from fluorsr.models.torchscript import quiet_jit
from fluorsr.normalize import fit


def export(model, folder, **options):
    path = folder / "model.ts"
    export_torchscript(model, path, **options)
    with quiet_jit():
        return torch.jit.load(path)


def frame(size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.5, 60, size)).clip(0, 255).astype(dtype)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_agrees_with_python(architecture, make_weights, tmp_path):
    path = tmp_path / "model.ts"
    export_torchscript(make_weights(architecture), path)
    parity = check(path, count=8)
    assert len(parity.comparisons) == 16
    assert parity.holds, parity.comparisons


@pytest.mark.parametrize("architecture", ["edsr", "sr3"])
def test_the_centre_is_what_forward_gives(architecture, make_weights, tmp_path):
    """And in tiles that have none, everything."""
    program = export(make_weights(architecture), tmp_path)
    halo = program.scale * program.halo
    tiles, origin = torch.rand(2, 1, halo + 8, halo + 11), torch.tensor([[-3, 5], [70, 9]])
    whole, centre = program(tiles, origin, 3), program.centre(tiles, origin, 3)
    torch.testing.assert_close(centre[..., halo:-halo, halo:-halo], whole[..., halo:-halo, halo:-halo])
    assert torch.equal(centre, whole) == (architecture == "edsr")
    assert torch.equal(program.centre(tiles[..., :halo, :], origin, 3), program(tiles[..., :halo, :], origin, 3))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_frame_equals_what_fluorsr_restores(dtype, make_weights, tmp_path):
    weights = make_weights("edsr")
    program = export(weights, tmp_path, tile=96)
    pixels = frame((71, 190), dtype)
    found = program.infer(torch.from_numpy(pixels)).numpy()
    expected = fluorsr.restore(pixels, weights, precision="fp32", tile=96, dtype="float32").data
    assert found.dtype == dtype
    assert found.shape == (142, 380)
    fitted = fit(Image(pixels, "yx"))
    assert (program.low, program.high) == (fitted.low, fitted.high)
    worst = np.abs(found - (expected.clip(*limits(torch.from_numpy(pixels).dtype)) if dtype != "float32" else expected))
    assert worst.max() <= (0.5 if dtype != "float32" else 0) + 1e-5 * np.ptp(expected)


def test_shapes_of_frames(make_weights, tmp_path):
    program = export(make_weights("edsr"), tmp_path)
    one = torch.from_numpy(frame((20, 31), "uint8"))
    two = torch.from_numpy(frame((20, 31), "uint8", seed=1))
    plane = program.infer(one)
    assert plane.shape == (40, 62)
    assert torch.equal(program.infer(one[None])[0], plane)
    both = program.infer(torch.stack([one, two])[:, None])
    assert both.shape == (2, 1, 40, 62)
    assert torch.equal(both[0, 0], plane)
    assert torch.equal(both[1, 0], program.infer(two))
    with pytest.raises(torch.jit.Error, match=r"infer was given \[3, 20, 31\]; this model takes \[1, Y, X\]"):
        program.infer(torch.zeros(3, 20, 31))
    with pytest.raises(torch.jit.Error, match="infer takes uint8, int16"):
        program.infer(torch.zeros(20, 31, dtype=torch.bool))


def test_saturation_and_rounding(make_weights, tmp_path):
    """An identity in place of the network shows what happens around it."""
    program = export(make_weights("edsr"), tmp_path, normalise="0,2")

    def finish(values: list[float], dtype: torch.dtype) -> list[int]:
        least, most = limits(dtype)
        y = torch.nan_to_num(torch.round(torch.tensor(values)), 0.0, most, least).clamp(least, most)
        return y.to(dtype).tolist()

    assert finish([0.5, 1.5, -3, 300, float("nan"), float("inf")], torch.uint8) == [0, 2, 0, 255, 0, 255]
    assert finish([70000, -1, 65534.6], torch.uint16) == [65535, 0, 65535]
    bright = program.infer(torch.full((9, 9), 255, dtype=torch.uint8) * torch.eye(9, dtype=torch.uint8))
    wide = program.infer(torch.full((9, 9), 255.0) * torch.eye(9))
    assert wide.max() > 255 or wide.min() < 0  # something there to saturate
    assert torch.equal(bright, wide.round().clamp(0, 255).to(torch.uint8))


def test_nan_and_constant_frames(make_weights, tmp_path):
    program = export(make_weights("edsr"), tmp_path)
    pixels = frame((30, 30), "float32")
    holed = pixels.copy()
    holed[3, 4] = np.nan
    found = program.infer(torch.from_numpy(holed))
    assert torch.isfinite(found).all()
    filled = np.where(np.isnan(holed), np.float32(program.low), holed)
    assert torch.allclose(found, program.infer(torch.from_numpy(filled)), rtol=1e-5, atol=1e-3)
    assert torch.isfinite(program.infer(torch.full((8, 8), float("nan")))).all()
    flat = program.infer(torch.full((8, 8), 7, dtype=torch.uint16))
    assert flat.dtype == torch.uint16
    assert abs(int(flat.to(torch.int32).max()) - 7) <= 1


def test_the_running_estimate_does_not_flicker_and_follows(make_weights, tmp_path):
    """Frames of one scene whose brightest spot blinks: percentiles of single frames jump, their mean does not."""
    running = export(make_weights("edsr"), tmp_path, normalise="running")
    each = export(make_weights("edsr"), tmp_path, normalise="frame")
    rng = np.random.default_rng(0)
    scene = frame((32, 32), "float32")
    highs = {"running": [], "each": []}
    for i in range(80):
        pixels = torch.from_numpy(scene * np.float32(1 + 0.3 * rng.standard_normal() + (3 if i >= 60 else 0)))
        running.infer(pixels)
        each.infer(pixels)
        highs["running"].append(running.high)
        highs["each"].append(each.high)
    steady = slice(20, 60)
    assert np.std(highs["running"][steady]) < 0.3 * np.std(highs["each"][steady])
    assert highs["running"][-1] > 0.5 * np.mean(highs["each"][60:])  # within 20 frames of a fourfold change


def test_tiles_change_nothing_where_exact(make_weights, tmp_path):
    pixels = torch.from_numpy(frame((130, 97), "float32"))
    whole = export(make_weights("edsr"), tmp_path).infer(pixels)
    tiled = export(make_weights("edsr"), tmp_path, tile=48).infer(pixels)
    assert float((whole - tiled).abs().max()) <= 1e-5 * float(whole.max() - whole.min())


def test_bf16_inside(make_weights, tmp_path):
    program = export(make_weights("edsr"), tmp_path, precision="bf16")
    module, _ = load_module(make_weights("edsr"))
    tiles = torch.rand(2, 1, 24, 40)
    found, expected = program(tiles), module(tiles)
    assert found.dtype == torch.float32
    worst = float((found - expected).abs().max())
    assert 1e-6 < worst < 0.05
    assert check(tmp_path / "model.ts", count=4).limit == torchscript.PARITY["bf16"]


def test_windows_sum_to_one():
    fade, stride = 8, 20
    total = torch.zeros(3 * stride + fade)
    for k in range(3):
        total[k * stride : (k + 1) * stride + fade] += window(stride + fade, fade, k == 0, k == 2, torch.device("cpu"))
    assert torch.allclose(total, torch.ones_like(total))


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_reflection_is_numpys(size):
    expected = np.pad(np.arange(size), (25, 30), mode="reflect") if size > 1 else np.zeros(56, int)
    assert reflected(-25, size + 55, size, torch.device("cpu")).tolist() == expected.tolist()


def test_operators_newer_than_libtorch_2_0_are_named(tmp_path, monkeypatch, make_weights):
    assert plain('aten::f.x(Tensor(a!) self, SymInt[2] size=[1, 2], *, str m="a,b", int? n=None) -> Tensor(a!)') == (
        "aten::f.x(Tensor self, int[] size, *, str m, int? n) -> Tensor"
    )

    class Newer(torch.nn.Module):
        def forward(self, x):
            return torch.rms_norm(x, [x.size(-1)])  # since 2.4

    with quiet_jit():
        program = torch.jit.script(Newer())
    assert [schema.partition("(")[0] for schema in newer_than_2_0(program)] == ["aten::rms_norm"]
    monkeypatch.setattr(torchscript, "newer_than_2_0", lambda _: ["aten::rms_norm(...)"])
    with pytest.raises(ModelError, match=r"operators that LibTorch 2\.0 does not have: aten::rms_norm"):
        export_torchscript(make_weights("edsr"), tmp_path / "x.ts")


def test_options_that_do_not_fit(make_weights, tmp_path):
    weights: Path = make_weights("edsr")
    for options, message in (
        ({"tile": 8}, "tile"),
        ({"precision": "fp16"}, "precision 'fp16' is not one of fp32, bf16"),
        ({"normalise": "9,3"}, "normalise '9,3' is not frame, running or two rising counts"),
        ({"normalise": "sometimes"}, "not frame, running"),
    ):
        with pytest.raises(InputError, match=message):
            export_torchscript(weights, tmp_path / "x.ts", **options)
    other = tmp_path / "x.tsx"
    other.touch()
    with pytest.raises(InputError, match=r"x\.tsx is not an exported model; its suffix must be one of \.ts"):
        check(other)
