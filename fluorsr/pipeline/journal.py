"""The run's record: a zarr group `fluorsr` beside the data. Only the record says what is done.

    OUT.zarr/fluorsr/zarr.json     the run's fingerprint: everything that decides the output's bytes
    OUT.zarr/fluorsr/blocks        int64 [rows, 5 to 7]: CRC32C of the block's pixels (-1: not done) and of the input
                                   pixels it was made from, input pixels replaced, output pixels saturated and diverged;
                                   where there is such a thing, CRC32C of the deviation's pixels and tiles left out;
                                   blocks of level 0 first, then those of the pyramid's tail (see places.py)

Requirements it meets
- Only the coordinating process writes it, and only after a block's data is durably on disk.
- A row changes as a whole (one chunk, written to a temporary file, synced and renamed), so a crash leaves the old row
  or the new one.
- It holds no clock: a resumed run leaves the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.io.disk import storage_error, write_json
from fluorsr.pipeline.lease import Lease

FORMAT = 2
GROUP = "fluorsr"
NOT_DONE = -1
CHUNK = 8192
FLUSH_S = 1.0
"""How far the record on disk may lag behind."""

ORIGIN = ("input", "input_files")
"""Where the input lay and what its files looked like: it may move; its pixels may not change (see damage.py)."""


class BlockFacts(NamedTuple):
    """What a finished block is recorded with."""

    row: int
    crc32c: int
    input_crc32c: int = 0
    nonfinite: int = 0
    saturated: int = 0
    diverged: int = 0
    deviation_crc32c: int = 0
    skipped: int = 0


COLUMNS = (
    "crc32c",
    "input_crc32c",
    "nonfinite_input",
    "saturated_output",
    "nonfinite_output",
    "deviation_crc32c",
    "empty_tiles",
)
"""Names on disk of the facts, in their order."""

ALWAYS = 5
"""So many of them every record has."""

DEVIATION, EMPTY = COLUMNS[ALWAYS:]


class Journal:
    """The record of one run, open for reading and writing; `lease`, where set, is checked before each write."""

    def __init__(self, group: Path, attributes: dict[str, Any], store: Any, rows: int) -> None:
        self.group = group
        self.columns: list[str] = attributes["columns"]
        self.fingerprint: dict[str, Any] = attributes["fingerprint"]
        self.call: dict[str, Any] = attributes["call"]
        self.lease: Lease | None = None
        self._store = store
        self._stored = [COLUMNS.index(name) for name in self.columns]
        self._rows: NDArray[np.int64] = np.zeros((rows, len(COLUMNS)), np.int64)
        self._rows[:, self._stored] = NOT_DONE if store is None else store.read().result()
        self._changed: set[int] = set()
        self._flushed = time.monotonic()

    @classmethod
    def create(
        cls, output: Path, fingerprint: dict[str, Any], call: dict[str, Any], rows: int, extra: Sequence[str] = ()
    ) -> Journal:
        """Start a record in the store `output`, which must exist, of that many rows.

        call    what `infer` was called with, so that a repair can call it again
        extra   columns beyond those of every record: DEVIATION, EMPTY
        """
        group = output / GROUP
        columns = [*COLUMNS[:ALWAYS], *extra]
        try:
            group.mkdir()
            store = ts.open(_array_spec(group, rows, len(columns)), create=True).result()
        except (OSError, ValueError) as error:
            raise storage_error(group, "creating the run's record", error) from error
        attributes = {"format": FORMAT, "fingerprint": fingerprint, "call": call, "columns": columns}
        write_json(group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        return cls(group, attributes, store, rows)

    @classmethod
    def in_memory(cls, rows: int) -> Journal:
        """The record of a run that writes none (a TIFF's): it counts, and nothing can be resumed from it."""
        return cls(Path(), {"fingerprint": {}, "call": {}, "columns": [*COLUMNS[:ALWAYS], EMPTY]}, None, rows)

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
            store = ts.open(
                {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / "blocks") + "/"}}
            ).result()
            return cls(group, attributes, store, store.shape[0])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"the run's record in {group} cannot be read: {error}") from error

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to go on with other parameters than the run was begun with; InputError names what differs."""
        wanted = json.loads(json.dumps(fingerprint))
        compared = sorted((set(wanted) | set(self.fingerprint)) - set(ORIGIN))
        changed = [key for key in compared if wanted.get(key) != self.fingerprint.get(key)]
        differing = [f"{key}: was {self.fingerprint.get(key)!r}, now {wanted.get(key)!r}" for key in changed]
        if differing:
            was_input = " (the input's pixels have changed)" if "normalization" in changed else ""
            raise InputError(
                f"{self.group.parent} was begun with other parameters{was_input}, so these cannot go on with it:\n  "
                + "\n  ".join(differing)
                + "\ngive the earlier ones, or --overwrite"
            )

    @property
    def done(self) -> NDArray[np.bool_]:
        """Per row: is it recorded as done?"""
        return np.asarray(self._rows[:, 0] != NOT_DONE)

    def facts(self, row: int) -> BlockFacts:
        return BlockFacts(row, *(int(value) for value in self._rows[row]))

    def totals(self) -> BlockFacts:
        """The counts of all recorded blocks, added up; its row and checksums mean nothing."""
        return BlockFacts(-1, *(int(n) for n in self._rows[self.done].sum(axis=0)))

    def record(self, facts: BlockFacts) -> None:
        """Note a finished row; `flush` makes it durable."""
        self._rows[facts.row] = facts[1:]
        self._changed.add(facts.row // CHUNK)

    def forget(self, rows: Iterable[int]) -> None:
        """Note that rows are not done after all; `flush` makes it durable."""
        for row in rows:
            self.record(BlockFacts(row, *[NOT_DONE] * len(COLUMNS)))

    def flush_when_due(self) -> None:
        """Flush where the last time is FLUSH_S ago."""
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was recorded since the last flush; durable on return.

        Raises StorageError, and InUseError where the lease was lost.
        """
        if self.lease is not None:
            self.lease.check()
        try:
            for chunk in sorted(self._changed) if self._store is not None else ():
                rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self)))
                self._store[rows].write(self._rows[rows, self._stored]).result()
        except (OSError, ValueError) as error:
            raise storage_error(self.group, "writing the run's record", error) from error
        self._changed.clear()
        self._flushed = time.monotonic()


def _array_spec(group: Path, rows: int, columns: int) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(group / "blocks") + "/"},
        "metadata": {
            "shape": [rows, columns],
            "data_type": "int64",
            "fill_value": NOT_DONE,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [min(CHUNK, rows), columns]},
            },
            "dimension_names": ["row", "fact"],
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 1}},
                {"name": "crc32c"},
            ],
        },
    }
