"""Where tasks run: this process, processes of this machine, one for each GPU, Slurm jobs, or any dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import torch
import yaml
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin

from fluorsr.errors import BlocksFailedError, InputError, import_extra
from fluorsr.image import Image
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, Job, Workshop, close_workshop, open_workshop

JOIN_S = 600
"""How long the first worker of a cluster may take to join: a queue may be full."""

CONNECT_S = 30
START_TRIES = 3

SETTINGS = {"distributed.worker.profile.enabled": False}
"""dask's statistical profiler, which nobody reads here, keeps 0.1 MB of samples a second, for an hour."""

LOCAL_ADDRESS = "127.0.0.1:0"  # any free port, seen from this machine only


@dataclass(frozen=True)
class Where:
    """Where to run; at most one of the last three is set, and `workers` counts only where none is.

    workers     processes of this machine; 1 is this process
    scheduler   address of a running dask cluster, such as tcp://node1:8786
    gpus        CUDA devices of this machine, one process each
    slurm       options of dask_jobqueue.SLURMCluster, and `jobs`, how many to submit
    """

    workers: int = 1
    scheduler: str | None = None
    gpus: tuple[str, ...] = ()
    slurm: dict[str, Any] | None = None

    @property
    def processes(self) -> int:
        """Processes of this machine."""
        return len(self.gpus) or self.workers

    @property
    def inside(self) -> bool:
        """Do tasks run in this process?"""
        return self.workers == 1 and not self.elsewhere and not self.gpus

    @property
    def elsewhere(self) -> bool:
        """May workers be on other machines?"""
        return self.scheduler is not None or self.slurm is not None


def choose_where(workers: int, scheduler: str | None, gpus: str | None, slurm: str | Path | None) -> Where:
    """Check and resolve the options of `fluorsr.infer`. Raises InputError where they do not fit together."""
    given = [name for name, value in (("scheduler", scheduler), ("gpus", gpus), ("slurm", slurm)) if value is not None]
    if workers < 1:
        raise InputError(f"workers {workers} must be at least 1")
    if len(given) + (workers > 1) > 1:
        raise InputError(f"{', '.join(given)}{' and workers' if workers > 1 else ''} exclude each other: choose one")
    return Where(
        workers,
        scheduler,
        choose_gpus(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()) if gpus else (),
        read_slurm(Path(slurm)) if slurm is not None else None,
    )


def choose_gpus(wanted: str, visible: str | None, count: int) -> tuple[str, ...]:
    """The devices to use, as CUDA_VISIBLE_DEVICES names them: `all`, or indices among those that are visible.

    visible   this process's CUDA_VISIBLE_DEVICES: indices or UUIDs; None where it is not set
    count     CUDA devices that torch sees
    """
    here = tuple(name.strip() for name in visible.split(","))[:count] if visible else tuple(map(str, range(count)))
    if not here:
        raise InputError(f"--gpus {wanted}: this machine has no CUDA device; leave it out, or use --workers")
    if wanted == "all":
        return here
    words = [word.strip() for word in wanted.split(",")]
    wrong = [word for word in words if not word.isdecimal() or int(word) >= len(here)]
    if wrong or len(set(words)) < len(words):
        raise InputError(f"--gpus {wanted} must be all, or different numbers of 0 to {len(here) - 1}, as in 0,1")
    return tuple(here[int(word)] for word in words)


def read_slurm(path: Path) -> dict[str, Any]:
    """The options of a Slurm cluster out of a YAML file. Raises InputError where they are not."""
    try:
        options = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"--slurm {path} cannot be read: {error}") from error
    missing = [name for name in ("cores", "memory") if name not in options] if isinstance(options, dict) else ["cores"]
    if missing:
        raise InputError(
            f"--slurm {path} must be YAML with at least `cores` and `memory` of a job; it lacks {', '.join(missing)}. "
            "Others: jobs (how many), queue, walltime, account, job_extra_directives, job_script_prologue"
        )
    return dict(options)


def slurm_script(options: dict[str, Any]) -> str:
    """The script that each job of `--slurm` is submitted with. Nothing is submitted."""
    with _slurm(options) as made:
        return str(made.job_script())


