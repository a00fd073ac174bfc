"""Tiles of background are left out by a rule that neither blocks nor workers change, and never a structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

import fluorsr
from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.open import open_image
from fluorsr.normalize import fit
from fluorsr.pipeline.empty import Empty, empty_rules
from fluorsr.pipeline.run import infer

USUAL = {"tile": 68, "dtype": "float32", "threads": 1}


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    """[320, 300] uint16: background 100 with a noise of 4, and one line of 5 pixels that is 30 brighter."""
    pixels = 100 + 4 * np.random.default_rng(0).standard_normal((320, 300))
    pixels[200:205, 40:260] += 30
    return pixels.round().astype(np.uint16)


def test_the_rule_by_hand() -> None:
    rule = Empty(10.0, "as given")
    flat = np.full((16, 16), 10, np.uint16)
    assert rule(flat)
    flat[3, 3] = 26  # its mean over 4 x 4 is 11
    assert not rule(flat)
    spread = np.full((16, 16), 10.0, np.float32)
    spread[8, 8:10] = np.nan, np.inf  # taken as background
    assert rule(spread)
    spread[8, 10] = 11
    assert not rule(spread)
    assert rule(np.full((1, 7), 10, np.uint8))  # smaller than 4 x 4, too


def test_auto_finds_background_and_noise_of_the_darkest_patches(field) -> None:
    for pixels in (field, np.pad(field, ((0, 0), (0, 128)))):  # padding of nothing is not the background
        (rule,) = empty_rules(Image(pixels, "yx"), (0,), "auto").values()
        assert rule.threshold == pytest.approx(100 + 6 * 4 / 4, abs=1.0)
        assert rule.why.startswith("background 99") or rule.why.startswith("background 100")
    (flat,) = empty_rules(Image(np.full((80, 80), 7, np.uint8), "yx"), (0,), "auto").values()
    assert (flat.threshold, flat.why) == (7, "the least there is: no patch shows noise")
    with pytest.raises(InputError, match="skip_empty 'dark' must be auto or a number of counts"):
        empty_rules(Image(field, "yx"), (0,), "dark")


def test_what_is_skipped_is_flat_and_the_rest_as_it_was(field, small_model: Path) -> None:
    plain = fluorsr.restore(field, small_model, **USUAL).data
    low = fit(Image(field, "yx")).low
    found = fluorsr.restore(field, small_model, skip_empty="auto", **USUAL).data
    skipped = found != plain
    assert 0.2 < skipped.mean() < 0.9
    assert (found[skipped] == low).all()
    batched = fluorsr.restore(field, small_model, skip_empty="auto", batch=3, **USUAL).data
    np.testing.assert_array_equal(batched == low, found == low)
    assert not skipped[2 * 195 : 2 * 210, 2 * 36 : 2 * 264].any()  # the line and what is near it
    np.testing.assert_array_equal(fluorsr.restore(field, small_model, skip_empty=0, **USUAL).data, plain)
    assert np.ptp(fluorsr.restore(field, small_model, skip_empty=1e9, **USUAL).data) == 0


def test_blocks_batches_and_workers_change_nothing_and_damage_is_mended(
    field, small_model: Path, tmp_path: Path
) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=field, chunks=(64, 64))
    options = {"model": small_model, "skip_empty": "auto", **USUAL}
    expected = fluorsr.restore(field, small_model, skip_empty="auto", **USUAL).data
    told: list[str] = []
    for name, more in {"a": {"block": 128}, "b": {"block": 256}, "c": {"block": 128, "workers": 2}}.items():
        summary = infer(tmp_path / "in.zarr", tmp_path / f"{name}.zarr", tell=told.append, **{**options, **more})
        np.testing.assert_array_equal(open_image(tmp_path / f"{name}.zarr").to_numpy(), expected)
        assert summary.tiles_skipped == 20  # of 25: the line lies in one row of them
    assert any("left out where they are empty: no mean over 4 x 4 pixels above 10" in note for note in told)
    assert any("20 of 25 tiles were empty" in note for note in summary.notes)
    shard = tmp_path / "a.zarr" / "0" / "c" / "0" / "0"
    before = shard.read_bytes()
    shard.unlink()
    assert fluorsr.verify(tmp_path / "a.zarr", repair=True).complete
    assert shard.read_bytes() == before
    again = infer(tmp_path / "in.zarr", tmp_path / "a.zarr", resume=True, **{**options, "block": 128})
    assert again.tiles_skipped == 20  # from the record
    with pytest.raises(InputError, match=r"skip_empty: was .*now None"):
        infer(tmp_path / "in.zarr", tmp_path / "a.zarr", resume=True, **{**options, "block": 128, "skip_empty": None})
