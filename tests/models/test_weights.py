from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import random
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from fluorsr.errors import ModelError, NotFoundError, StorageError
from fluorsr.models.architectures import build
from fluorsr.models.weights import Weights, read_card, read_weights, save_weights, write_atomically
from fluorsr.restorer import RestorerSpec

CONFIG = {"blocks": 1, "width": 4, "scale": 2}
SPEC = RestorerSpec("tiny", scale=2, halo=6, pixel_size_um=0.065, structures=("filaments",))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return build("edsr", CONFIG)


@pytest.fixture
def saved(tmp_path, module):
    path = tmp_path / "tiny.safetensors"
    save_weights(path, module, architecture="edsr", config=CONFIG, spec=SPEC, notes={"psnr_db": 36.4})
    return path


def test_everything_comes_back(saved, module):
    found = read_weights(saved)
    assert (found.architecture, found.config, found.spec, found.notes) == ("edsr", CONFIG, SPEC, {"psnr_db": 36.4})
    assert found.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert found.state.keys() == module.state_dict().keys()
    assert all(torch.equal(found.state[name], value) for name, value in module.state_dict().items())
    card = read_card(saved)
    assert (card.architecture, card.config, card.spec, card.notes) == ("edsr", CONFIG, SPEC, {"psnr_db": 36.4})


def test_other_tools_can_read_it(saved, module):
    with safetensors.safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["spec"])["halo"] == 6
    assert safetensors.torch.load_file(saved).keys() == module.state_dict().keys()


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path, saved, module):
    path = tmp_path / "half.safetensors"
    save_weights(path, module, architecture="edsr", config=CONFIG, spec=SPEC, notes={}, dtype=torch.float16)
    weights = sum(value.numel() for value in module.state_dict().values())
    assert saved.stat().st_size - path.stat().st_size == pytest.approx(2 * weights, abs=64)
    for name, value in read_weights(path).state.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, module.state_dict()[name].half().float())


def test_channels_last_weights_can_be_saved(tmp_path, module):
    path = tmp_path / "ordered.safetensors"
    ordered = module.to(memory_format=torch.channels_last)
    save_weights(path, ordered, architecture="edsr", config=CONFIG, spec=SPEC, notes={})
    assert all(torch.equal(value, ordered.state_dict()[name]) for name, value in read_weights(path).state.items())


def test_damaged_training_is_not_saved(tmp_path, module):
    module.head.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(
        ModelError, match=r"weight head\.weight holds NaN or inf as torch\.float16; .* store it as float"
    ):
        save_weights(
            tmp_path / "x", module, architecture="edsr", config=CONFIG, spec=SPEC, notes={}, dtype=torch.float16
        )
    assert not any(tmp_path.iterdir())


def test_truncated_anywhere(saved):
    payload = saved.read_bytes()
    for length in [*range(0, 64), *range(64, len(payload), 97), len(payload) - 1]:
        saved.write_bytes(payload[:length])
        with pytest.raises(ModelError, match=r"truncated|not a safetensors"):
            read_weights(saved)
    saved.write_bytes(payload[: len(payload) - 100])
    with pytest.raises(ModelError, match=rf"truncated: its tensors end at byte {len(payload)}, the file at .*copy it"):
        read_weights(saved)


def test_flipped_bytes_never_crash(saved):
    payload = saved.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(payload)
        damaged[chance.randrange(0, 2500)] ^= 1 << chance.randrange(8)
        saved.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            assert isinstance(read_weights(saved), Weights)


def test_a_header_whose_length_starts_like_a_pickle_is_read(saved):
    """Lengths are multiples of 8, so one header in 32 begins with the byte 0x80."""
    payload = saved.read_bytes()
    (length,) = struct.unpack("<Q", payload[:8])
    longer = length + (0x80 - length) % 256
    saved.write_bytes(struct.pack("<Q", longer) + payload[8 : 8 + length].ljust(longer) + payload[8 + length :])
    assert saved.read_bytes()[0] == 0x80
    assert isinstance(read_weights(saved), Weights)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "truncated: 0 bytes"),
        (pickle.dumps({"weights": [1.0]}), "pickle, which could run code"),
        (b"PK\x03\x04" + bytes(100), "pickle, which could run code"),
        (struct.pack("<Q", 2**60) + bytes(100), "header would take 1152921504606846976 bytes, the limit is 16777216"),
        (struct.pack("<Q", 1000) + bytes(10), "truncated: its header is 1008 bytes, the file 18"),
        (struct.pack("<Q", 4) + b"[[[]", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (b"II*\x00" + bytes(100), "its header"),
    ],
    ids=["empty", "pickle", "zip", "huge header", "short header", "not JSON", "list", "TIFF"],
)
def test_other_files(tmp_path, payload, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(payload)
    with pytest.raises(ModelError, match=message):
        read_weights(path)


def test_safetensors_of_others(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"not a fluorsr model \(format None, expected 'fluorsr-weights-1'\)"):
        read_weights(path)
    safetensors.torch.save_file({"a": torch.zeros(1, dtype=torch.float64)}, path)
    with pytest.raises(ModelError, match="weights of type F64; fluorsr reads F16, BF16, F32, I64"):
        read_weights(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spec", "{", "description in its header is damaged"),
        ("spec", '{"name": "x", "halo": -1}', "halo is -1; it must be 0 to 4096"),
        ("spec", '{"name": "x", "flux": 1}', "a spec has no flux; this file may come from a newer fluorsr"),
        ("spec", "[]", "must be JSON objects"),
        ("format", "fluorsr-weights-9", "expected 'fluorsr-weights-1'"),
    ],
)
def test_damaged_description(tmp_path, module, key, value, message):
    path = tmp_path / "x.safetensors"
    save_weights(path, module, architecture="edsr", config=CONFIG, spec=SPEC, notes={})
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {**metadata, key: value})
    with pytest.raises(ModelError, match=message):
        read_card(path)


def test_missing(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        read_weights(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="a weights file is one file"):
        read_weights(tmp_path)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*model: No space left on device"):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == b"old"
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "nowhere" / "model", b"new")


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("gan", {}, r"architecture 'gan' is not one of this fluorsr \(edsr.*\)"),
        ("edsr", {"blocks": 0}, "configuration of this edsr does not fit.*greater than or equal to 1"),
        ("edsr", {"block": 3}, "configuration of this edsr does not fit.*not permitted"),
        ("edsr", {"scale": 3}, "configuration of this edsr does not fit"),
    ],
)
def test_configuration_faults(architecture, config, message):
    with pytest.raises(ModelError, match=f"(?s){message}"):
        build(architecture, config)
