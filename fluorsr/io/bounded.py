"""A zarr store that looks at chunks before they are unpacked: does one claim more memory than any chunk may take?

The chunk's shape in the metadata is checked when an array is opened (fluorsr.io.chunked). But a zstd frame says itself
how large it will be, and decoders take that memory before they notice that the data are not there:

    magic 28 B5 2F FD | descriptor | window? | dictionary? | content size, 0 to 8 bytes | blocks      RFC 8878, 3.1.1.1

Other codecs that zarr knows cannot claim more than 4 GiB (blosc, lz4) or take memory only as they unpack (gzip).
"""

from __future__ import annotations

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from fluorsr.io.chunked import LARGEST_CHUNK_BYTES

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
HEADER_BYTES = 18


class BoundedStore(WrapperStore[Store]):
    """A store whose chunks are refused where they claim more than LARGEST_CHUNK_BYTES."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key. Raises ValueError where they are a zstd frame that claims too much."""
        found = await super().get(key, prototype, byte_range)
        if found is not None:
            claimed = zstd_content_size(found[:HEADER_BYTES].to_bytes())
            if claimed > LARGEST_CHUNK_BYTES:
                raise ValueError(
                    f"its {len(found)} bytes claim to unpack to {claimed / 2**30:.1f} GiB, but at most "
                    f"{LARGEST_CHUNK_BYTES / 2**30:.0f} GiB are allowed"
                )
        return found


def zstd_content_size(head: bytes) -> int:
    """How many bytes a zstd frame says it holds; 0 where `head` begins no such frame or it does not say."""
    if not head.startswith(ZSTD_MAGIC) or len(head) < 5:
        return 0
    descriptor = head[4]
    single = bool(descriptor & 0x20)
    length = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)
