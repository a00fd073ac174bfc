"""What a call costs: wall time, and the peak of the memory above what was there before it."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """seconds, and memory_mib above what the process held before: of the device's memory for CUDA, else resident.

    memory_mib is None where the machine does not tell (only Linux does).
    """

    seconds: float
    memory_mib: float | None


def measured(call: Callable[[], T], device: str = "cpu") -> tuple[T, Cost]:
    """Make the call, alone in the process, and measure it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        began = time.perf_counter()
        result = call()
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began
        return result, Cost(seconds, (torch.cuda.max_memory_allocated(device) - before) / 2**20)
    resident = _restart_peak()
    began = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - began
    return result, Cost(seconds, None if resident is None else max(0.0, _resident("VmHWM:") - resident))


def _restart_peak() -> float | None:
    """Give free memory back and set the peak to what is resident now: that in MiB, or None where it cannot be done."""
    if not sys.platform.startswith("linux"):
        return None
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")  # 5 resets the peak (proc_pid_clear_refs(5))
    except (OSError, AttributeError):  # not permitted here; musl has no malloc_trim
        return None
    return _resident("VmRSS:")


def _resident(key: str) -> float:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return float("nan")
