"""Where tasks run: options checked, GPUs given out, Slurm's script shown, clusters that see another store refused."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, Scheduler, SpecCluster

import fluorsr.pipeline.cluster as module
from fluorsr.cli.main import main
from fluorsr.errors import BlocksFailedError, InputError
from fluorsr.pipeline.cluster import Where, choose_gpus, choose_where, gpu_workers, slurm_script
from fluorsr.pipeline.probe import Sight, compare
from fluorsr.pipeline.run import infer


@pytest.mark.parametrize(
    ("wanted", "visible", "count", "chosen"),
    [
        ("all", None, 3, ("0", "1", "2")),
        ("all", "2,5", 2, ("2", "5")),
        ("1", "2,5", 2, ("5",)),
        ("1,0", None, 4, ("1", "0")),
        ("all", "GPU-ab, GPU-cd", 2, ("GPU-ab", "GPU-cd")),
    ],
)
def test_gpus_are_those_seen_here(wanted: str, visible: str | None, count: int, chosen: tuple[str, ...]) -> None:
    assert choose_gpus(wanted, visible, count) == chosen


@pytest.mark.parametrize(
    ("wanted", "count", "message"),
    [
        ("all", 0, "has no CUDA device"),
        ("2", 2, "different numbers of 0 to 1"),
        ("0,0", 2, "different numbers"),
        ("x", 2, "must be all"),
    ],
)
def test_gpus_that_are_not_there_are_told(wanted: str, count: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_gpus(wanted, None, count)


def test_each_process_is_given_one_gpu_of_its_own() -> None:
    options = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with (
        SpecCluster(gpu_workers(("3", "GPU-ab")), {"cls": Scheduler, "options": options}) as made,
        Client(made) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        seen = client.run(eval, "__import__('os').environ['CUDA_VISIBLE_DEVICES']")
    assert sorted(seen.values()) == ["3", "GPU-ab"]


def test_options_that_exclude_each_other_are_told() -> None:
    assert choose_where(3, None, None, None) == Where(3)
    assert choose_where(1, None, None, None).inside
    with pytest.raises(InputError, match="scheduler, slurm exclude each other"):
        choose_where(1, "tcp://a:1", None, "file")
    with pytest.raises(InputError, match="scheduler and workers exclude"):
        choose_where(2, "tcp://a:1", None, None)
    with pytest.raises(InputError, match="workers 0 must be at least 1"):
        choose_where(0, None, None, None)


def test_a_dry_run_prints_the_script_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text("jobs: 8\ncores: 4\nmemory: 16GB\nqueue: gpu\nwalltime: '02:00:00'\ninterface: lo\n")
    words = ["fluorsr", "infer", "in.zarr", "out.zarr", "--slurm", str(file), "--dry-run"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    script = capsys.readouterr().out
    for line in ("#SBATCH -p gpu", "#SBATCH --cpus-per-task=4", "#SBATCH -t 02:00:00", "worker tcp://"):
        assert line in script


def test_slurm_options_that_do_not_hold_are_told(tmp_path: Path) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text("cores: 4\n")
    with pytest.raises(InputError, match="it lacks memory"):
        choose_where(1, None, None, file)
    with pytest.raises(InputError, match="cannot be read"):
        choose_where(1, None, None, tmp_path / "missing.yaml")
    with pytest.raises(InputError, match=r"--slurm: .*colour"):
        slurm_script({"cores": 1, "memory": "1GB", "colour": "red"})


HERE = Sight("host, process 1", "fluorsr 0.1.0, torch 2.13.0", "AVX2", "yx (5, 5) uint8, first pixels 00", "run", ".a")


def test_a_worker_that_sees_another_store_is_named_with_what_it_sees() -> None:
    visible = {".a", ".b"}
    assert compare({"tcp://1": HERE, "tcp://2": replace(HERE, mark=".b", host="node2")}, HERE, visible) == []
    for changed, words in (
        ({"source": "/data/in.zarr does not exist; check the name"}, "input: /data/in.zarr does not exist"),
        ({"output": "not there, or not this run's"}, "output: not there"),
        ({"mark": ".c"}, "what it writes is not seen here"),
        ({"mark": "cannot write there: Read-only file system"}, "output: cannot write there: Read-only"),
        ({"versions": "fluorsr 0.0.9, torch 2.6"}, "runs fluorsr 0.0.9, torch 2.6, here fluorsr 0.1.0"),
    ):
        (line,) = compare({"tcp://2": replace(HERE, host="node2, process 7", **changed)}, HERE, visible)
        assert line.startswith("tcp://2 (node2, process 7): ")
        assert words in line
    (line,) = compare({"tcp://2": ModuleNotFoundError("No module named 'fluorsr'")}, HERE, visible)
    assert "cannot run fluorsr: ModuleNotFoundError" in line


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running cluster of two worker processes, as a user finds it."""
    with LocalCluster(n_workers=2, threads_per_worker=2, memory_limit=0, dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


def contents(store: Path) -> dict[str, str]:
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_running_cluster_writes_the_same_bytes(
    address: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).poisson(200, (2, 100, 170)).astype(np.uint16)
    zarr.create_array(tmp_path / "in.zarr", data=pixels, dimension_names=("z", "y", "x"))
    infer(tmp_path / "in.zarr", tmp_path / "here.zarr", model=small_model, block=64)
    monkeypatch.chdir(tmp_path)  # relative paths: the workers stand elsewhere
    for name in ("there.zarr", "again.zarr"):
        infer("in.zarr", name, model=small_model, block=64, scheduler=address)
        assert contents(tmp_path / name) == contents(tmp_path / "here.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.zarr", "here.zarr", "in.zarr", "there.zarr"]


def test_a_cluster_that_does_not_see_the_input_is_refused(
    address: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=np.ones((80, 80), np.uint16))
    monkeypatch.setattr("fluorsr.pipeline.probe._corner", lambda image: "what this process alone sees")
    with pytest.raises(InputError, match="not every worker sees the same store") as told:
        infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model, scheduler=address)
    assert str(told.value).count("input: yx (80, 80) uint16, first pixels") == 2
    assert not list((tmp_path / "out.zarr" / "fluorsr").glob(".*"))


