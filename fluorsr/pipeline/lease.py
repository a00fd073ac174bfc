"""One coordinator at a time: a file in the run's record that says who holds it, and a heartbeat.

    OUT.zarr/fluorsr/.lease    {"holder", "host", "machine", "pid", "started", "since", "beat"}; gone after a run

Requirements it meets
- A living holder is never displaced on its own host, however long it was stopped; a dead one is replaced at once. A
  process is told from a later one of the same number by its start, counted since boot.
- Of a holder on another host only the heartbeat is seen. It is taken for dead when the beat has not changed for
  LEASE_S by the observer's own monotonic clock. No two clocks are compared, so clocks may differ or jump.
- A holder that slept through its lease (suspended, cut off) finds out before it writes: `check` compares the file at
  the path with the file it has open, and workers look for the holder's name before each block.
- Should two ever meet in the instant between check and write, they write the same bytes: the record admits only equal
  runs. At worst a finished block is recorded as not done, and done again.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from fluorsr.errors import InUseError
from fluorsr.io.disk import storage_error

NAME = ".lease"
BEAT_S = 5.0
LEASE_S = 60.0
LOOK_S = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a lease; `beat` counts up while it lives, `since` is for people only."""

    holder: str
    host: str
    machine: str
    pid: int
    started: str
    since: str
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Lease:
    """A held lease. Use as a context manager; `folder` may be moved by its holder (set it to the new place)."""

    def __init__(self, folder: Path, file: int, holder: Holder) -> None:
        self.folder = folder
        self.holder = holder
        self._file = file
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._write(holder)
        self._beating.start()

    @classmethod
    def take(cls, folder: Path, tell: Callable[[str], None] | None = None) -> Lease:
        """Take the lease in `folder`, waiting up to LEASE_S where its holder is on another host and silent.

        Raises InUseError where another coordinator holds it, StorageError where the disk refuses.
        """
        path = folder / NAME
        while True:
            try:
                file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
                return cls(folder, file, _me())
            except FileExistsError:
                _displace(path, tell or (lambda _: None))
            except OSError as error:
                raise storage_error(path, "taking the lease", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def check(self) -> None:
        """Raise InUseError where another coordinator has taken over, or the output was moved away."""
        if not self._mine():
            taken = read_holder(self.folder)
            by = f"taken over by {taken}" if taken else "moved or removed"
            raise InUseError(f"{self.folder.parent} was {by} while this run slept or was cut off; it ends here")

    def release(self) -> None:
        """Give the lease back; does nothing where it is no longer ours."""
        self._stop.set()
        self._beating.join()
        if self._mine():
            (self.folder / NAME).unlink(missing_ok=True)
        os.close(self._file)

    def _mine(self) -> bool:
        try:
            there, here = (self.folder / NAME).stat(), os.fstat(self._file)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _beat(self) -> None:
        beat = 0
        while not self._stop.wait(BEAT_S):
            beat += 1
            try:
                self._write(replace(self.holder, beat=beat))
            except OSError:  # a disk that fails now and then must not end the run; others see the beat stand still
                continue

    def _write(self, holder: Holder) -> None:
        """Into the file that is open: where another has taken over, this reaches only our own, nameless one."""
        text = json.dumps(asdict(holder))
        os.pwrite(self._file, f"{text:<512}\n".encode(), 0)


def read_holder(folder: Path) -> Holder | None:
    """The holder of the lease in `folder`; None where there is none or it cannot be read."""
    return _read(folder / NAME)


def is_dead(holder: Holder) -> bool:
    """Is it certain that this holder is dead? Only of a process of this machine can that be known."""
    return holder.machine == _machine() and _started(holder.pid) != holder.started


def _displace(path: Path, tell: Callable[[str], None]) -> None:
    """Remove a lease whose holder is dead; return to try again, or raise InUseError."""
    seen = read_holder(path.parent)
    if seen is not None and seen.machine == _machine():
        if not is_dead(seen):
            raise _in_use(path, seen)
    elif not _stands_still(path, seen, tell):
        return
    aside = path.with_name(f"{NAME}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    moved = _read(aside)
    if moved is not None and (seen is None or moved.holder != seen.holder):
        # Another was quicker: what was moved is its lease. Put it back; it ends by itself where a third stepped in.
        path.hardlink_to(aside)
        aside.unlink()
        raise _in_use(path, moved)
    aside.unlink()


def _stands_still(path: Path, seen: Holder | None, tell: Callable[[str], None]) -> bool:
    """Watch a lease of another host for LEASE_S: True where nothing changed, False where it is gone or got a name."""
    tell(
        f"{path.parent.parent} is held by {seen or 'somebody unknown'}; watching for {LEASE_S:.0f} s for a sign of life"
    )
    begun = time.monotonic()
    while time.monotonic() - begun < LEASE_S:
        time.sleep(LOOK_S)
        now = read_holder(path.parent)
        if now != seen:
            if seen is not None and now is not None:
                raise _in_use(path, now)
            return False
    return True


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _in_use(path: Path, holder: Holder) -> InUseError:
    return InUseError(
        f"{path.parent.parent} is being written by {holder}: one run writes one output; wait for it, end it, or choose "
        "another output"
    )


def _me() -> Holder:
    since = datetime.now(UTC).isoformat(" ", "seconds")
    return Holder(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()), since)


def _machine() -> str:
    """This boot of this machine and the space its process numbers are of; the host's name where no kernel tells."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty where it is dead (a zombie is), "alive" without a /proc."""
    if not Path("/proc/self/stat").exists():
        return "alive" if psutil.pid_exists(pid) else ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
