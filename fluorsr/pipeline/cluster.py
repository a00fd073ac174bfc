"""Where tasks run: the thin layer over dask.distributed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster, Nanny, Worker, WorkerPlugin

from fluorsr.image import Image
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, Job, Workshop, close_workshop, open_workshop


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