def test_no_scheduler_is_told(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=np.ones((80, 80), np.uint16))
    monkeypatch.setattr("fluorsr.pipeline.cluster.CONNECT_S", 1)
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model, scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_worker_collects_profiles(workers: int) -> None:
    """Of which dask keeps an hour's."""
    with module._started(lambda: module._local(workers)) as cluster, Client(cluster) as client:
        found = client.run(lambda dask_worker: sorted(dask_worker.periodic_callbacks))
    assert len(found) == workers
    assert all("heartbeat" in names and "profile" not in names for names in found.values())


def test_workers_that_die_while_they_start_are_started_again(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=np.ones((80, 80), np.uint16))
    local, died = module._local, []

    def dying(workers: int) -> object:
        if len(died) < deaths:
            died.append(workers)
            raise RuntimeError("Nanny failed to start.")
        return local(workers)

    monkeypatch.setattr(module, "_local", dying)
    deaths = module.START_TRIES
    with pytest.raises(BlocksFailedError, match=r"died 3 times while they started \(Nanny failed to start"):
        infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model)
    died.clear()
    deaths = 1
    assert infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model, resume=True).blocks == 1


def _time_to_live(dask_scheduler: Scheduler) -> tuple[float | None, bool]:
    return dask_scheduler.worker_ttl, "worker-ttl" in dask_scheduler.periodic_callbacks


def test_a_worker_within_this_process_is_never_taken_for_dead() -> None:
    """Neither after a stop nor when the clock jumps: nobody would start it again, and the run would wait for ever."""
    with dask.config.set({"distributed.scheduler.worker-ttl": "3s"}), module.cluster(Where()) as client:
        assert client.run_on_scheduler(_time_to_live) == (None, False)
