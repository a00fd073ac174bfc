"""Simulated stores: what is on disk is what was simulated, aligned with its truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluorsr.data.simulate import simulate_field
from fluorsr.data.store import simulate_store, truth_path
from fluorsr.errors import InputError, OutputExistsError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import open_image


@pytest.mark.parametrize("name", ["cells.ome.zarr", "cells.tif"])
def test_what_is_written_is_what_was_simulated(tmp_path: Path, name: str) -> None:
    paths = simulate_store(tmp_path / name, ["vesicles", "microtubules"], 70, seed=4, photons=50)
    assert paths == (tmp_path / name, tmp_path / name.replace("cells", "cells_truth"))
    image, truth = (open_image(path) for path in paths)
    assert (image.shape, truth.shape) == ((2, 70, 70), (2, 140, 140))
    assert (image.dtype, truth.dtype) == (np.uint16, np.float32)
    assert image.pixel_size_um["y"] == pytest.approx(0.06)
    assert truth.pixel_size_um["x"] == pytest.approx(0.03)
    assert [channel.name for channel in truth.channels] == ["vesicles", "microtubules"]
    field = simulate_field(70, "microtubules", 5, photons=50)
    everything = slice(None), slice(None)
    np.testing.assert_array_equal(image.read(PlaneIndex(c=1), *everything), field.degraded[0])
    np.testing.assert_array_equal(truth.read(PlaneIndex(c=1), *everything), field.target)


def test_the_truths_name_keeps_every_suffix() -> None:
    assert truth_path(Path("a/cells.ome.zarr")) == Path("a/cells_truth.ome.zarr")
    assert truth_path(Path("cells")) == Path("cells_truth")


def test_nothing_is_replaced_unasked_and_structures_are_checked(tmp_path: Path) -> None:
    simulate_store(tmp_path / "a.zarr", ["vesicles"], 32, 1)
    with pytest.raises(OutputExistsError):
        simulate_store(tmp_path / "a.zarr", ["vesicles"], 32, 1)
    simulate_store(tmp_path / "a.zarr", ["vesicles"], 32, 2, overwrite=True)
    for wrong in ([], ["tubulin"], ["nuclei", "nuclei"]):
        with pytest.raises(InputError, match=r"structures must be some of microtubules, actin, .*, each once"):
            simulate_store(tmp_path / "b.zarr", wrong, 32, 1)
