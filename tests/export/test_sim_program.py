"""A program that takes raw SIM frames: the same image as fluorsr makes of them, and none that it fails on."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

import fluorsr
from fluorsr.classical.sim_autocorrelation import measure_stripes
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_stripes import Stripes
from fluorsr.cli.main import app
from fluorsr.data.scene import KEPT_FRAMES
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.errors import FormatError, InputError, ModelError
from fluorsr.export.formats import export_model
from fluorsr.export.parity import check, raw_frames
from fluorsr.export.source import Source, open_source
from fluorsr.image import Image
from fluorsr.models.architectures import build
from fluorsr.models.load import load
from fluorsr.models.reach import measure_module
from fluorsr.models.sim_network import USUAL
from fluorsr.models.torchscript import quiet_jit
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec

PIXEL_UM = 0.062
KEPT = {15: range(15), **KEPT_FRAMES}


@cache
def recording() -> NDArray[np.uint16]:
    """15 frames of simulated microtubules, [15, 150, 171]."""
    config = configure("sim-3x5", fixed=True, size_px=192, photons=2000.0, haze=0.0, pixel_size_um=PIXEL_UM)
    return simulate_pair(config, 3, 0, "microtubules").degraded[:, :150, :171].astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scope.json, and weights and programs of small networks: sim15.safetensors, sim15.ts, ..."""
    folder = tmp_path_factory.mktemp("sim")
    optics = SimOptics(microscope=USUAL, pixel_size_um=PIXEL_UM)
    frames = torch.from_numpy(recording().astype(np.float32)).unflatten(0, (3, 5))
    Stripes.measured(measure_stripes(frames, optics), optics).save(folder / "scope.json")
    for count in KEPT:
        torch.manual_seed(count)
        config = {"frames": count, "widths": [4, 6], "scale": 2, "periods_um": [0.42, 0.56]}
        module = build("unet_sim", config).eval()
        spec = RestorerSpec(f"sim{count}", **asdict(measure_module(module)), pixel_size_um=PIXEL_UM)
        weights = folder / f"sim{count}.safetensors"
        save_weights(weights, module, architecture="unet_sim", config=config, spec=spec, notes={})
        export_model(weights, "torchscript", folder / f"sim{count}.ts", stripes=folder / "scope.json", tile=96)
    return folder


def program(folder: Path, count: int = 15) -> torch.jit.ScriptModule:
    with quiet_jit():
        return torch.jit.load(folder / f"sim{count}.ts")


def restored(folder: Path, count: int, model: str, **options) -> NDArray[np.float32]:
    """What fluorsr makes of the recording, tiled as the program tiles it."""
    image = Image(recording(), "qyx", {"y": PIXEL_UM, "x": PIXEL_UM})
    some = f"{','.join(map(str, KEPT[count]))} of 15"
    given = {"frames_axis": "q", "frames": some, "dtype": "float32", "tile": 96} | options
    return fluorsr.restore(image, folder / model, **given).to_numpy()


