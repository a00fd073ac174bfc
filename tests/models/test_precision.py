from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fluorsr.errors import InputError, ModelError
from fluorsr.models import precision as chooser
from fluorsr.models.network import Network, prepare
from fluorsr.restorer import RestorerSpec

CPU = torch.device("cpu")
SPEC = RestorerSpec("probe", halo=1)


class Centre(nn.Module):
    """Adds `offset` and takes it off again: exact in float32, coarse in bf16 where the offset is large."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)
        self.conv.weight.data[0, 0, 1, 1] = 1.0
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.offset - self.offset


class NeedsFloat32(Centre):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.float())


def choose(asked: str, module: nn.Module) -> tuple[str, list[str]]:
    def build(kind: str) -> Network:
        fresh = type(module)(module.offset)
        return Network(prepare(fresh, device=CPU, precision=kind), SPEC, precision=kind)

    network, notes = chooser.choose(asked, CPU, SPEC, build)
    return network.precision, notes


@pytest.fixture(params=[True, False], ids=["bf16 machine", "no bf16"])
def fast(request, monkeypatch) -> bool:
    monkeypatch.setattr(chooser, "has_fast_bf16", lambda _: request.param)
    return request.param


def test_a_faithful_model_runs_in_bf16_where_the_machine_is_fast(fast):
    kind, notes = choose("auto", Centre(0.0))
    assert kind == ("bf16" if fast else "fp32")
    assert [n.startswith("precision bf16: 5") or n.startswith("precision bf16: 6") for n in notes] == [True] * fast


def test_an_unfaithful_model_stays_in_fp32_and_says_why(fast):
    kind, notes = choose("auto", Centre(16.0))
    assert kind == "fp32"
    if fast:
        # bf16 has 8 bits: 16 to 32 in steps of 1/8, an error of step / sqrt(12), over a range of about 1
        expected = -20 * math.log10(0.125 / math.sqrt(12))
        (note,) = notes
        assert note.endswith("on a probe tile, less than 50")
        assert float(note.split("bf16 is ")[1].split(" dB")[0]) == pytest.approx(expected, abs=3)


def test_a_model_that_cannot_run_in_bf16(fast):
    kind, notes = choose("auto", NeedsFloat32(0.0))
    assert kind == "fp32"
    assert all(note.startswith("precision fp32: the model does not run in bf16 (") for note in notes)
    with pytest.raises(ModelError, match=r"probe cannot run in bf16 \(.*\); use --precision fp32"):
        choose("bf16", NeedsFloat32(0.0))


def test_what_was_asked_for_is_done(fast):
    assert choose("fp32", Centre(0.0)) == ("fp32", [])
    kind, notes = choose("bf16", Centre(16.0))
    assert kind == "bf16"
    assert notes[0].startswith("precision bf16: ")
    with pytest.raises(InputError, match="precision 'fp16' is not one of auto, fp32, bf16"):
        choose("fp16", Centre(0.0))


def test_a_model_that_breaks_its_spec_is_told_at_once():
    with pytest.raises(ModelError, match=r"probe does not run on tiles \[2, 1, 32, 33\], as its spec says"):
        chooser.choose("fp32", CPU, SPEC, lambda _: Network(nn.Conv2d(3, 1, 1), SPEC))


def test_psnr_by_hand():
    reference = torch.tensor([0.0, 2.0])
    assert chooser.psnr_db(reference, reference) == math.inf
    assert chooser.psnr_db(reference, reference + 0.02) == pytest.approx(40.0)
    assert chooser.psnr_db(reference, reference * math.nan) == -math.inf


def test_filaments_are_a_normalised_image():
    image = chooser.filaments(3, 200)
    assert image.shape == (1, 3, 200, 200)
    assert torch.equal(image, chooser.filaments(3, 200))
    assert 0 <= float(image.min()) <= float(image.median()) < 0.2
    assert 0.8 < float(image.max()) <= 1.2
