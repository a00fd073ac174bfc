"""Keep large buffers within the process.

A network allocates and frees the same buffers at every layer. glibc gives each back to the kernel and takes thousands
of page faults per call to get it again: a third of the time in bfloat16.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
LARGEST = 2**31 - 1


def tune_allocator() -> bool:
    """Tell glibc to keep freed memory for the next call; elsewhere nothing is done. Returns whether it was possible.

    It holds for the whole process until it ends; the peak stays what it was.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
