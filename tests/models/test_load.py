from __future__ import annotations

import io
import pickle
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from fluorsr.errors import InputError, ModelError, NotFoundError
from fluorsr.export.torchscript import export_torchscript
from fluorsr.models import load as loader
from fluorsr.models import zoo_index
from fluorsr.models.architectures import build
from fluorsr.models.load import find_device
from fluorsr.models.torchscript import TorchScriptFile, freeze, quiet_jit, script
from fluorsr.models.weights import save_weights
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.restorer import RestorerSpec

load = partial(loader.load, trust=True)  # these tests are not about trust

CONFIG = {"blocks": 2, "width": 8, "scale": 2}
SPEC = RestorerSpec("tiny", scale=2, halo=8)
TILES = torch.rand(2, 1, 48, 64, generator=torch.Generator().manual_seed(0))
ORIGIN = torch.zeros(2, 2, dtype=torch.int64)


class Flattening(nn.Module):
    """A dense layer over channels by `view`, which torch refuses for tensors in channels_last order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        batch, channels, height, width = x.shape
        return x.view(batch, channels, height * width).mean(dim=1).view(batch, 1, height, width)


class Casting(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def save_script(program: torch.jit.ScriptModule, path) -> None:
    with quiet_jit():
        torch.jit.save(program, path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network as our weights, as our own export, and as foreign TorchScript, frozen and not."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    module = build("edsr", CONFIG).eval()
    weights = folder / "tiny.safetensors"
    save_weights(weights, module, architecture="edsr", config=CONFIG, spec=SPEC, notes={})
    export_torchscript(weights, folder / "exported.ts")
    save_script(script(module), folder / "scripted.pt")
    save_script(freeze(module, TILES), folder / "frozen.pt")
    with torch.inference_mode():
        return folder, module(TILES)


@pytest.mark.parametrize("name", ["tiny.safetensors", "exported.ts", "scripted.pt", "frozen.pt"])
def test_one_network_in_four_files(files, name):
    folder, expected = files
    span = float(expected.max() - expected.min())
    exact = load(folder / name, device="cpu", precision="fp32")
    assert (exact.device, exact.precision) == ("cpu", "fp32")
    assert (exact.spec.frames, exact.spec.scale, exact.spec.halo, exact.spec.exact) == (1, 2, 8, True)
    assert len(exact.sha256) == 64
    found = exact.restore(TILES, ORIGIN, 0)
    assert float((found - expected).abs().max()) <= 1e-5 * span
    fast = load(str(folder / name), device="cpu", precision="bf16")
    assert fast.precision == "bf16"
    assert "dB PSNR from fp32 on a probe tile" in fast.notes[-1]
    found = fast.restore(TILES, ORIGIN, 0)
    assert found.dtype == torch.float32
    assert 0 < float((found - expected).abs().max()) <= 0.03 * span


@pytest.mark.parametrize("name", ["scripted.pt", "frozen.pt"])
def test_a_foreign_file_is_measured_and_told(files, name):
    notes = load(files[0] / name, device="cpu", precision="fp32").notes
    assert len(notes) == 1
    assert notes[0].startswith(f"{name} carries no spec; measured in ")
    assert notes[0].endswith(" s: frames 1, scale 2, halo 8, multiple 1, exact")


def test_our_own_files_need_no_notes(files):
    assert load(files[0] / "exported.ts", device="cpu", precision="fp32").notes == ()
    assert load(files[0] / "exported.ts", device="cpu").spec == SPEC


def test_inexact_models_are_told(tmp_path):
    path = tmp_path / "norm.pt"
    save_script(script(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.InstanceNorm2d(1))), path)
    notes = load(path, device="cpu", precision="fp32").notes
    assert "not exact" in notes[0]
    assert notes[1].startswith("norm is not exact: it sees further than its halo")


def test_a_program_that_refuses_channels_last(tmp_path):
    path = tmp_path / "flat.pt"
    module = Flattening().eval()
    save_script(script(module), path)
    with torch.inference_mode():
        expected = module(TILES)
    found = load(path, device="cpu", precision="fp32").restore(TILES, ORIGIN, 0)
    torch.testing.assert_close(found, expected)
    assert load(path, device="cpu", precision="bf16").precision == "bf16"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Upsample(scale_factor=1.5), "the scale must be one whole number"),
        (nn.Conv2d(3, 3, 1), "one restored channel for each image"),
        (Casting(torch.float64), r"returns torch\.float64; it must return torch\.float32"),
        (Casting(torch.int32), r"returns torch\.int32; it must return torch\.float32"),
        (Pair(), r"returns a tuple; it must return one tensor \[B, 1, sY, sX\]"),
    ],
    ids=["scale", "RGB", "float64", "int32", "tuple"],
)
def test_foreign_programs_that_break_the_contract(tmp_path, module, message):
    path = tmp_path / "wrong.pt"
    save_script(script(module), path)
    with pytest.raises(ModelError, match=rf"wrong\.pt: .*{message}"):
        load(path, device="cpu")


def test_an_export_whose_spec_lies(tmp_path):
    path = tmp_path / "x.ts"
    with quiet_jit():
        torch.jit.save(script(nn.Conv2d(3, 1, 1)), path, _extra_files={"fluorsr.json": '{"name": "x"}'})
    with pytest.raises(ModelError, match=r"x does not run on tiles \[2, 1, 32, 33\], as its spec says"):
        load(path, device="cpu")
    with quiet_jit():
        torch.jit.save(script(nn.Conv2d(1, 1, 1)), path, _extra_files={"fluorsr.json": '{"name": "x", "scale": 2}'})
    with pytest.raises(ModelError, match=r"its spec says scale 2, so 64"):
        load(path, device="cpu")
    with quiet_jit():
        torch.jit.save(script(nn.Conv2d(1, 1, 1)), path, _extra_files={"fluorsr.json": "nonsense"})
    with pytest.raises(ModelError, match=r"its fluorsr\.json is damaged"):
        load(path, device="cpu")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.filterwarnings("error")
def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"weights": Bomb()}, path)
    with pytest.raises(ModelError, match=r"a pickle \(torch\.save\), which could run any code, not a model"):
        load(path, device="cpu")
    torch.save({"weights": Bomb()}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="is a pickle, which could run any code"):
        load(path, device="cpu")
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps(Bomb(), protocol))
        with pytest.raises(ModelError, match="is a pickle"):
            load(path, device="cpu")


def test_truncated_and_foreign_files(files, tmp_path):
    path = tmp_path / "x.pt"
    payload = (files[0] / "frozen.pt").read_bytes()
    for length in (10, len(payload) // 2, len(payload) - 1):
        path.write_bytes(payload[:length])
        with pytest.raises(ModelError, match="is truncated or damaged"):
            load(path, device="cpu")
    path.write_bytes((files[0] / "tiny.safetensors").read_bytes()[:-1])
    with pytest.raises(ModelError, match="is truncated: its tensors end at"):
        load(path, device="cpu")
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="is truncated: 0 bytes"):
        load(path, device="cpu")
    archive = io.BytesIO()
    torch.save(torch.zeros(1), archive)
    path.write_bytes(archive.getvalue().replace(b"data.pkl", b"data.txt"))
    with pytest.raises(ModelError, match="not a model: fluorsr reads TorchScript"):
        load(path, device="cpu")


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "x.safetensors"
    module = build("edsr", CONFIG)
    save_weights(path, module, architecture="edsr", config={**CONFIG, "width": 16}, spec=SPEC, notes={})
    with pytest.raises(ModelError, match=r"its weights do not fit its edsr of .*size mismatch for head\.weight"):
        load(path, device="cpu")
    save_weights(path, module, architecture="unet3000", config=CONFIG, spec=SPEC, notes={})
    with pytest.raises(ModelError, match="'unet3000' is not one of this fluorsr"):
        load(path, device="cpu")


def test_names(files, tmp_path, monkeypatch):
    shipped = {"edsr-a-x2": files[0] / "tiny.safetensors", "edsr-b-x2": files[0] / "none", "unet": files[0] / "none"}
    for module in (loader, zoo_index):
        monkeypatch.setattr(module, "zoo", lambda: shipped)
    assert load("edsr-a-x2", device="cpu").spec == SPEC
    assert describe("edsr-a-x2").config == CONFIG
    with pytest.raises(NotFoundError, match=r"no model and no file named 'edsr-b'; the shipped models are edsr-b-x2, "):
        load("edsr-b")
    with pytest.raises(
        NotFoundError, match=r"no model file .*none\.pt; check the path, or use a shipped model: edsr-a"
    ):
        load(tmp_path / "none.pt")
    with pytest.raises(NotFoundError, match=r"no model file none\.pt"):
        load("none.pt")
    with pytest.raises(ModelError, match="is a folder; a model is one file"):
        load(tmp_path)


def test_no_models_shipped(monkeypatch):
    for module in (loader, zoo_index):
        monkeypatch.setattr(module, "zoo", dict)
    with pytest.raises(NotFoundError, match="no models are shipped with this installation"):
        load("edsr")


@pytest.mark.parametrize("name", sorted(zoo()))
def test_shipped_models(name):
    card = describe(name)
    assert card.spec.name == name
    assert card.notes
    model = load(name, device="cpu", precision="fp32")
    if card.spec.frames > 1:  # it is given raw SIM frames: tests/test_shipped_sim.py
        assert model.spec == card.spec
        return
    assert model.restore(TILES, ORIGIN, 0).shape == (
        2,
        1,
        48 * card.spec.scale,
        64 * card.spec.scale,
    )


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"cuda:1 was asked for, this machine has 0 CUDA devices; use --device cpu$"):
        find_device("cuda:1")
    for wrong in ("gpu", "cpu:1", "cuda:x", "cuda:-1", ""):
        with pytest.raises(InputError, match="is not one of auto, cpu, cuda, cuda:0"):
            find_device(wrong)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="this machine has 2 CUDA devices; use --device cpu or cuda:0 to cuda:1"):
        find_device("cuda:2")


def test_on_amx_our_networks_run_as_frozen_torchscript(files, monkeypatch):
    expected = load(files[0] / "tiny.safetensors", device="cpu", precision="bf16").restore(TILES, ORIGIN, 0)
    monkeypatch.setattr(loader, "has_amx", lambda: True)
    model = load(files[0] / "tiny.safetensors", device="cpu", precision="bf16")
    assert isinstance(model.network._forward, torch.jit.ScriptModule)
    for _ in range(4):  # the first calls are profiled, later ones optimised
        assert torch.equal(model.restore(TILES, ORIGIN, 0), expected)


def test_constants_in_branches_are_cast_too(tmp_path):
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.other = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.shape[-1] < 50 else self.other(x)

    with torch.no_grad():
        path = tmp_path / "x.pt"
        with quiet_jit():
            save_script(torch.jit.freeze(script(Branching().eval())), path)
        program = TorchScriptFile(path, trust=True).cast(torch.bfloat16)
        for width in (48, 64):
            assert program(TILES[..., :width].bfloat16()).dtype == torch.bfloat16
