from __future__ import annotations

import resource
import struct

import numpy as np
import pytest
import zarr
from numcodecs import Zstd

from fluorsr.errors import FormatError
from fluorsr.io.bounded import zstd_content_size
from fluorsr.io.open import open_image


def frame_that_claims(size: int) -> bytes:
    """RFC 8878: a frame with an 8-byte content size and 250 run-length blocks of 128 KiB each."""
    block = struct.pack("<I", (128 * 1024) << 3 | 1 << 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + struct.pack("<Q", size) + 250 * block


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300, 65_791, 65_792, 10**6])
def test_content_size_is_what_zstd_wrote(size):
    assert zstd_content_size(Zstd(1).encode(bytes(size))) == size
    assert zstd_content_size(b"not a frame") == 0


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_of_one_kib_that_claims_ten_gib(zarr_format, tmp_path):
    kwargs = {"compressors": Zstd(3)} if zarr_format == 2 else {}
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(128, 64), chunks=(64, 64), dtype="uint16", zarr_format=zarr_format, **kwargs
    )
    array[:] = np.arange(128 * 64, dtype="uint16").reshape(128, 64)
    chunk = tmp_path / "a.zarr" / ("1.0" if zarr_format == 2 else "c/1/0")
    assert chunk.is_file()
    chunk.write_bytes(frame_that_claims(10 * 2**30))
    assert chunk.stat().st_size < 1100
    image = open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image.read(next(iter(image.planes())), slice(0, 64), slice(0, 64)), array[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match=r"chunk \(1, 0\) of .*its 10\d\d bytes claim to unpack to 10\.0 GiB, but"):
        image.read(next(iter(image.planes())), slice(0, 128), slice(0, 64))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
