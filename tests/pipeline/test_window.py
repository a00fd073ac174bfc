"""Rows that fail are tried elsewhere, workers that hang lose only their rows, and what failed for good is named."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, get_worker

import fluorsr
import fluorsr.pipeline.window as module
from fluorsr.errors import BlocksFailedError, InUseError, StorageError
from fluorsr.pipeline.block import Made, Maker
from fluorsr.pipeline.journal import BlockFacts
from fluorsr.pipeline.plan import Block
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.window import MOST_FAILURES, TRIES, Window
from fluorsr.pipeline.worker import Failure, Result


@pytest.fixture
def client() -> Iterator[Client]:
    """Two workers of two threads, within this process."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local) as made,
    ):
        yield made


Task = Callable[[int], Result | Failure]
TASKS: dict[str, Callable[[str, int], Result | Failure]] = {}


def call(name: str, row: int) -> Result | Failure:
    """What is submitted: dask sends functions by name, and those of a test close over what it looks at."""
    return TASKS[name](name, row)


class Rows:
    """Runs a task for rows in a window and keeps what came of it."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
        self.seen: list[tuple[int, str]] = []
        self.told: list[str] = []
        self.done: list[int] = []

        def work(name: str, row: int) -> Result | Failure:
            self.seen.append((row, get_worker().address))
            return task(row)

        TASKS["job"] = work
        monkeypatch.setattr(module, "work", call)
        self.window = Window(client, "job", self.told.append)

    def run(self, rows: int) -> None:
        for results in self.window.run(range(rows), lambda row: f"block {row}"):
            self.done += [result.facts.row for result in results]


def good(row: int) -> Result:
    return Result(BlockFacts(row, 1), 1, 0.001)


def bad(row: int, error: Exception | None = None) -> Failure:
    known = error if isinstance(error, StorageError | InUseError) else None
    number = getattr(known, "errno", None)
    return Failure(row, get_worker().address, "host, process 1", "ValueError: no", "Traceback: deep", known, number)


def test_every_row_is_done_once_whatever_the_window(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(client, monkeypatch, good)
    rows.run(50)
    assert sorted(rows.done) == list(range(50))
    assert len(rows.seen) == 50
    assert rows.window.lost == 0


def test_a_row_that_fails_is_tried_on_another_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def task(row: int) -> Result | Failure:
        if row != 5 or tries.append(get_worker().address) or len(tries) == 2:
            return good(row)
        return bad(row)

    rows = Rows(client, monkeypatch, task)
    rows.run(8)
    assert sorted(rows.done) == list(range(8))
    assert len(tries) == len(set(tries)) == 2
    assert rows.window.lost == 1


def test_what_fails_for_good_is_named_after_the_rest_is_done(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(client, monkeypatch, lambda row: bad(row) if row in (3, 7) else good(row))
    with pytest.raises(BlocksFailedError, match="2 blocks failed, each after 3 tries; the others are done") as told:
        rows.run(12)
    assert sorted(rows.done) == [row for row in range(12) if row not in (3, 7)]
    assert sum(row == 3 for row, _ in rows.seen) == TRIES
    for words in ("block 3, on worker inproc://", "block 7", "(host, process 1): ValueError: no", "--resume", "deep"):
        assert words in str(told.value)


def test_a_run_in_which_everything_fails_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(client, monkeypatch, bad)
    with pytest.raises(BlocksFailedError, match="blocks failed, so the run was ended"):
        rows.run(1000)
    rows_begun = rows.window.size + MOST_FAILURES - 1  # at most: the window is filled up before the last failure
    assert len(rows.seen) <= TRIES * rows_begun


@pytest.mark.parametrize("kind", ["full", "taken"])
def test_a_full_disk_or_a_lost_lease_ends_the_run_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    full = StorageError("the disk is full")
    full.errno = errno.ENOSPC
    error: StorageError | InUseError = full if kind == "full" else InUseError("taken over")
    rows = Rows(client, monkeypatch, lambda row: bad(row, error) if row == 2 else good(row))
    with pytest.raises(type(error), match=str(error)):
        rows.run(1000)
    assert len(rows.seen) < 30


def test_a_worker_that_hangs_loses_only_its_rows(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANG_LEAST_S", 0.5)
    monkeypatch.setattr(module, "TICK_S", 0.05)
    awake = threading.Event()
    hung: list[str] = []

    def task(row: int) -> Result:
        if row == 6 and not hung:
            hung.append(get_worker().address)
            awake.wait(30)
        time.sleep(0.01)
        return good(row)

    rows = Rows(client, monkeypatch, task)
    try:
        started = time.monotonic()
        rows.run(20)
        assert time.monotonic() - started < 20
    finally:
        awake.set()
    assert sorted(rows.done) == list(range(20))
    assert "has not answered" in rows.told[0]
    assert hung[0] in rows.told[0]


def test_a_run_with_a_failing_block_is_resumed_to_the_same_pixels(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).poisson(200, (100, 200)).astype(np.uint16)
    zarr.create_array(tmp_path / "in.zarr", data=pixels, chunks=(64, 64))
    infer(tmp_path / "in.zarr", tmp_path / "whole.zarr", model=small_model, block=64)
    make = Maker.make

    def failing(maker: Maker, block: Block, *others: object) -> Made:
        if block.index == 9:
            raise OSError(errno.EIO, "Input/output error")
        return make(maker, block, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Maker, "make", failing)
    with pytest.raises(BlocksFailedError, match=r"1 blocks failed.*\n  block 9 \(t 0.*y 64:128, x 128:192\).*OSError"):
        infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model, block=64)
    monkeypatch.undo()
    assert not fluorsr.verify(tmp_path / "out.zarr").complete
    summary = infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model, block=64, resume=True)
    assert summary.blocks_resumed == summary.blocks - 1
    whole, out = (fluorsr.open(tmp_path / name).to_numpy() for name in ("whole.zarr", "out.zarr"))
    np.testing.assert_array_equal(whole, out)
