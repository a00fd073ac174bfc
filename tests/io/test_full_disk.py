"""Disks that refuse: full, not writable, limited, gone. Nothing half-written is left under a final name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fluorsr.errors import StorageError
from fluorsr.image import PlaneIndex
from fluorsr.io.disk import storage_error, write_json
from fluorsr.io.open import create_image, open_image
from fluorsr.io.writer import Layout

BLOCK = (512, 512)
LAYOUT = Layout("yx", (2048, 2048), "uint16", block=BLOCK)
NOISE = np.random.default_rng(0).integers(0, 65536, BLOCK).astype(np.uint16)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        refused = subprocess.run(mount, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command; the RLIMIT_FSIZE test stands in")
    if refused.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here ({refused.stderr.strip()}); the RLIMIT_FSIZE test stands in")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_full_disk_is_told_and_what_was_written_stays(small_disk: Path, ngff: str) -> None:
    path = small_disk / "out.zarr"
    writer = create_image(path, LAYOUT, ngff=ngff, provenance={})
    writer.write(PlaneIndex(), 0, 0, NOISE)
    with pytest.raises(
        StorageError, match=r"out\.zarr/\d: writing the block at \(512, 0\) failed: the disk is full; .*resume"
    ):
        writer.write(PlaneIndex(), 512, 0, NOISE)
    found = open_image(path).read(PlaneIndex(), slice(0, 1024), slice(0, 512))
    np.testing.assert_array_equal(found[:512], NOISE)
    assert (found[512:] == 0).all() or (found[512:] == NOISE).all() or ngff == "0.4"


def test_a_disk_too_small_for_a_tiff_is_told_before_the_work(small_disk: Path) -> None:
    with pytest.raises(StorageError, match=r"out\.tif: creating the output failed: the disk is full"):
        create_image(small_disk / "out.tif", LAYOUT, provenance={})
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_at_creation_leaves_nothing(small_disk: Path) -> None:
    file = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    while os.statvfs(small_disk).f_bavail:
        os.write(file, bytes(4096))
    os.close(file)
    with pytest.raises(StorageError, match=r"(creating the output|writing metadata) failed: the disk is full"):
        create_image(small_disk / "out.zarr", LAYOUT, provenance={})
    assert [p.name for p in small_disk.iterdir()] == ["filler"]


LIMITED = """
import resource, sys
import numpy as np
from fluorsr.errors import StorageError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
writer = create_image(sys.argv[1], Layout("yx", (600, 600), "uint16", block=(512, 512)), provenance={})
small = np.zeros((512, 88), np.uint16)
writer.write(PlaneIndex(), 0, 512, small)
try:
    writer.write(PlaneIndex(), 0, 0, np.random.default_rng(0).integers(0, 65536, (512, 512)).astype(np.uint16))
except StorageError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "out.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "writing the block at (0, 0) failed: the file would exceed a size limit" in done.stdout
    files = [p.name for p in (tmp_path / "out.zarr/0").rglob("*") if p.is_file()]
    assert files == ["zarr.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the next test drops root")
def test_a_folder_that_is_not_writable_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(
        StorageError, match=r"out\.zarr: creating the output failed: permission denied; make the folder"
    ):
        create_image(tmp_path / "out.zarr", LAYOUT, provenance={})


DROPPED = """
import os, sys
import numpy as np
from pathlib import Path
from fluorsr.errors import StorageError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
layout = Layout("yx", (64, 64), "uint8", block=(64, 64))
folder = Path(sys.argv[1])
writer = create_image(folder / "there.zarr", layout, provenance={})
os.setuid(65534)
for name in ("out.zarr", "out.tif"):
    try:
        create_image(folder / name, layout, provenance={})
    except StorageError as error:
        print(error)
try:
    writer.write(PlaneIndex(), 0, 0, np.ones((64, 64), np.uint8))
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_permission(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-c", DROPPED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("permission denied; make the folder writable for you or choose another output" in line for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["there.zarr"]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    for name in ("out.zarr", "out.tif"):
        with pytest.raises(StorageError, match="a folder on this path does not exist"):
            create_image(tmp_path / "missing" / name, LAYOUT, provenance={})
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a part of this path is a file, not a folder"):
        create_image(tmp_path / "file" / "out.zarr", LAYOUT, provenance={})


def test_errors_keep_their_number() -> None:
    error = storage_error(Path("/a"), "writing", OSError(28, "No space left on device"))
    assert (error.errno, str(error).partition(";")[0]) == (28, "/a: writing failed: the disk is full")
    text = storage_error(Path("/a"), "writing", ValueError("INTERNAL: something [os_error_code='5']"))
    assert (text.errno, str(text)) == (
        5,
        "/a: writing failed: Input/output error; check the disk, then run again with --resume",
    )
    assert "failed: odd" in str(storage_error(Path("/a"), "writing", ValueError("odd")))


def test_metadata_are_replaced_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n "a": 1\n}'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


KILLED = """
import os, signal, sys
import numpy as np
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
writer = create_image(sys.argv[1], Layout("yx", (64, 64), "uint8", block=(64, 64)), provenance={}, overwrite=True)
writer.write(PlaneIndex(), 0, 0, np.ones((64, 64), np.uint8))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_tiff_whose_maker_was_killed_has_no_name_and_the_next_run_sweeps_it(tmp_path: Path) -> None:
    out, layout = tmp_path / "out.tif", Layout("yx", (64, 64), "uint8", block=(64, 64))
    out.write_bytes(b"II*\0what stood there")
    subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    (left,) = tmp_path.glob(".out.tif.*.partial")
    assert out.read_bytes() == b"II*\0what stood there"
    living = create_image(out, layout, provenance={}, overwrite=True)
    (mine,) = tmp_path.glob(".out.tif.*.partial")
    assert mine != left
    other = create_image(out, layout, provenance={}, overwrite=True)
    assert len(list(tmp_path.glob(".out.tif.*.partial"))) == 2  # a living maker's is kept
    living.write(PlaneIndex(), 0, 0, np.full((64, 64), 7, np.uint8))
    living.finish()
    other.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]
    assert (open_image(out).to_numpy() == 7).all()
