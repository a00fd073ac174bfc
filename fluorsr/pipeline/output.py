"""Open a run's output: created whole with its record and its lease, or found again; one run at a time.

.OUT.zarr.1a2b3c4d.partial/        made here first; a killed run leaves it, and the next one removes it
    .lease                         so that it is known whether its maker lives
    OUT.zarr/                      renamed to its place with the lease in its record
        deviation/                 where samples are drawn: their standard deviation, an OME-Zarr image of its own
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fluorsr.errors import InputError, NotFoundError, StorageError
from fluorsr.io.disk import check_replaceable, exists_error, hidden, put_in_place, remove, storage_error
from fluorsr.io.open import create_image, reopen_image
from fluorsr.io.remote import RemotePath
from fluorsr.io.tiff_writer import TiffWriter
from fluorsr.io.writer import ImageWriter, Layout
from fluorsr.pipeline.block import Maker
from fluorsr.pipeline.journal import DEVIATION as DEVIATION_COLUMN
from fluorsr.pipeline.journal import EMPTY as EMPTY_COLUMN
from fluorsr.pipeline.journal import GROUP, Journal
from fluorsr.pipeline.lease import NAME, Lease, is_dead, read_holder
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan

DEVIATION = "deviation"
LEFT_BEHIND = re.compile(r"[0-9a-f]{8}\.(partial|replaced)")


@contextmanager
def opened_output(
    path: Path,
    maker: Maker,
    ngff: str,
    fingerprint: dict[str, Any],
    call: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    tell: Callable[[str], None],
) -> Iterator[tuple[tuple[ImageWriter, ...], Journal]]:
    """The writers of the run's images and its record, whose lease is held as long as the context lasts.

    A TIFF has no lease, and a record in memory: it is written under a hidden name and renamed at the end, or removed
    where the run fails. Raises InUseError where another run holds the output, and whatever creating or reopening it
    raises.
    """
    plan = maker.plan
    if path.suffix.lower() in (".tif", ".tiff"):
        if resume and path.exists():
            raise InputError(f"{path} is a TIFF, which is written in one piece and cannot be resumed; use --overwrite")
        writer = create_image(path, plan.layout, provenance=fingerprint, overwrite=overwrite)
        assert isinstance(writer, TiffWriter)
        try:
            yield (writer,), Journal.in_memory(len(plan))
        finally:
            writer.discard()
        return
    if resume and path.exists():
        with Lease.take(_recorded(path) / GROUP, tell) as lease:
            journal = Journal.open(path)
            journal.check(fingerprint)
            journal.lease = lease
            sweep(path)
            yield _reopen(path, plan), journal
        return
    if path.exists():
        check_replaceable(path, overwrite=overwrite)
    with _create(path, maker, ngff, fingerprint, call, overwrite=overwrite, tell=tell) as lease:
        sweep(path)
        journal = Journal.open(path)
        journal.lease = lease
        yield _reopen(path, plan), journal


def check_apart(source: Path | RemotePath, output: Path) -> None:
    """Input and output must not lie within each other: writing one would change the other."""
    if isinstance(source, RemotePath):
        return
    inside, outside = source.resolve(), output.resolve()
    if inside == outside:
        raise InputError(f"input and output are the same: {source}; choose another output")
    if inside in outside.parents:
        raise InputError(f"the output {output} lies inside the input {source}; choose a place beside it")
    if outside in inside.parents:
        raise InputError(f"the input {source} lies inside the output {output}; choose another output")


def sweep(path: Path) -> None:
    """Remove what killed runs left beside an output that is held, and half-written files in its metadata's folders.

    Folders of a run that may still live are kept.
    """
    for left in path.parent.glob(f".{path.name}.*"):
        kind = LEFT_BEHIND.fullmatch(left.name[len(path.name) + 2 :])
        if kind and left.is_dir() and (kind[1] == "replaced" or _abandoned(left, path.name)):
            remove(left)
    for folder in (path, path / GROUP, path / DEVIATION):
        for left in folder.glob(".*.partial"):
            left.unlink(missing_ok=True)


def sweep_blocks(path: Path) -> None:
    """Remove the half-written blocks of workers that died, after all blocks are done."""
    for left in path.glob("*/**/*.__lock"):
        left.unlink(missing_ok=True)


def _recorded(path: Path) -> Path:
    """`path`, which must hold a run's record."""
    if not (path / GROUP).is_dir():
        raise NotFoundError(
            f"{path} holds no record of a fluorsr run ({GROUP}/zarr.json), so nothing tells what is done; "
            "choose another output, or --overwrite"
        )
    return path


def images_of(path: Path, plan: Plan) -> list[tuple[Path, Layout]]:
    """Where each image of a run lies: what is restored, and with samples their deviation."""
    return list(zip((path, path / DEVIATION), plan.layouts, strict=False))


def _reopen(path: Path, plan: Plan) -> tuple[ImageWriter, ...]:
    return tuple(reopen_image(place, layout) for place, layout in images_of(path, plan))


def _create(
    path: Path,
    maker: Maker,
    ngff: str,
    fingerprint: dict[str, Any],
    call: dict[str, Any],
    *,
    overwrite: bool,
    tell: Callable[[str], None],
) -> Lease:
    """Make the output and its record, holding the lease from the first moment that it can be seen."""
    staging = hidden(path, "partial")
    try:
        staging.mkdir()
    except OSError as error:
        raise storage_error(path, "creating the output", error) from error
    lease = Lease.take(staging)
    try:
        made = staging / path.name
        for place, layout in images_of(made, maker.plan):
            create_image(place, layout, ngff=ngff, provenance=fingerprint)
        extra = [*([DEVIATION_COLUMN] if maker.plan.samples else []), *([EMPTY_COLUMN] if maker.empty else [])]
        Journal.create(made, fingerprint, call, len(Places(maker.plan.layout)), extra)
        (staging / NAME).rename(made / GROUP / NAME)
        lease.folder = made / GROUP
        if (path / GROUP).is_dir():
            with Lease.take(path / GROUP, tell):  # a run that is writing what shall be replaced
                put_in_place(made, path, overwrite=overwrite)
        else:
            put_in_place(made, path, overwrite=overwrite)
        lease.folder = path / GROUP
    except BaseException as error:
        lease.release()
        if isinstance(error, StorageError) and path.exists() and not overwrite:
            raise exists_error(path) from error  # another run was quicker
        raise
    finally:
        remove(staging)
    return lease


def _abandoned(staging: Path, name: str) -> bool:
    """Is the maker of this staging folder dead for certain?"""
    holder = read_holder(staging) or read_holder(staging / name / GROUP)
    return holder is not None and is_dead(holder)
