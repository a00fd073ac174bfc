"""The run's record: what is done is known after any crash, and only the same run may go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from fluorsr.errors import FormatError, InputError, NotFoundError, StorageError
from fluorsr.pipeline.journal import CHUNK, BlockFacts, Journal


def test_what_is_flushed_is_found_again_and_what_is_not_is_not(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, {"tile": [64, 64]}, {}, CHUNK + 10)
    journal.record(BlockFacts(3, 0xFFFFFFFF, 11, 5, 6, 7))
    journal.record(BlockFacts(CHUNK + 9, 0, 12, 1, 1, 1))
    journal.flush()
    journal.record(BlockFacts(4, 1, 1, 1, 1, 1))
    again = Journal.open(tmp_path)
    assert list(np.flatnonzero(again.done)) == [3, CHUNK + 9]
    assert again.facts(3) == BlockFacts(3, 0xFFFFFFFF, 11, 5, 6, 7)
    assert again.facts(CHUNK + 9).crc32c == 0  # a CRC of 0 is not "not done"
    totals = again.totals()
    assert (totals.nonfinite, totals.saturated, totals.diverged) == (6, 7, 8)


def test_the_record_is_an_ordinary_zarr_group(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, {"seed": 0}, {}, 5)
    journal.record(BlockFacts(1, 99))
    journal.flush()
    group = zarr.open_group(tmp_path / "fluorsr", mode="r")
    assert group.attrs["fingerprint"] == {"seed": 0}
    np.testing.assert_array_equal(group["blocks"][:, 0], [-1, 99, -1, -1, -1])


def test_only_the_same_run_goes_on(tmp_path: Path) -> None:
    Journal.create(tmp_path, {"tile": (64, 64), "seed": 0, "model": "edsr"}, {}, 1)
    journal = Journal.open(tmp_path)
    journal.check({"model": "edsr", "tile": (64, 64), "seed": 0})
    with pytest.raises(InputError, match=r"model: was 'edsr', now 'srgan'\n  seed: was 0, now None"):
        journal.check({"model": "srgan", "tile": [64, 64]})


def test_a_store_without_a_record_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no record of a fluorsr run"):
        Journal.open(tmp_path)


@pytest.mark.parametrize(
    "damage", ["{", '{"attributes": {"format": 99, "fingerprint": {}}}', '{"attributes": {}}', '{"attributes": 3}']
)
def test_a_damaged_record_is_told(tmp_path: Path, damage: str) -> None:
    Journal.create(tmp_path, {}, {}, 1)
    (tmp_path / "fluorsr" / "zarr.json").write_text(damage)
    with pytest.raises(FormatError, match="the run's record in"):
        Journal.open(tmp_path)


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="creating the run's record"):
        Journal.create(tmp_path / "missing", {}, {}, 1)
