"""What `fluorsr plan` says beforehand is what the run then does; a disk that is too small is told before the work."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from fluorsr.cli.main import main
from fluorsr.errors import StorageError
from fluorsr.image import Image
from fluorsr.io.writer import Layout
from fluorsr.pipeline.estimate import estimate
from fluorsr.pipeline.plan import Selection, make_plan, whole
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.space import compressed_share, raw_bytes
from fluorsr.restorer import RestorerSpec
from fluorsr.tiling.grid import Box


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.zarr"
    pixels = np.random.default_rng(0).poisson(200, (2, 300, 700)).astype(np.uint16)
    zarr.create_array(path, data=pixels, chunks=(1, 64, 64), dimension_names=("z", "y", "x"))
    return path


def stored_bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def test_the_estimate_is_what_the_run_does(cells: Path, small_model: Path, tmp_path: Path) -> None:
    found = estimate(cells, model=small_model, block=256, trust=True, workers=4, calibration_s=2, threads=1)
    done = infer(cells, tmp_path / "out.zarr", model=small_model, block=256, trust=True, threads=1)
    assert (found.blocks, found.tile, found.output_shape) == (done.blocks, done.tile, done.output_shape)
    assert 0.5 < stored_bytes(tmp_path / "out.zarr") / found.output_bytes < 1.5
    assert found.output_bytes_raw == 2 * 2 * (600 * 1400 + 300 * 700 + 150 * 350)
    assert found.seconds[4] == found.seconds[1] / 4 > 0
    assert found.memory_bytes > 100e6
    assert "blocks in" in found.trial
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.zarr", "out.zarr"]


def test_where_a_block_takes_too_long_tiles_are_timed(cells: Path, small_model: Path) -> None:
    found = estimate(cells, model=small_model, trust=True, calibration_s=0, threads=1)
    assert "tiles; reading and writing not counted" in found.trial


@pytest.mark.parametrize("shape", [(100, 170), (1, 1), (700, 65)])
def test_tiles_are_counted_as_blocks_will_cut_them(shape: tuple[int, int]) -> None:
    image = Image(np.zeros((2, *shape), np.uint8), "zyx")
    spec = RestorerSpec("global", scale=2, halo=8, multiple=4, exact=False)
    chosen = Selection(whole(image).t, whole(image).c, (0, 1), (shape[0] // 3, shape[0]), (0, shape[1]))
    plan = make_plan(image, spec, chosen, block=96)
    blocks = [plan.block(i) for i in range(len(plan))]
    boxes = [Box((0, b.y[0], b.x[0]), (1, b.y[1], b.x[1])) for b in blocks]
    assert plan.tiles == sum(len(plan.grid.tiles(box).starts) for box in boxes)


def test_bytes_of_all_levels() -> None:
    assert raw_bytes(Layout("cyx", (2, 1000, 600), "uint16")) == 2 * 2 * (1000 * 600 + 500 * 300)


def test_what_does_not_compress_is_told_so() -> None:
    spec = RestorerSpec("same")
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    shares = []
    for pixels in (noise, np.zeros_like(noise)):
        image = Image(pixels, "yx")
        shares.append(compressed_share(image, make_plan(image, spec, whole(image))))
    assert shares[0] > 0.99
    assert shares[1] < 0.01


@pytest.mark.parametrize(("free", "outcome"), [(1e5, "refused"), (9e5, "warned"), (1e9, "silent")])
def test_a_disk_that_is_too_small_is_told_before_the_work(
    cells: Path, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, outcome: str
) -> None:
    needed = estimate(cells, model=small_model, trust=True, calibration_s=0).output_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed * free / 1.2e6))
    told: list[str] = []
    if outcome == "refused":
        with pytest.raises(StorageError, match=r"will be written, and .* has .* free: free space") as error:
            infer(cells, tmp_path / "out.zarr", model=small_model, trust=True, tell=told.append)
        assert error.value.errno == errno.ENOSPC
        assert not (tmp_path / "out.zarr").exists()
        return
    infer(cells, tmp_path / "out.zarr", model=small_model, trust=True, tell=told.append)
    assert any("may not be enough" in note for note in told) == (outcome == "warned")


def test_the_verb_prints_it(
    cells: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fluorsr", "plan", str(cells), "--model", str(small_model), "--trust", "--seconds", "0", "--workers", "8"]
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    table, _, line = capsys.readouterr().out.rstrip().rpartition("\n")
    for word in ("2 of 2048 x 2048 output pixels", "on 8 machines like this", "GiB a worker", "% more pixels"):
        assert word in table
    assert json.loads(line)["blocks"] == 2
