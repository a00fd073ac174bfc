"""Recipes: the shipped one is sound, and every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import fluorsr.train
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.train.recipe import PairsConfig, read_recipe, shipped_recipes

SHIPPED = Path(fluorsr.train.__file__).parent / "recipes" / "edsr-confocal-sted-x2.yaml"


def test_the_shipped_recipe_reads_and_takes_changes() -> None:
    recipe = read_recipe(SHIPPED, {"batch": 3, "data.photons": [10, 20], "model.width": 8})
    assert recipe.name == "edsr-confocal-sted-x2"
    assert (recipe.batch, recipe.data.photons, recipe.model["width"]) == (3, (10.0, 20.0), 8)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(SHIPPED, {"batch": 0, "learning_rate": -1, "data.photons": [9, 1], "colour": "red"})
    for fault in (
        "batch: ",
        "learning_rate: ",
        "data.photons: ",
        "a range is two",
        "colour: it must be one of name",
    ):
        assert fault in str(error.value)


def test_faults_between_entries_are_told_together() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(SHIPPED, {"loss": "l3", "patch": 512, "percentiles": [99, 1], "model.scale": 4, "model.width": 8})
    for fault in (
        "loss 'l3' is not one of l1, mse, charbonnier",
        "patch 512 must fit the field of data.size_px 160",
        "percentiles (99.0, 1.0) must rise",
        "model.scale 4 must equal data.scale 2",
    ):
        assert fault in str(error.value)
    with pytest.raises(InputError, match=r"model\.width: Input should be greater"):
        read_recipe(SHIPPED, {"model.width": 0})
    with pytest.raises(InputError, match="architecture 'unet' must be one of edsr"):
        read_recipe(SHIPPED, {"architecture": "unet"})


def test_a_name_that_was_mistyped_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(
            SHIPPED,
            {
                "lerning_rate": 1,
                "data.photon": 1,
                "schedule": {"at": [0.5], "facter": 0.1},
                "steps": "many",
                "model.with": 8,
                "optimiser": "sgd",
            },
        )
    for fault in (
        "optimiser: Input should be 'adam' or 'muon', not 'sgd'",
        "lerning_rate: there is no such entry; did you mean learning_rate?",
        "data.photon: there is no such entry; did you mean photons?",
        "schedule.facter: there is no such entry; did you mean factor?",
        "schedule.factor: Field required",
        "model.with: there is no such entry; did you mean width?",
        "steps: Input should be a valid integer, unable to parse string as an integer, not 'many'",
    ):
        assert f"\n  {fault}" in str(error.value)
    with pytest.raises(InputError, match=r"model\.with: there is no such entry; did you mean width\?"):
        read_recipe(SHIPPED, {"model.with": 8})
    with pytest.raises(InputError, match=r"options\.x: it has no entries"):
        read_recipe(SHIPPED, {"options.x": 8})
    with pytest.raises(
        NotFoundError, match=r"there is no recipe edsr-confocal-sted-x3; the shipped ones are edsr-confocal-sted"
    ):
        read_recipe("edsr-confocal-sted-x3")


def test_combinations_that_cannot_be_are_told_together() -> None:
    with pytest.raises(InputError) as error:
        read_recipe(
            SHIPPED, {"accumulate": 20, "patience": 3, "watch": None, "betas": [0.9, 1.0], "objective": "magic"}
        )
    for fault in (
        "accumulate 20 must be at most batch 12",
        "patience 3 needs a figure to watch",
        "betas (0.9, 1.0) must be at least 0 and below 1",
        "objective 'magic' must be one of adversarial, diffusion, regression",
    ):
        assert f"\n  {fault}" in str(error.value)
    with pytest.raises(InputError, match="watch 'sharpness' must be one of psnr, ssim, frc, or null"):
        read_recipe(SHIPPED, {"watch": "sharpness"})


def test_pairs_take_the_place_of_what_is_simulated() -> None:
    recipe = read_recipe("edsr-confocal-sted-x2", {"data": {"pairs": "cells"}, "patch": 500})
    assert recipe.data == PairsConfig(pairs="cells")
    with pytest.raises(InputError, match=r"data\.noize: there is no such entry; did you mean noise\?"):
        read_recipe("edsr-confocal-sted-x2", {"data": {"pairs": "cells", "noize": 1}})
    with pytest.raises(InputError, match=r"SIM angles .* too near"):
        read_recipe("edsr-confocal-sted-x2", {"data": {"pairs": "cells", "angles_deg": [10, 11], "phases": 3}})


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_sound_and_named_as_its_file(name: str) -> None:
    assert read_recipe(name).name == name


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
