"""Simulated stores: what is on disk is what was simulated, aligned with its truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fluorsr.data.check import check_pairs
from fluorsr.data.pairs import open_pairs
from fluorsr.data.simulate import SimulationConfig, configure, simulate_pair
from fluorsr.data.store import simulate_set, simulate_store, truth_path
from fluorsr.errors import InputError, OutputExistsError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image


def config(size: int = 32, preset: str = "confocal-280", **changes: object) -> SimulationConfig:
    return configure(preset, fixed=True, size_px=size, **changes)


EVERYTHING = slice(None), slice(None)


@pytest.mark.parametrize("name", ["cells.ome.zarr", "cells.tif"])
def test_what_is_written_is_what_was_simulated(tmp_path: Path, name: str) -> None:
    asked = config(70, photons=50)
    paths = simulate_store(tmp_path / name, asked, ["vesicles", "microtubules"], seed=4)
    assert paths == (tmp_path / name, tmp_path / name.replace("cells", "cells_truth"))
    image, truth = (open_image(path) for path in paths)
    assert (image.shape, truth.shape) == ((2, 70, 70), (2, 140, 140))
    assert (image.dtype, truth.dtype) == (np.uint16, np.float32)
    assert image.pixel_size_um["y"] == pytest.approx(0.06)
    assert truth.pixel_size_um["x"] == pytest.approx(0.03)
    assert [channel.name for channel in truth.channels] == ["vesicles", "microtubules"]
    field = simulate_pair(asked, 4, 0, "microtubules")
    np.testing.assert_array_equal(image.read(PlaneIndex(c=1), *EVERYTHING), field.degraded[0])
    np.testing.assert_array_equal(truth.read(PlaneIndex(c=1), *EVERYTHING), field.target)


@pytest.mark.slow
def test_blocks_written_by_several_processes_are_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks in this process, and whole ones by two others."""
    asked = config(520, scale=1)
    monkeypatch.setattr("fluorsr.data.store.TRUTH_BLOCK_PX", 256)
    calls: list[tuple[int, int]] = []
    first = simulate_store(
        tmp_path / "a.zarr", asked, ["lines"], 3, workers=2, progress=lambda done, of: calls.append((done, of))
    )
    assert calls == [(n, 9) for n in range(1, 10)]
    monkeypatch.setattr("fluorsr.data.store.TRUTH_BLOCK_PX", 2048)
    second = simulate_store(tmp_path / "b.zarr", asked, ["lines"], 3)
    for one, other in zip(first, second, strict=True):
        pixels = [open_image(path).read(PlaneIndex(), *EVERYTHING) for path in (one, other)]
        np.testing.assert_array_equal(pixels[0], pixels[1])


def test_raw_sim_frames_are_a_pair_of_15_frames(tmp_path: Path) -> None:
    asked = config(32, "sim-3x5")
    simulate_store(tmp_path / "sim.ome.zarr", asked, ["actin"], 1)
    (pair,) = open_pairs(tmp_path / "sim.ome.zarr")
    assert (pair.frames, pair.scale) == (15, 2)
    np.testing.assert_array_equal(pair.read()[0].numpy(), simulate_pair(asked, 1, 0, "actin").degraded)


@pytest.mark.parametrize(("preset", "frames"), [("confocal-280", 1), ("sim-3", 3)])
def test_a_set_of_pairs_is_ready_to_train_on(tmp_path: Path, preset: str, frames: int) -> None:
    asked = configure(preset, size_px=64, structures={"microtubules": 1.0}, photons=(500, 1000), thickness=0.1)
    simulate_set(tmp_path / "set", asked, 3, seed=2)
    pairs = open_pairs(tmp_path / "set")
    assert (len(pairs), pairs.frames, pairs.scale) == (3, frames, 2)
    made = simulate_pair(asked, 2, 1)
    pixels, target = pairs.pairs[1].read()
    np.testing.assert_array_equal(pixels.numpy(), made.degraded)
    np.testing.assert_array_equal(target[-1].numpy() if target.ndim == 3 else target.numpy(), made.target)
    drawn = [json.loads(line) for line in (tmp_path / "set" / "pairs.jsonl").read_text().splitlines()]
    assert drawn[1] == {"name": "00001.tif", "structure": "microtubules", **made.drawn}
    assert not check_pairs(tmp_path / "set").faults
    with pytest.raises(OutputExistsError, match="is no empty folder; choose another one"):
        simulate_set(tmp_path / "set", asked, 3, seed=2)


def test_the_truths_name_keeps_every_suffix() -> None:
    assert truth_path(Path("a/cells.ome.zarr")) == Path("a/cells_truth.ome.zarr")
    assert truth_path(Path("cells")) == Path("cells_truth")


def test_nothing_is_replaced_unasked_and_structures_are_checked(tmp_path: Path) -> None:
    simulate_store(tmp_path / "a.zarr", config(), ["vesicles"], 1)
    with pytest.raises(OutputExistsError):
        simulate_store(tmp_path / "a.zarr", config(), ["vesicles"], 1)
    simulate_store(tmp_path / "a.zarr", config(), ["vesicles"], 2, overwrite=True)
    for wrong in ([], ["tubulin"], ["nuclei", "nuclei"]):
        with pytest.raises(InputError, match=r"structures must be some of microtubules, .*actin, .*, each once"):
            simulate_store(tmp_path / "b.zarr", config(), wrong, 1)
