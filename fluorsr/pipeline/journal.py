"""The run's record: a zarr group `fluorsr` beside the data. Only the record says what is done.

    OUT.zarr/fluorsr/zarr.json     the run's fingerprint: everything that decides the output's bytes
    OUT.zarr/fluorsr/blocks        int64 [blocks, 4]: CRC32C of the block's pixels (-1: not done), input pixels
                                   replaced, output pixels saturated and diverged

Requirements it meets
- Only the coordinating process writes it, and only after a block's data is durably on disk.
- A row changes as a whole (one chunk, written to a temporary file, synced and renamed), so a crash leaves the old row
  or the new one.
- It holds no clock: a resumed run leaves the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.io.disk import storage_error, write_json

FORMAT = 1
GROUP = "fluorsr"
NOT_DONE = -1
CHUNK = 8192


class BlockFacts(NamedTuple):
    """What a finished block is recorded with."""

    block: int
    crc32c: int
    nonfinite: int
    saturated: int
    diverged: int


class Journal:
    """The record of one run, open for reading and writing."""

    def __init__(self, group: Path, fingerprint: dict[str, Any], store: Any) -> None:
        self.group = group
        self.fingerprint = fingerprint
        self._store = store
        self._rows: NDArray[np.int64] = store.read().result()
        self._changed: set[int] = set()

    @classmethod
    def create(cls, output: Path, fingerprint: dict[str, Any], blocks: int) -> Journal:
        """Start a record in the store `output`, which must exist, for that many blocks."""
        group = output / GROUP
        try:
            group.mkdir()
            store = ts.open(_array_spec(group, blocks), create=True).result()
        except (OSError, ValueError) as error:
            raise storage_error(group, "creating the run's record", error) from error
        attributes = {"format": FORMAT, "fingerprint": fingerprint, "columns": list(COLUMNS)}
        write_json(group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        return cls(group, fingerprint, store)

    @classmethod
    def open(cls, output: Path) -> Journal:
        """Open the record of a store. Raises NotFoundError where there is none, FormatError where it is damaged."""
        group = output / GROUP
        if not (group / "zarr.json").is_file():
            raise NotFoundError(
                f"{output} holds no record of a fluorsr run ({group.name}/zarr.json), so nothing tells what is done; "
                "choose another output, or --overwrite"
            )
        try:
            attributes = json.loads((group / "zarr.json").read_text())["attributes"]
            if attributes["format"] != FORMAT:
                raise FormatError(
                    f"the run's record in {group} has format {attributes['format']}, this fluorsr reads {FORMAT}"
                )
            fingerprint = attributes["fingerprint"]
            store = ts.open(
                {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / "blocks") + "/"}}
            ).result()
            return cls(group, fingerprint, store)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"the run's record in {group} cannot be read: {error}") from error

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to go on with other parameters than the run was begun with; InputError names what differs."""
        wanted = json.loads(json.dumps(fingerprint))
        differing = [
            f"{key}: was {self.fingerprint.get(key)!r}, now {wanted.get(key)!r}"
            for key in sorted(set(wanted) | set(self.fingerprint))
            if wanted.get(key) != self.fingerprint.get(key)
        ]
        if differing:
            raise InputError(
                f"{self.group.parent} was begun with other parameters, so it cannot be resumed with these:\n  "
                + "\n  ".join(differing)
                + "\ngive the earlier ones, or --overwrite"
            )

    @property
    def done(self) -> NDArray[np.bool_]:
        """Per block: is it recorded as done?"""
        return np.asarray(self._rows[:, 0] != NOT_DONE)

    def crc32c(self, index: int) -> int:
        return int(self._rows[index, 0])

    def totals(self) -> tuple[int, int, int]:
        """Replaced input pixels, saturated and diverged output pixels of all recorded blocks."""
        nonfinite, saturated, diverged = (int(n) for n in self._rows[self.done, 1:].sum(axis=0))
        return nonfinite, saturated, diverged

    def record(self, facts: BlockFacts) -> None:
        """Note a finished block; `flush` makes it durable."""
        self._rows[facts.block] = (facts.crc32c, facts.nonfinite, facts.saturated, facts.diverged)
        self._changed.add(facts.block // CHUNK)

    def flush(self) -> None:
        """Write what was recorded since the last flush; durable on return. Raises StorageError."""
        try:
            for chunk in sorted(self._changed):
                rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self)))
                self._store[rows].write(self._rows[rows]).result()
        except (OSError, ValueError) as error:
            raise storage_error(self.group, "writing the run's record", error) from error
        self._changed.clear()


COLUMNS = ("crc32c", "nonfinite_input", "saturated_output", "nonfinite_output")


def _array_spec(group: Path, blocks: int) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(group / "blocks") + "/"},
        "metadata": {
            "shape": [blocks, len(COLUMNS)],
            "data_type": "int64",
            "fill_value": NOT_DONE,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [min(CHUNK, blocks), len(COLUMNS)]},
            },
            "dimension_names": ["block", "fact"],
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 1}},
                {"name": "crc32c"},
            ],
        },
    }
