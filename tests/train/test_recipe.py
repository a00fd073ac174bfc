"""Recipes: the shipped one is sound, and every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import fluorsr.train
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.train.recipe import read_recipe

SHIPPED = Path(fluorsr.train.__file__).parent / "recipes" / "edsr-confocal-sted-x2.yaml"


def test_the_shipped_recipe_reads_and_takes_changes() -> None:
    recipe = read_recipe(SHIPPED, {"batch": 3, "data.photons": [10, 20], "model.width": 8})
    assert recipe.name == "edsr-confocal-sted-x2"
    assert (recipe.batch, recipe.data.photons, recipe.model["width"]) == (3, (10.0, 20.0), 8)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(SHIPPED, {"batch": 0, "learning_rate": -1, "data.photons": [9, 1], "colour": "red"})
    for fault in ("batch: ", "learning_rate: ", "data.photons: ", "a range must rise", "colour: Extra inputs"):
        assert fault in str(error.value)


def test_faults_between_entries_are_told_together() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(SHIPPED, {"loss": "l3", "patch": 512, "percentiles": [99, 1], "model.scale": 4, "model.width": 8})
    for fault in (
        "loss 'l3' must be one of l1, mse, charbonnier",
        "patch 512 must fit the field of data.size_px 256",
        "percentiles (99.0, 1.0) must rise",
        "model.scale 4 must equal data.scale 2",
    ):
        assert fault in str(error.value)
    with pytest.raises(InputError, match=r"model\.width: Input should be greater"):
        read_recipe(SHIPPED, {"model.width": 0})
    with pytest.raises(InputError, match="architecture 'unet' must be one of edsr"):
        read_recipe(SHIPPED, {"architecture": "unet"})


def test_what_is_no_recipe_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no recipe"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("a: [1")
    with pytest.raises(FormatError, match="is not YAML"):
        read_recipe(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(FormatError, match="must map names to values"):
        read_recipe(tmp_path / "b.yaml")
    with pytest.raises(InputError, match=r"cannot set seed\.x: seed is a value"):
        read_recipe(SHIPPED, {"seed.x": 1})
