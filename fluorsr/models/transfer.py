"""Tiles to a device and back.

CPU    as they are
CUDA   thread 1   to GPU | compute | back           Each thread has a stream of its own and gives the GPU its tiles
       thread 2          | to GPU  | compute | back  from page-locked memory: some travel while others are computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Transfer:
    """To `device` and back, from several threads."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = threading.local()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """What a thread gives the device meanwhile is done in its order, beside that of other threads."""
        if self._device.type != "cuda":
            yield
            return
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            # Weights are brought to the device on the usual stream, which may still be at it.
            self._streams.own.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.stream(self._streams.own):
            yield

    def there(self, tiles: Tensor, dtype: torch.dtype) -> Tensor:
        """`tiles` on the device, in dtype. In a `stream`."""
        if self._device.type == "cuda" and tiles.device.type == "cpu":
            tiles = tiles.pin_memory().to(self._device, non_blocking=True)
        return tiles.to(self._device, dtype)

    def back(self, output: Tensor, to: torch.device) -> Tensor:
        """`output`, contiguous, on the device `to`; it is there on return. In a `stream`."""
        if output.device.type == "cuda" and to.type == "cpu":
            landed = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
            landed.copy_(output, non_blocking=True)
            torch.cuda.current_stream(self._device).synchronize()
            return landed
        return output.to(to, memory_format=torch.contiguous_format)
