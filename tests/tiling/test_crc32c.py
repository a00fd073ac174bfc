"""CRC-32C against the vectors of RFC 3720 (appendix B.4) and against google-crc32c, which zarr uses."""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr import _core
from fluorsr.errors import InputError
from fluorsr.tiling.blend import crc32c

VECTORS = [
    (b"", 0),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
]


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_vectors_of_the_rfc(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert _core.crc32c(data, portable=True) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 80_000), st.integers(0, 80_000), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_any_length_any_alignment_any_cut(length: int, at: int, offset: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, length + offset, np.uint8)[offset:]
    expected = google_crc32c.value(data.tobytes())
    assert crc32c(data) == expected
    assert crc32c(data[at:], crc32c(data[:at])) == expected
    assert _core.crc32c(data, portable=True) == expected


def test_an_array_counts_as_its_memory() -> None:
    array = np.random.default_rng(0).integers(0, 1000, (3, 5, 7), "uint16")
    assert crc32c(array) == google_crc32c.value(array.tobytes())
    assert crc32c(array.astype(">u2")) == google_crc32c.value(array.astype(">u2").tobytes())
    assert crc32c(np.empty((0, 4))) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 4))[:, ::2], "needs bytes or a C-contiguous array; this ndarray is neither; try np.ascont"),
        ("text", "this str is neither"),
        (np.array([None]), "array of Python objects"),
    ],
)
def test_other_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        crc32c(data)


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_start_beyond_32_bits_is_refused(value: int) -> None:
    with pytest.raises(InputError, match=f"value is {value}; a CRC-32C lies in 0 to"):
        crc32c(b"", value)
