"""One coordinator at a time: the living are never displaced, the dead at once, the silent after their lease."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fluorsr.errors import InUseError, StorageError
from fluorsr.pipeline import lease as module
from fluorsr.pipeline.lease import NAME, Lease, read_holder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out.zarr" / "fluorsr"
    made.mkdir(parents=True)
    return made


def claim(folder: Path, **changes: object) -> None:
    """A lease file as another holder would have written it."""
    with Lease.take(folder) as lease:
        text = (folder / NAME).read_text()
        assert lease.holder.pid == os.getpid()
    (folder / NAME).write_text(json.dumps({**json.loads(text), "holder": "other", **changes}))


def test_a_second_is_refused_and_told_who_holds_it(folder: Path) -> None:
    with (
        Lease.take(folder),
        pytest.raises(InUseError, match=rf"is being written by process {os.getpid()} on .*since 2"),
    ):
        Lease.take(folder)
    assert list(folder.iterdir()) == []
    Lease.take(folder).release()


def test_a_killed_holder_is_replaced_at_once(folder: Path) -> None:
    program = "from fluorsr.pipeline.lease import Lease; import sys, time, pathlib;"
    program += "Lease.take(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InUseError, match=f"process {holder.pid}"):
        Lease.take(folder)
    holder.kill()
    started = time.monotonic()
    while True:  # even while it is a zombie that nobody has waited for
        try:
            Lease.take(folder).release()
            break
        except InUseError:
            assert time.monotonic() - started < 5
    holder.wait()
    assert list(folder.iterdir()) == []


def test_a_number_given_to_a_new_process_is_not_its_first_owner(folder: Path) -> None:
    claim(folder, started="1")  # this process's number, but that one started with the machine
    Lease.take(folder).release()


def test_a_silent_holder_elsewhere_is_replaced_after_its_lease(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    claim(folder, machine="another", host="node7")
    told: list[str] = []
    started = time.monotonic()
    with Lease.take(folder, told.append) as lease:
        assert time.monotonic() - started >= 0.3
        assert read_holder(folder) == lease.holder
    assert "held by process" in told[0]
    assert "node7" in told[0]


@pytest.mark.parametrize("wrong_clock_s", [0, -86_400, 86_400])
def test_a_beat_elsewhere_is_seen_whatever_the_clocks_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong_clock_s: int
) -> None:
    monkeypatch.setattr(module, "LEASE_S", 5.0)
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    claim(folder, machine="another", host="node7")
    path = folder / NAME
    os.utime(path, (time.time() + wrong_clock_s,) * 2)

    def beat() -> None:
        other = {**json.loads(path.read_text()), "beat": 1}
        path.write_text(json.dumps(other))
        os.utime(path, (time.time() - wrong_clock_s,) * 2)

    timer = threading.Timer(0.2, beat)
    timer.start()
    with pytest.raises(InUseError, match="node7"):
        Lease.take(folder)
    timer.join()


def test_the_clock_of_the_wall_is_not_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    with Lease.take(folder) as lease:
        monkeypatch.setattr(time, "time", lambda: pytest.fail("a wall clock was asked"))
        time.sleep(0.1)
        lease.check()
        holder = read_holder(folder)
        assert holder is not None
        assert holder.beat > 1
        monkeypatch.undo()


def test_who_slept_through_the_lease_finds_out_and_harms_nothing(folder: Path) -> None:
    sleeper = Lease.take(folder)
    (folder / NAME).unlink()
    with Lease.take(folder) as quicker:
        with pytest.raises(InUseError, match=r"was taken over by process .* while this run slept"):
            sleeper.check()
        sleeper.release()
        assert read_holder(folder) == quicker.holder  # not the sleeper's to remove
    (folder / NAME).unlink(missing_ok=True)


def test_what_was_removed_under_a_run_is_told(folder: Path) -> None:
    lease = Lease.take(folder)
    (folder / NAME).unlink()
    with pytest.raises(InUseError, match="moved or removed"):
        lease.check()
    lease.release()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="taking the lease failed: a folder on this path does not exist"):
        Lease.take(tmp_path / "missing")