@pytest.mark.parametrize("count", KEPT)
def test_infer_makes_what_fluorsr_makes_of_the_same_frames(folder, count):
    frames = recording()[list(KEPT[count])]
    made = program(folder, count)
    found = made.infer(torch.from_numpy(frames.astype(np.float32))).numpy()[0]
    options = {"stripes": folder / "scope.json"}
    expected = restored(folder, count, f"sim{count}.safetensors", precision="fp32", options=options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    counts = made.infer(torch.from_numpy(frames)).numpy()[0]
    assert counts.dtype == np.uint16
    np.testing.assert_allclose(counts, found.clip(0, None), rtol=0, atol=0.5 + 1e-5 * np.ptp(expected))
    scripted = restored(folder, count, f"sim{count}.ts")  # fluorsr measures a program's planes once, too
    np.testing.assert_allclose(scripted, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def shows_stripes(source: Source) -> bool:
    """Whether frames that a check makes show their stripes, so that it compares what was measured of them."""
    frames = raw_frames(np.random.default_rng(0), source, (140, 120), "uint16")
    return bool(source.module.orders.measure(torch.from_numpy(frames), 0.0, 200.0)["shown"])


@pytest.mark.parametrize("count", KEPT)
def test_check_compares_it_with_python(folder, count):
    parity = check(folder / f"sim{count}.ts", count=8)
    assert len(parity.comparisons) == 16
    assert parity.limit == 1e-5
    assert shows_stripes(open_source(folder / f"sim{count}.safetensors", folder / "scope.json"))
    assert parity.holds, parity.comparisons


def test_nine_frames_of_two_beams(folder, tmp_path):
    """Their vectors are twice those of the three-beam stripes that the network knows."""
    three = Stripes.read(folder / "scope.json")
    angles = [
        each.model_copy(update={"period_nm": each.period_nm / 2, "wave_per_um": tuple(2 * k for k in each.wave_per_um)})
        for each in three.angles
    ]
    two = three.model_copy(update={"beams": 2, "phases": 3, "angles": tuple(angles)})
    export_model(folder / "sim9.safetensors", "torchscript", tmp_path / "two.ts", stripes=two)
    parity = check(tmp_path / "two.ts", count=8)
    assert parity.holds, parity.comparisons
    assert shows_stripes(open_source(folder / "sim9.safetensors", two))
    with pytest.raises(InputError, match="they are of 2 beams, and sim15 takes 3"):
        open_source(folder / "sim15.safetensors", two)


def test_the_stripes_are_those_of_the_whole_image_and_are_told(folder):
    made, frames = program(folder), torch.from_numpy(recording())
    tiles = frames[None, :, :, :170].float() / 1000
    whole = made.measure(frames, 0.0, 1000.0)
    assert bool(whole["shown"])
    assert (whole["modulation"] > 0.3).all()
    assert whole["phase_rad"].shape == (3, 5)
    corner = made.stripes_at(tiles[0, :, 20:, 30:], 20, 30)
    turned = torch.remainder(corner["phase_rad"] - whole["phase_rad"] + torch.pi, 2 * torch.pi) - torch.pi
    assert turned.abs().max() < 0.2  # the same stripes at the same corner, measured on another part
    # `forward` alone is enough for a tile, and with the image's stripes tiles agree with the image
    assert made(tiles[..., :32, :40]).shape == (1, 1, 64, 80)
    large = made(tiles, torch.tensor([[0, 0]]), 0, whole)[0, 0]
    part = made(tiles[..., 16:112, 32:128], torch.tensor([[16, 32]]), 0, whole)[0, 0]
    inside = slice(40, -40)
    there = large[32:224, 64:256][inside, inside]
    torch.testing.assert_close(part[inside, inside], there, rtol=0, atol=1e-5 * float(large.max() - large.min()))


def awkward() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.from_numpy(recording())
    even = frames.float().mean(0, keepdim=True).expand(15, -1, -1)
    holed, without_light = frames.float(), frames.clone()
    holed[3, 5, 6], holed[4] = torch.inf, torch.nan
    without_light[:5] = 0
    return {
        "blank": torch.zeros(15, 64, 64, dtype=torch.uint16),
        "constant": torch.full((15, 50, 70), 9.0),
        "noise": torch.poisson(torch.full((15, 90, 80), 20.0), generator=generator).to(torch.uint8),
        "no modulation": even,
        "not finite": holed,
        "no frame of an angle": without_light,
        "one pixel": frames[:, :1, :1],
        "one column": frames[:, :, :1],
        "small": frames[:, :31, :9],
    }


@pytest.mark.parametrize("what", awkward())
def test_it_never_throws_in_live_use_and_gives_finite_pixels(folder, what):
    frames = awkward()[what]
    for count in KEPT:
        some, made = frames[list(KEPT[count])], program(folder, count)
        found = made.infer(some)
        assert found.dtype == frames.dtype
        assert found.shape == (1, 2 * frames.shape[1], 2 * frames.shape[2])
        assert found.double().isfinite().all()
        assert made.infer(torch.stack([some, some])).shape == (2, *found.shape)
    told = program(folder).measure(frames, 0.0, 1.0)
    assert not bool(told["shown"])
    assert told["modulation"].isnan().all()


def test_other_numbers_of_frames_are_told(folder):
    with pytest.raises(torch.jit.Error, match=r"infer was given \[14, 40, 40\]; this model takes \[15, Y, X\]"):
        program(folder).infer(torch.zeros(14, 40, 40))


def test_large_fields_are_measured_where_the_stripes_are(folder):
    """The middle is blank, so its stripes would be those of noise."""
    frames = torch.from_numpy(np.tile(recording(), (1, 6, 6))).float()
    frames[:, 250:650, 300:700] = 100
    assert bool(program(folder).measure(frames, 0.0, 1000.0)["shown"])


def test_nothing_is_made_on_another_device_than_the_frames(folder):
    """What names no device would land on `meta`, and could not be joined with the frames, nor copied."""
    for count in KEPT:
        orders = open_source(folder / f"sim{count}.safetensors", folder / "scope.json").module.orders
        frames = torch.from_numpy(recording()[list(KEPT[count])]).float()
        blank, origin = torch.zeros_like(frames), torch.zeros(1, 2, dtype=torch.int64)
        with torch.device("meta"):
            for given in (frames, blank):
                assert orders(given[None], orders.measure(given, 0.0, 1000.0), origin).isfinite().all()


def test_what_it_carries(folder):
    extra = {"fluorsr.json": "", "fluorsr-export.json": ""}
    with quiet_jit():
        torch.jit.load(folder / "sim15.ts", _extra_files=extra)
    spec = RestorerSpec.from_json(json.loads(extra["fluorsr.json"]))
    notes = json.loads(extra["fluorsr-export.json"])
    assert (spec.frames, spec.scale, spec.pixel_size_um) == (15, 2, PIXEL_UM)
    assert notes["stripes"] == Stripes.read(folder / "scope.json").to_json()
    assert "takes" not in notes


def test_bf16_inside(folder, tmp_path):
    weights, stripes = folder / "sim15.safetensors", folder / "scope.json"
    export_model(weights, "torchscript", tmp_path / "x.ts", stripes=stripes, precision="bf16")
    parity = check(tmp_path / "x.ts", count=4)
    assert 1e-5 < parity.largest <= parity.limit == 0.05
    assert load(tmp_path / "x.ts").precision == "bf16"
    with pytest.raises(ModelError, match="computes in bf16, as it was exported; for fp32 export it again"):
        load(tmp_path / "x.ts", precision="fp32")
    with pytest.raises(ModelError, match="computes in fp32, as it was exported; for bf16 export it again"):
        load(folder / "sim15.ts", precision="bf16")


def test_without_stripes_it_says_how_to_have_them(folder, tmp_path):
    weights = folder / "sim15.safetensors"
    with pytest.raises(InputError, match=r"to take raw frames: --stripes FILE .*--save-stripes.*; --orders exports"):
        export_model(weights, "torchscript", tmp_path / "x.ts")
    result = CliRunner().invoke(app, ["export", str(weights), "--orders", "--out", str(tmp_path / "orders.ts")])
    assert result.exit_code == 0, result.output
    assert "it takes 28 images that fluorsr.classical.sim_demodulate makes of 15" in result.output
    assert check(tmp_path / "orders.ts", count=3).holds


def test_stripes_that_do_not_fit_and_formats_without_them(folder, tmp_path, make_weights):
    weights, stripes = folder / "sim15.safetensors", folder / "scope.json"
    for model, to, options, message in (
        (make_weights("edsr"), "torchscript", {"stripes": stripes}, "edsr is no network of raw SIM frames"),
        (weights, "torchscript", {"stripes": tmp_path / "none.json"}, "cannot be read for its stripes"),
        (weights, "torchscript", {"stripes": stripes, "orders": True}, "--stripes and --orders exclude each other"),
        (make_weights("edsr"), "torchscript", {"orders": True}, "edsr is no network of raw SIM frames"),
        (
            weights,
            "onnx",
            {"stripes": stripes},
            "onnx has no stripes: .*; --to torchscript has.* complex Fourier transforms",
        ),
        (weights, "bioimageio", {}, r"no BioImage\.IO host can make; .* --to torchscript --stripes FILE"),
    ):
        with pytest.raises((InputError, FormatError), match=message):
            export_model(model, to, tmp_path / "x", **options)
