"""Before the first block: does every worker run this fluorsr, see this input, and see and write this output?"""

from __future__ import annotations

import importlib.metadata
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from distributed import Client

from fluorsr.errors import FluorsrError, InputError
from fluorsr.image import Image
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.journal import GROUP
from fluorsr.pipeline.lease import read_holder
from fluorsr.pipeline.worker import Job, open_frames
from fluorsr.tiling.blend import crc32c

CORNER = 64


@dataclass(frozen=True)
class Sight:
    """What one process sees.

    source   shape, dtype and CRC32C of the first corner of the input, or why it cannot be read
    output   the holder of the output's lease, or why it cannot be read
    mark     a file that this process made beside the record, or why it could not
    """

    host: str
    versions: str
    cpu: str
    source: str
    output: str
    mark: str


def look(source: str, level: int, frames: Frames | None, output: str) -> Sight:
    """What this process sees; leaves one hidden file beside the record, for others to see."""
    group = Path(output) / GROUP
    try:
        seen = _corner(open_frames(source, level, frames))
    except (FluorsrError, OSError) as error:
        seen = str(error)
    holder = read_holder(group)
    mark = f".{uuid.uuid4().hex[:8]}.probe.partial"
    try:
        (group / mark).touch()
    except OSError as error:
        mark = f"cannot write there: {error.strerror}"
    return Sight(
        f"{socket.gethostname()}, process {os.getpid()}",
        f"fluorsr {importlib.metadata.version('fluorsr')}, torch {torch.__version__}",
        torch.backends.cpu.get_cpu_capability(),
        seen,
        holder.holder if holder else "not there, or not this run's",
        mark,
    )


def probe(client: Client, job: Job, image: Image, tell: Callable[[str], None]) -> None:
    """Let every worker look, and compare with what this process sees.

    Raises InputError with what each worker sees where one sees something else. Tells where their processors differ: the
    same model may then differ in the last bits from block to block.
    """
    group = job.output / GROUP
    output = str(job.output.resolve())
    sights = client.run(look, job.source, job.level, job.frames, output, on_error="return")
    sights = {worker: sight for worker, sight in sights.items() if not isinstance(sight, OSError)}  # it has left
    if not sights:
        raise InputError("every worker left the cluster when it was asked what it sees; see the workers' logs")
    here = look(job.source, job.level, job.frames, output)
    try:
        visible = {path.name for path in group.iterdir()}
        faults = compare(sights, here, visible)
    finally:
        for mark in group.glob(".*.probe.partial"):
            mark.unlink(missing_ok=True)
    if faults:
        raise InputError(
            f"not every worker sees the same store as this process: input {job.source}, output {output}\n  "
            + "\n  ".join(faults)
            + "\nuse paths on a disk that all of them share, and the same fluorsr everywhere"
        )
    kinds = sorted({sight.cpu for sight in sights.values()})
    if len(kinds) > 1 and job.loading["device"] == "cpu":
        tell(f"the workers' processors differ ({', '.join(kinds)}): blocks may differ in their last bits between them")


def compare(sights: Mapping[str, Sight | BaseException], here: Sight, visible: set[str]) -> list[str]:
    """One line for each worker that does not see what this process sees."""
    faults = []
    for worker, sight in sights.items():
        if isinstance(sight, BaseException):
            faults.append(f"{worker} cannot run fluorsr: {type(sight).__name__}: {sight}")
            continue
        wrong = []
        if sight.versions != here.versions:
            wrong.append(f"runs {sight.versions}, here {here.versions}")
        if sight.source != here.source:
            wrong.append(f"input: {sight.source}; here: {here.source}")
        if sight.output != here.output:
            wrong.append(f"output: {sight.output}")
        elif sight.mark not in visible:
            wrong.append(f"output: {sight.mark if ' ' in sight.mark else 'what it writes is not seen here'}")
        if wrong:
            faults.append(f"{worker} ({sight.host}): {'; '.join(wrong)}")
    return faults


def _corner(image: Image) -> str:
    pixels = image.read(
        next(image.planes()), slice(0, min(CORNER, image.size("y"))), slice(0, min(CORNER, image.size("x")))
    )
    return f"{image.axes} {image.shape} {image.dtype.name}, first pixels {crc32c(pixels):08x}"
