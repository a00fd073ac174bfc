"""Batches made ahead: in order, from the step asked for, with their errors."""

from __future__ import annotations

import os
import threading
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from fluorsr.errors import InputError
from fluorsr.train.feed import AHEAD, Batch, Feed, start_workers


def test_batches_come_in_order_from_another_thread_and_ahead() -> None:
    made: list[int] = []
    threads: set[int] = set()
    enough = threading.Event()

    def make(step: int) -> Batch:
        made.append(step)
        threads.add(threading.get_ident())
        if step == 7 + AHEAD:
            enough.set()
        return torch.tensor(step), torch.tensor(-step)

    feed = Feed(make, 7)
    assert [int(feed(7)[0])] == [7]
    assert enough.wait(10)
    assert [int(feed(step)[0]) for step in range(8, 20)] == list(range(8, 20))
    feed.close()
    assert made[:13] == list(range(7, 20))
    assert threading.get_ident() not in threads


def test_errors_reach_the_loop() -> None:
    def broken(step: int) -> Batch:
        raise BrokenProcessPool("gone")

    feed = Feed(broken, 0)
    with pytest.raises(InputError, match=r"a process that makes training data died; .*fewer --workers"):
        feed(0)
    feed.close()


def test_no_workers_are_started_for_none() -> None:
    assert start_workers(0) is None


def test_a_worker_is_another_process_with_one_thread() -> None:
    executor = start_workers(1)
    assert executor is not None
    assert executor.submit(os.getpid).result() != os.getpid()
    assert executor.submit(torch.get_num_threads).result() == 1
    executor.shutdown()
