"""A device whose memory is too small for a batch: the batch is halved, the run goes on and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.io.open import open_image
from fluorsr.models.load import LoadedModel
from fluorsr.models.network import Network
from fluorsr.models.symmetries import Symmetries
from fluorsr.pipeline import run
from fluorsr.restorer import RestorerSpec


class Greedy(torch.nn.Module):
    """Doubles its input; has memory for `most` tiles at a time, and writes down how many it was given."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.given: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return 2 * x


def loaded(most: int) -> LoadedModel:
    spec = RestorerSpec("greedy")
    return LoadedModel(spec, Network(Greedy(most), spec), "0" * 64, "cpu", "fp32")


def test_a_batch_is_halved_until_it_fits_and_stays_so() -> None:
    module = Greedy(3)
    network = Network(module, RestorerSpec("greedy"))
    tiles = torch.rand(8, 1, 16, 16)
    origin = torch.zeros(8, 2, dtype=torch.int64)
    assert network.batch_limit is None
    for _ in range(2):
        assert torch.equal(network.restore(tiles, origin, 0), 2 * tiles)
    assert module.given == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert network.batch_limit == Symmetries(network).batch_limit == 2
    with pytest.raises(InputError, match="too little memory for one tile of 16 x 16: try a smaller --tile"):
        Network(Greedy(0), RestorerSpec("greedy")).restore(tiles, origin, 0)


def test_a_run_goes_on_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (90, 200)).astype(np.uint16)
    zarr.save(str(tmp_path / "in.zarr"), pixels)
    told: list[str] = []
    for name, most in (("whole", 8), ("halved", 2)):
        model = loaded(most)
        monkeypatch.setattr(run, "load", lambda *_, model=model, **__: model)
        options = {"batch": 8, "tile": 16, "block": 64, "threads": 2, "dtype": "float32"}
        summary = run.infer(tmp_path / "in.zarr", tmp_path / f"{name}.zarr", tell=told.append, **options)
    whole, halved = (open_image(tmp_path / f"{name}.zarr").to_numpy() for name in ("whole", "halved"))
    np.testing.assert_array_equal(halved, whole)
    about = [note for note in told if "too little memory for batches of 8 tiles, so it takes 2 at a time" in note]
    assert len(about) == 1
    assert about[0] in summary.notes
