"""Runs that meet another run, a changed input, a move, or damage: refused, or ended with the undisturbed bytes."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

import fluorsr
from fluorsr.errors import InputError, InUseError
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.summary import Progress

Damage = Callable[[Path], None]


def contents(store: Path) -> dict[str, str]:
    """Every file below a store, and the hash of its bytes."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """z 2, y 50, x 700 of uint16: blocks of 66 make levels 0 and 1 together, and level 2 is the tail."""
    path = tmp_path / "cells.zarr"
    pixels = np.random.default_rng(0).poisson(200, (2, 50, 700)).astype(np.uint16)
    zarr.create_array(path, data=pixels, chunks=(1, 64, 64), dimension_names=("z", "y", "x"))
    return path


@pytest.fixture
def interrupted(cells: Path, small_model: Path, tmp_path: Path) -> Path:
    """A run that was stopped, as Ctrl-C does, when some blocks were done."""

    def stop(at: Progress) -> None:
        if at.stage == "restore" and at.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infer(cells, tmp_path / "out.zarr", model=small_model, block=66, progress=stop)
    assert not Journal.open(tmp_path / "out.zarr").done.all()
    return tmp_path / "out.zarr"


@pytest.fixture
def undisturbed(cells: Path, small_model: Path, tmp_path: Path) -> dict[str, str]:
    infer(cells, tmp_path / "undisturbed.zarr", model=small_model, block=66)
    return contents(tmp_path / "undisturbed.zarr")


def test_a_second_run_on_one_output_is_refused_and_the_first_goes_on(
    cells: Path, small_model: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    refused: list[str] = []

    def meet(at: Progress) -> None:
        if at.stage == "restore" and not refused:
            for option in ("resume", "overwrite"):
                with pytest.raises(InUseError, match="is being written by process") as told:
                    infer(cells, tmp_path / "out.zarr", model=small_model, block=66, **{option: True})  # type: ignore[arg-type]
                refused.append(str(told.value))

    infer(cells, tmp_path / "out.zarr", model=small_model, block=66, progress=meet)
    assert len(refused) == 2
    assert contents(tmp_path / "out.zarr") == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.zarr", "out.zarr", "undisturbed.zarr"]


def test_runs_that_start_together_leave_one_output(cells: Path, small_model: Path, tmp_path: Path) -> None:
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(infer(cells, tmp_path / "out.zarr", model=small_model, block=66))
        except (InUseError, FileExistsError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1, outcomes
    assert fluorsr.verify(tmp_path / "out.zarr").complete
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.zarr", "out.zarr"]


@pytest.mark.parametrize("change", ["a pixel of a finished block", "the brightest"])
def test_an_input_changed_between_runs_is_refused(
    cells: Path, small_model: Path, interrupted: Path, change: str
) -> None:
    pixels = zarr.open_array(cells, mode="a")
    if change == "the brightest":
        pixels[0, :10] = 60_000
        message = r"other parameters \(the input's pixels have changed\)"
    else:
        pixels[0, 5, 5] += 1
        message = r"has changed since the run was begun, in 1 finished blocks, first in block 0 \(t 0, c 0, z 0, y 0:66"
    before = contents(interrupted)
    with pytest.raises(InputError, match=message):
        infer(cells, interrupted, model=small_model, block=66, resume=True)
    assert contents(interrupted) == before


def test_an_input_that_was_only_copied_is_taken(
    cells: Path, small_model: Path, tmp_path: Path, interrupted: Path, undisturbed: dict[str, str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(cells, elsewhere / "cells.zarr", copy_function=shutil.copyfile)
    shutil.move(cells, elsewhere / "original")
    shutil.move(interrupted, elsewhere / "moved.zarr")
    stages: set[str] = set()
    summary = infer(
        elsewhere / "cells.zarr",
        elsewhere / "moved.zarr",
        model=small_model,
        block=66,
        resume=True,
        progress=lambda at: stages.add(at.stage),
    )
    assert summary.blocks_resumed >= 8
    assert "check input" in stages
    assert contents(elsewhere / "moved.zarr") == undisturbed
    assert not list(tmp_path.glob(".*"))


def flip(path: Path, at: int = 100) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("0/c/1/1/7", flip),
        ("0/c/0/0/0", Path.unlink),
        ("0/c/0/1/3", lambda path: path.write_bytes(path.read_bytes()[:50])),
        ("1/c/1/0/2", flip),
        ("1/c/1/0/2", Path.unlink),
        ("2/c/0/0/1", flip),
        ("0/zarr.json", Path.unlink),
        ("2/zarr.json", lambda path: path.write_bytes(path.read_bytes()[:50])),
    ],
)
def test_damage_is_found_and_repaired_to_the_same_bytes(
    cells: Path, small_model: Path, tmp_path: Path, undisturbed: dict[str, str], name: str, harm: Damage
) -> None:
    out = tmp_path / "undisturbed.zarr"
    before = {path: (out / path).stat().st_mtime_ns for path in undisturbed}
    harm(out / name)
    if not name.startswith("0/zarr"):
        assert not fluorsr.verify(out).complete
    mended = fluorsr.verify(out, repair=True)
    assert mended.complete
    assert contents(out) == undisturbed
    if "c/" in name:
        assert len(mended.repaired) == 1
        written = {
            path
            for path in undisturbed
            if (out / path).stat().st_mtime_ns != before[path] and "/c/" in path and path[0] in "012"
        }
        plane, *_ = name.split("/c/")[1]
        assert {path.split("/c/")[1][0] for path in written} == {plane}  # nothing of the other plane was touched
        assert len(written) <= 4


def test_repair_follows_what_was_moved(cells: Path, small_model: Path, tmp_path: Path, undisturbed: object) -> None:
    out = tmp_path / "undisturbed.zarr"
    flip(out / "0/c/0/0/0")
    moved = shutil.move(cells, tmp_path / "moved.zarr")
    with pytest.raises(FileNotFoundError, match=r"cells\.zarr does not exist"):
        fluorsr.verify(out, repair=True)
    assert fluorsr.verify(out, repair=True, source=moved, model=small_model).complete


def test_resuming_with_verify_rereads_what_it_trusts(
    cells: Path, small_model: Path, interrupted: Path, undisturbed: dict[str, str]
) -> None:
    (interrupted / "0/c/0/0/0").unlink()
    summary = infer(cells, interrupted, model=small_model, block=66, resume=True, verify=True)
    assert [fault.split(" has")[0] for fault in summary.repaired] == ["block 0 (t 0, c 0, z 0, y 0:66, x 0:66)"]
    assert contents(interrupted) == undisturbed
    with pytest.raises(InputError, match="it goes with resume"):
        infer(cells, interrupted, model=small_model, verify=True)


def test_a_tail_that_is_not_built_is_told(undisturbed: object, tmp_path: Path) -> None:
    out = tmp_path / "undisturbed.zarr"
    journal = Journal.open(out)
    layout_rows = len(journal)
    journal.forget([layout_rows - 1])
    journal.flush()
    found = fluorsr.verify(out)
    assert not found.complete
    assert "1 blocks of the pyramid are not built" in found.faults[0]
