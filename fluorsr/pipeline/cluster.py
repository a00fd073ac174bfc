"""The thin layer over dask.distributed: where tasks run, and a window that keeps few of them in flight."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from distributed import Client, LocalCluster, Nanny, Worker, WorkerPlugin, as_completed

from fluorsr.image import Image
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, Job, Workshop, close_workshop, open_workshop

T = TypeVar("T")


class _OpenWorkshop(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Opens the image and loads the model once in each worker process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.name = job.name

    def setup(self, worker: Worker) -> None:
        tune_allocator()
        open_workshop(Workshop(self.job))

    def teardown(self, worker: Worker) -> None:
        close_workshop(self.name)


@contextmanager
def cluster(job: Job, workers: int, image: Image, model: LoadedModel) -> Iterator[Client]:
    """A dask client whose workers can run the job's tasks.

    One worker is this process itself, with the image and the model that are open here. More are processes of their
    own; a worker that dies is started again and its blocks are given to others.
    """
    inside = workers == 1
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=BLOCKS_AT_ONCE,
            processes=not inside,
            worker_class=Worker if inside else Nanny,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",  # any free port, seen from this machine only
            silence_logs=logging.ERROR,
        ) as local,
        Client(local) as client,
    ):
        if inside:
            open_workshop(Workshop(job, image, model))
        else:
            client.register_plugin(_OpenWorkshop(job))
        try:
            yield client
        finally:
            if inside:
                close_workshop(job.name)


def run_window(
    client: Client, task: Callable[..., T], calls: Iterable[tuple[Any, ...]], window: int
) -> Iterator[list[T]]:
    """Run `task(*call)` for every call with at most `window` in flight; yields the results that are ready, in batches.

    The first failure is raised as it was, after the results that were ready beside it; the rest is cancelled.
    """
    waiting = iter(calls)

    def submit(count: int) -> list[Any]:
        return [client.submit(task, *call, pure=False) for call in islice(waiting, count)]

    running = as_completed(submit(window))
    try:
        for batch in running.batches():
            failed = next((future for future in batch if future.status == "error"), None)
            yield [future.result() for future in batch if future.status == "finished"]
            if failed is not None:
                failed.result()
            running.update(submit(len(batch)))
    finally:
        client.cancel(list(running.futures), force=True)
