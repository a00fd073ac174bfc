"""Stores that are reached by an address: s3://bucket/key, gs://bucket/key, http(s)://host/path. They are only read.

Requests go through tensorstore's drivers, which bring their own retries and credentials:

    s3://     AWS's usual chain (environment, profile, instance); AWS_ENDPOINT_URL names another server than Amazon's,
              AWS_NO_SIGN_REQUEST=1 asks without credentials, for public buckets
    gs://     Google's application default credentials, or none
    http(s):// any web server that holds the files of a zarr store; where it ignores byte ranges, whole objects are read
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorstore as ts
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from fluorsr.errors import InputError, StorageError

ADDRESS = re.compile(r"(s3|gs|https?):/{1,2}(?=[^/])", re.IGNORECASE)
RETRIES = {"max_retries": 4, "initial_delay": "200ms", "max_delay": "2s"}


@dataclass(frozen=True)
class RemotePath:
    """A folder or object of a remote store, by its address without a slash at the end; as much of a Path as we need."""

    address: str

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.address}/{name}")

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def parents(self) -> list[RemotePath]:
        """The folders above, the nearest first; the bucket or host is the last."""
        above = []
        rest = self.address
        while (rest := rest.rpartition("/")[0]).count("/") > 1:
            above.append(RemotePath(rest))
        return above

    def resolve(self) -> RemotePath:
        return self

    def read(self) -> bytes | None:
        """An object's bytes; None where there is no such object.

        Raises StorageError where the store does not answer or refuses.
        """
        folder, _, name = self.address.rpartition("/")
        try:
            found = _open(folder).read(name).result()
        except ValueError as error:
            raise remote_error(self.address, error) from error
        return bytes(found.value) if found.state == "value" else None


def place(path: str | Path) -> Path | RemotePath:
    """A local path, or the RemotePath of an address. Raises InputError for addresses of other kinds."""
    text = str(path)
    if found := ADDRESS.match(text):  # a Path has lost one of the two slashes
        return RemotePath(f"{found[1].lower()}://{text[found.end() :].rstrip('/')}")
    if "://" in text:
        raise InputError(
            f"{text} is an address that fluorsr does not read; it reads s3://, gs://, http:// and https://"
        )
    return Path(path)


def remote_error(address: str, error: Exception) -> StorageError:
    """The error of a store that does not answer or refuses, with what to look at."""
    why = str(error).partition(" [")[0]  # without the source lines of tensorstore
    return StorageError(f"{address} cannot be read: {why}; check the address, the network and your permissions")


class RemoteStore(Store):
    """A zarr store at an address, read only; each process opens it for itself."""

    def __init__(self, address: str) -> None:
        super().__init__(read_only=True)
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and other.address == self.address

    __hash__ = None  # type: ignore[assignment]  # as zarr's other stores

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key, or some of them; None where there is none. Raises StorageError."""
        part = _slice(byte_range)
        try:
            store = _open(self.address)
            try:
                found = await store.read(key, byte_range=part)
            except ValueError as error:
                if part is None or "ignored by server" not in str(error):
                    raise
                found, part = await store.read(key), None
        except ValueError as error:
            raise remote_error(f"{self.address}/{key}", error) from error
        if found.state != "value":
            return None
        value = found.value if part is not None or byte_range is None else found.value[_slice(byte_range)]
        return prototype.buffer.from_bytes(value)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts, one after the other."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        try:
            found = await _open(self.address).read(key, byte_range=slice(0, 0))
        except ValueError as error:
            raise remote_error(f"{self.address}/{key}", error) from error
        return bool(found.state == "value")

    supports_writes = supports_deletes = supports_listing = False

    async def set(self, key: str, value: Buffer) -> None:
        """Not for a store that is only read."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Not for a store that is only read."""
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        """A web server has no listing."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """A web server has no listing."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """A web server has no listing."""
        raise NotImplementedError


def _slice(part: ByteRequest | None) -> slice | None:
    match part:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(-suffix, None)
    return None


@lru_cache(maxsize=64)
def _open(folder: str) -> Any:
    """tensorstore's view of a folder."""
    scheme, _, rest = folder.partition("://")
    driver = {"s3": "s3", "gs": "gcs"}.get(scheme, "http")
    spec: Any = f"{folder}/"
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        spec = {"driver": "s3", "bucket": bucket, "path": f"{key}/" if key else ""}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
            spec["endpoint"] = endpoint
        if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
            spec["aws_region"] = region
        if os.environ.get("AWS_NO_SIGN_REQUEST", "") not in ("", "0"):
            spec["aws_credentials"] = {"type": "anonymous"}
        elif "AWS_ACCESS_KEY_ID" in os.environ:  # the usual chain would complain of files that it then does not need
            spec["aws_credentials"] = {"type": "environment"}
    try:
        return ts.KvStore.open(spec, context=ts.Context({f"{driver}_request_retries": RETRIES})).result()
    except ValueError as error:
        raise remote_error(folder, error) from error
