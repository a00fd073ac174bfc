"""Batches made off the training thread, the same for the same step whoever makes them.

    worker processes           a thread                     the loop
    simulate fields   ----->   cut patches, stack   ----->  batches(step)      AHEAD batches lie ready

Fields take long and much Python, so processes make them; patches take a millisecond, and need what the fields share.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch
from torch import Tensor

from fluorsr.errors import InputError

AHEAD = 4

Batch = tuple[Tensor, Tensor]


class Feed:
    """Calls `make(step)` for step `first` and those after it, up to AHEAD steps before they are asked for."""

    def __init__(self, make: Callable[[int], Batch], first: int) -> None:
        self._make, self._next = make, first
        self._thread = ThreadPoolExecutor(1, "batches")
        self._made: deque[Future[Batch]] = deque()

    def __call__(self, step: int) -> Batch:
        """The batch of a step; steps must be asked for in order. Raises what `make` raised."""
        while len(self._made) <= AHEAD:
            self._made.append(self._thread.submit(self._make, self._next))
            self._next += 1
        assert step == self._next - len(self._made), "batches come in order"
        try:
            return self._made.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "a process that makes training data died; it may have run out of memory (try fewer --workers), and a "
                "script that trains must start under `if __name__ == '__main__':` (or take workers=0)"
            ) from error

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def start_workers(count: int | None) -> Executor | None:
    """Processes for making data: `count`, half of the CPUs where None; none at all for 0."""
    if count is None:
        count = max(1, (os.cpu_count() or 1) // 2)
    if count < 1:
        return None
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """In a worker: leave signals to the parent, take one thread, and end where the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
