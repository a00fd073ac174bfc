"""Several hosts on one machine: a scheduler and two workers in network namespaces of their own restore one store.

    python tools/hosts.py            needs root and `ip`; exits 77, saying why, where namespaces are not allowed

      namespace fsr0           fsr1            fsr2
      scheduler, coordinator   worker          worker      10.77.0.1, .2, .3 on one bridge
                                                  x        cut off when a part of the blocks is done

The run must finish on the worker that is left, with the bytes of a run in one process.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor, nn

from fluorsr.models.torchscript import quiet_jit
from fluorsr.pipeline.journal import GROUP, Journal
from fluorsr.pipeline.run import infer

SKIP = 77
TIME_TO_LIVE_S = 30
CUT_AFTER = 10
"""Blocks that are done when a host is cut off."""

LONGEST_S = 240
BRIDGE = "fsrbr"


class Tiny(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.only = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.only(x)
        return out


COORDINATOR = """
import time
from fluorsr.pipeline import journal
from fluorsr.pipeline.run import infer
journal.FLUSH_S = 0.0
infer({source!r}, {output!r}, model={model!r}, block=64, trust=True, scheduler={address!r},
      progress=lambda _: time.sleep(0.2))
"""
"""Records each block at once and waits a little after each, so that a host can be cut off in between."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def hosts(count: int) -> Iterator[list[str]]:
    """Namespaces fsr0, fsr1, ... with the addresses 10.77.0.1, .2, ... on one bridge; removed in the end."""
    with ExitStack() as undo:
        ip("link", "add", BRIDGE, "type", "bridge")
        undo.callback(ip, "link", "del", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        names = [f"fsr{i}" for i in range(count)]
        for i, name in enumerate(names):
            ip("netns", "add", name)
            undo.callback(ip, "netns", "del", name)
            ip("link", "add", f"{name}out", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}out", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


@contextmanager
def running(name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a namespace, ended with the context."""
    life = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TIME_TO_LIVE_S}s"}
    command = ["ip", "netns", "exec", name, sys.executable, *words]
    with subprocess.Popen(command, env={**os.environ, **life}, stdout=sys.stderr, start_new_session=True) as program:
        try:
            yield program
        finally:
            os.killpg(program.pid, 9) if program.poll() is None else None


def contents(store: Path) -> dict[str, str]:
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def done_blocks(output: Path) -> int:
    return int(Journal.open(output).done.sum()) if (output / GROUP / "zarr.json").exists() else 0


def compare(folder: Path, names: list[str]) -> str:
    """Run on the hosts and in one process; what is wrong, empty where nothing is."""
    source, model, output = folder / "in.zarr", folder / "tiny.pt", folder / "out.zarr"
    pixels = np.random.default_rng(0).poisson(200, (4, 256, 512)).astype(np.uint16)
    zarr.create_array(source, data=pixels, dimension_names=("z", "y", "x"))
    with quiet_jit():
        torch.jit.script(Tiny().eval()).save(str(model))  # type: ignore[no-untyped-call]
    infer(source, folder / "one.zarr", model=model, block=64, trust=True)
    address = "tcp://10.77.0.1:8786"
    words = COORDINATOR.format(source=str(source), output=str(output), model=str(model), address=address)
    with ExitStack() as open_programs:
        dask = ("-m", "distributed.cli.dask_scheduler", "--host", "10.77.0.1", "--no-dashboard")
        open_programs.enter_context(running(names[0], *dask))
        for name in names[1:]:
            worker = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard")
            open_programs.enter_context(running(name, *worker, "--local-directory", str(folder / name)))
        run = open_programs.enter_context(running(names[0], "-c", words))
        began = time.monotonic()
        while done_blocks(output) < CUT_AFTER:
            if run.poll() is not None or time.monotonic() - began > LONGEST_S:
                return f"the run ended with {run.poll()} before a host could be cut off"
            time.sleep(0.2)
        ip("-n", names[-1], "link", "set", "eth0", "down")
        done, rows = done_blocks(output), len(Journal.open(output))
        print(f"{names[-1]} was cut off at {done} of {rows} rows", file=sys.stderr)
        if 2 * done > rows:
            return "the run was past its half before the host was cut off, so nothing was tried"
        try:
            code = run.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            return f"the run did not end within {LONGEST_S} s after a host was cut off"
    if code:
        return f"the run exited with {code}"
    return "" if contents(output) == contents(folder / "one.zarr") else "its bytes differ from those of one process"


def main() -> int:
    """Try it; the exit status: 0 same bytes, 1 not, 77 namespaces are not allowed here."""
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder, ExitStack() as open_hosts:
        try:
            names = open_hosts.enter_context(hosts(3))
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", "") or str(error)
            print(f"network namespaces cannot be made here, so nothing was tried: {why.strip()}")
            return SKIP
        fault = compare(Path(folder), names)
    print(fault or "three hosts, one cut off half-way: the same bytes as one process")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