class _OpenWorkshop(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Opens the image and loads the model once in each worker process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.name = job.name

    def setup(self, worker: Worker) -> None:
        tune_allocator()
        open_workshop(Workshop(self.job, threads=self.job.threads or worker.state.nthreads))

    def teardown(self, worker: Worker) -> None:
        close_workshop(self.name)


@contextmanager
def cluster(where: Where) -> Iterator[Client]:
    """A dask client with at least one worker. Raises InputError where none can be reached or none joins."""
    with _scheduler(where) as reached:
        try:
            client = Client(reached, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise InputError(f"no dask scheduler answers at {where.scheduler}: {error}; is it running?") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=JOIN_S)
            except TimeoutError as error:
                raise InputError(f"no worker joined the scheduler in {JOIN_S} s; start some, then --resume") from error
            yield client


@contextmanager
def opened_workshops(client: Client, where: Where, job: Job, image: Image, model: LoadedModel) -> Iterator[None]:
    """While this lasts every worker, and each that joins, has the image open and the model loaded.

    A worker that is this process takes what is open here.
    """
    plugin = _OpenWorkshop(job)
    if where.inside:
        open_workshop(Workshop(job, image, model))
    else:
        client.register_plugin(plugin)
    try:
        yield
    finally:
        if where.inside:
            close_workshop(job.name)
        else:
            client.unregister_worker_plugin(plugin.name)


@contextmanager
def _scheduler(where: Where) -> Iterator[Any]:
    """What a Client connects to."""
    if where.scheduler is not None:
        yield where.scheduler
        return
    if where.slurm is not None:
        with _slurm(where.slurm) as made:
            made.scale(jobs=int(where.slurm.get("jobs", 1)))
            yield made
        return
    with _started(lambda: _one_a_gpu(where.gpus) if where.gpus else _local(where.workers)) as made:
        yield made


def _started(make: Callable[[], Any]) -> Any:
    """A cluster of this machine; a worker that dies while it starts takes the whole with it, so it is made again."""
    died = None
    for _ in range(START_TRIES):
        try:
            with dask.config.set(SETTINGS):
                return make()
        except RuntimeError as error:
            died = error
    raise BlocksFailedError(
        f"the worker processes died {START_TRIES} times while they started ({died}); is there memory for them? "
        "try fewer workers, then --resume"
    ) from died


def _local(workers: int) -> Any:
    """Processes of this machine; one that dies is started again.

    A worker within this process has no time to live: after a stop, a night of sleep or a jump of the clock it would be
    taken for dead, and nobody would start it again.
    """
    with dask.config.set({"distributed.scheduler.worker-ttl": None} if workers == 1 else {}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=BLOCKS_AT_ONCE,
            processes=workers > 1,
            worker_class=Worker if workers == 1 else Nanny,
            memory_limit=0,
            dashboard_address=LOCAL_ADDRESS,
            silence_logs=logging.ERROR,
        )


def _one_a_gpu(gpus: tuple[str, ...]) -> Any:
    """One process a GPU: through dask-cuda where it is installed (it binds each to cores near its GPU), else plain."""
    try:
        cuda = import_extra("dask_cuda", "gpu")
    except ImportError:
        return SpecCluster(
            workers=gpu_workers(gpus),
            scheduler={"cls": Scheduler, "options": {"dashboard_address": LOCAL_ADDRESS, "host": "127.0.0.1"}},
            silence_logs=logging.ERROR,
        )
    return cuda.LocalCUDACluster(
        CUDA_VISIBLE_DEVICES=",".join(gpus),
        threads_per_worker=BLOCKS_AT_ONCE,
        memory_limit=0,
        dashboard_address=LOCAL_ADDRESS,
        silence_logs=logging.ERROR,
    )


def gpu_workers(gpus: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """One worker for each GPU, which sees that one alone: distributed's description of them."""
    return {
        f"gpu-{gpu}": {
            "cls": Nanny,
            "options": {
                "nthreads": BLOCKS_AT_ONCE,
                "memory_limit": 0,
                "env": {"CUDA_VISIBLE_DEVICES": gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            },
        }
        for gpu in gpus
    }


def _slurm(options: dict[str, Any]) -> Any:
    given = {"processes": 1, **{name: value for name, value in options.items() if name != "jobs"}}
    jobqueue = import_extra("dask_jobqueue", "slurm")
    try:  # a job first: a cluster that fails half-made never closes
        for_cluster = {"interface", "scheduler_options", "shared_temp_directory", "security"}
        jobqueue.slurm.SLURMJob("tcp://check", "check", **{k: v for k, v in given.items() if k not in for_cluster})
        scheduler = {"dashboard_address": LOCAL_ADDRESS, **given.pop("scheduler_options", {})}
        return jobqueue.SLURMCluster(**given, scheduler_options=scheduler)
    except (TypeError, ValueError) as error:
        raise InputError(f"--slurm: {error}") from error
