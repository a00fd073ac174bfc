"""Tasks in flight: few at a time, tried again elsewhere, ended when they hang; what failed is told at the end.

    rows  ->  | window: at most so many submitted |  ->  results, in batches
                   ^                          |
                   +--- again, elsewhere  <---+ failed, fewer than TRIES times; or its worker died or hung

Requirements it meets
- A million rows cost the scheduler no more than a hundred: only the window is submitted. Rows go several at a time: the
  scheduler keeps some 180 bytes of every submission for the rest of the run.
- A row that fails is tried TRIES times, on another worker where there is one. Those that fail for good are named at the
  end with their worker and traceback, after everything else is done, or at once when there are MOST_FAILURES of them.
- A disk that is full or forbidden, and an output that another run took over, end the run at once.
- A worker that hangs is ended after HANG_FACTOR times the slowest row so far, at least HANG_LEAST_S; its rows move.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from fluorsr.errors import BlocksFailedError, FluorsrError, InUseError
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, Failure, Result, work

TRIES = 3
MOST_FAILURES = 20
HANG_FACTOR = 20
HANG_LEAST_S = 300.0
HANG_UNKNOWN_S = 3600.0
"""Before anything is measured."""

TICK_S = 1.0
RECOUNT_S = 5.0
ROWS_A_WORKER = 3 * BLOCKS_AT_ONCE
"""A third of them in work, the others waiting, so that no worker waits for the coordinator."""

REFILL = 3
"""The window is filled up when one part in so many is free."""

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
TOLD = 5
"""Failures told in full; the others by their row."""


@dataclass
class _Flight:
    row: int
    tries: int = 1
    avoid: Set[str] = frozenset()
    since: float = field(default_factory=time.monotonic)


class Window:
    """Runs rows of one job on a client; `lost` counts tries that failed, died or hung."""

    def __init__(self, client: Client, name: str, tell: Callable[[str], None]) -> None:
        self.client = client
        self.name = name
        self.tell = tell
        self.lost = 0
        self._slowest = 0.0
        self._flying: dict[Any, _Flight] = {}
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._failed: list[Failure] = []
        self._counted = -RECOUNT_S
        self._size = 1

    @property
    def size(self) -> int:
        """Rows in flight: so many for each worker there is; workers come and go."""
        if time.monotonic() - self._counted > RECOUNT_S:
            self._counted = time.monotonic()
            self._size = ROWS_A_WORKER * max(1, len(self.client.nthreads()))
        return self._size

    def run(self, rows: Iterable[int], describe: Callable[[int], str]) -> Iterator[list[Result]]:
        """Yield the results of all rows as they come, in batches.

        Raises BlocksFailedError at the end where rows failed for good, or the error itself where every row would fail.
        """
        waiting = iter(rows)
        try:
            while True:
                free = self.size - len(self._flying)
                if free * REFILL >= self.size:
                    self._submit([_Flight(row) for row in islice(waiting, free)])
                if not self._flying:
                    break
                results = self._collect()
                if results:
                    yield results
                if len(self._failed) >= MOST_FAILURES:
                    break
        finally:
            self.client.cancel(list(self._flying), force=True)
            self._flying.clear()
        if self._failed:
            raise _report(self._failed, describe)

    def _submit(self, flights: list[_Flight]) -> None:
        """To any worker, or rather not to those that a flight is to avoid."""
        if not flights:
            return
        avoid = set().union(*(flight.avoid for flight in flights))
        others = [worker for worker in self.client.nthreads() if worker not in avoid] if avoid else None
        futures = self.client.map(
            work,
            [self.name] * len(flights),
            [flight.row for flight in flights],
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        for future, flight in zip(futures, flights, strict=True):
            self._flying[future] = flight
            future.add_done_callback(self._done.put)

    def _collect(self) -> list[Result]:
        """Wait up to TICK_S for what is ready; failures are submitted again or kept for the report."""
        try:
            ready = [self._done.get(timeout=TICK_S)]
        except Empty:
            self._end_what_hangs()
            return []
        while not self._done.empty():
            ready.append(self._done.get())
        ready = [future for future in ready if future in self._flying]  # not those given up
        finished = [future for future in ready if future.status == "finished"]
        outcomes = dict(zip(finished, self.client.gather(finished), strict=True))
        results = []
        for future in ready:
            flight = self._flying.pop(future)
            outcome = outcomes.get(future) or _died(flight.row, future)
            if isinstance(outcome, Result):
                self._slowest = max(self._slowest, outcome.seconds)
                results.append(outcome)
            else:
                self._again(flight, outcome)
        return results

    def _again(self, flight: _Flight, failure: Failure) -> None:
        self.lost += 1
        if failure.error is not None and (failure.errno in FATAL or isinstance(failure.error, InUseError)):
            raise failure.error
        if flight.tries == TRIES:
            self._failed.append(failure)
            return
        self._submit([_Flight(flight.row, flight.tries + 1, flight.avoid | {failure.worker})])

    def _end_what_hangs(self) -> None:
        now = time.monotonic()
        limit = max(HANG_LEAST_S, HANG_FACTOR * self._slowest) if self._slowest else HANG_UNKNOWN_S
        late = {future.key: future for future, flight in self._flying.items() if now - flight.since > limit}
        if not late:
            return
        for worker, keys in self.client.processing().items():
            hanging = [late[key] for key in keys if key in late]
            if not hanging:
                continue
            rows = ", ".join(str(self._flying[future].row) for future in hanging)
            self.tell(
                f"worker {worker} has not answered for {limit:.0f} s over block {rows}; its blocks move to others"
            )
            _end_worker(self.client, worker)
            for future in hanging:
                flight = self._flying.pop(future)
                self.client.cancel([future], force=True)
                why = f"hung for {limit:.0f} s"
                self._again(flight, Failure(flight.row, worker, worker, why, why))


def _end_worker(client: Client, worker: str) -> None:
    """Kill a worker that does not answer, where it has a nanny, or have the scheduler forget it."""
    try:
        client.restart_workers([worker], timeout=30, raise_for_error=False)
    except ValueError:  # no nanny
        client.run_on_scheduler(_forget, worker=worker)


async def _forget(dask_scheduler: Any, worker: str) -> None:
    await dask_scheduler.remove_worker(worker, stimulus_id="fluorsr-hang", close=False)


def _died(row: int, future: Any) -> Failure:
    """The failure of a task that did not come back by itself."""
    error = future.exception()
    worker = error.last_worker.address if isinstance(error, KilledWorker) and error.last_worker else "unknown"
    if isinstance(error, KilledWorker):
        why = "its worker died again and again: killed, out of memory, or crashed; its own log tells more"
    elif isinstance(error, FutureCancelledError):
        why = "it was cancelled: the scheduler lost it"
    else:
        why = f"{type(error).__name__}: {error}"
    return Failure(row, worker, worker, why, why)


def _report(failed: list[Failure], describe: Callable[[int], str]) -> FluorsrError:
    """The end report; where one and the same known error explains everything, still with its place and traceback."""
    lines = [f"{len(failed)} blocks failed, each after {TRIES} tries; the others are done and safe"]
    if len(failed) >= MOST_FAILURES:
        lines[0] = f"{len(failed)} blocks failed, so the run was ended; what is done is safe"
    for failure in failed[:TOLD]:
        lines.append(f"  {describe(failure.row)}, on worker {failure.worker} ({failure.where}): {failure.why}")
    if len(failed) > TOLD:
        lines.append("  and block " + ", ".join(str(failure.row) for failure in failed[TOLD:]))
    lines.append("mend the cause, then run the same command with --resume; the first one's traceback:")
    lines.append(failed[0].traceback.rstrip())
    return BlocksFailedError("\n".join(lines))
