"""One model in every runtime that it is exported to, on the same raw frames: do they restore the same image?

    frames, uint8 to float32, any size -> Python (eager, float32)          the truth of this comparison
                                       -> TorchScript `infer`, C++ host    on the raw frames, in their own type
                                       -> ONNX Runtime, torch.export       as the network of fluorsr's own pipeline

Of raw SIM frames, which show some microscope's stripes, the last two hold the network of orders alone.
Differences are shares of the range, as in fluorsr.export.parity.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fluorsr.classical.sim_stripes import AngleStripes, Stripes
from fluorsr.errors import InputError
from fluorsr.export.onnx import onnx_bytes
from fluorsr.export.parity import (
    LARGE,
    SMALL,
    Comparison,
    compare_pixels,
    open_onnx,
    open_torch_export,
    pipeline,
    raw_frames,
)
from fluorsr.export.sim_program import RawFrames
from fluorsr.export.source import TAKES, Sampling, Source, open_source
from fluorsr.export.torch_export import torch_export_bytes
from fluorsr.export.torchscript import tiling, torchscript_bytes
from fluorsr.models.torchscript import TorchScriptFile
from fluorsr.models.unet_sim import UNetSIM
from fluorsr.models.weights import write_atomically
from fluorsr.normalize import Normalization

HOST_TYPES = {"uint8": 0, "uint16": 1, "float32": 2}
"""The types that the C++ host takes, and fsr_type's numbers for them."""

Way = Callable[[NDArray[Any]], NDArray[Any]]


class HostModel:
    """A model in the C++ host's library, through its C interface (csrc/host/fluorsr_host.h).

    Raises InputError with the library's own message.
    """

    def __init__(self, library: Path, model: Path, threads: int = 1) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.fsr_open.restype = ctypes.c_void_p
        self._library.fsr_last_error.restype = ctypes.c_char_p
        self._model = ctypes.c_void_p(self._library.fsr_open(str(model).encode(), b"cpu"))
        if not self._model:
            raise InputError(self._library.fsr_last_error().decode())
        self._check(self._library.fsr_set_threads(self._model, threads))
        self._scale = self._library.fsr_scale(self._model)

    def restore(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Raw frames [frames, Y, X] of one of HOST_TYPES -> [sY, sX] in that type."""
        frames = np.ascontiguousarray(frames)
        _, height, width = frames.shape
        restored = np.empty((self._scale * height, self._scale * width), frames.dtype)
        given, made = (array.ctypes.data_as(ctypes.c_void_p) for array in (frames, restored))
        sizes = ctypes.c_int64(height), ctypes.c_int64(width)
        self._check(self._library.fsr_restore(self._model, given, HOST_TYPES[frames.dtype.name], *sizes, made))
        return restored

    def close(self) -> None:
        """Free the model."""
        self._library.fsr_close(self._model)

    def _check(self, failed: int) -> None:
        if failed:
            raise InputError(self._library.fsr_last_error().decode())


class _Runtime(nn.Module):
    """What another runtime computes, in the place of a network."""

    def __init__(self, forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self._other = forward

    def forward(self, *given: Tensor) -> Tensor:
        return self._other(*given)


def _with(source: Source, network: nn.Module) -> Source:
    """The same with another network inside."""
    raw = source.module
    return replace(source, module=RawFrames(network, raw.config, raw.orders) if isinstance(raw, RawFrames) else network)


def _some_stripes(module: nn.Module) -> Stripes:
    """Those of a microscope that a network of raw SIM frames was trained for."""
    assert isinstance(module, UNetSIM)
    assert module.config.periods_um is not None
    period, angles = sum(module.config.periods_um) / 2, (10.0, 70.0, 130.0)
    waves = [(math.sin(math.radians(a)) / period, math.cos(math.radians(a)) / period) for a in angles]
    given = zip(angles, waves, strict=True)
    lines = [AngleStripes(angle_deg=a, period_nm=1000 * period, wave_per_um=wave) for a, wave in given]
    return Stripes(pixel_size_um=0.06, beams=3, phases=5, angles=tuple(lines))


def compare_runtimes(
    model: str | Path,
    folder: Path,
    *,
    host: Path | None = None,
    count: int = 20,
    largest: int = LARGE,
    seed: int = 0,
    **sampling: Unpack[Sampling],
) -> dict[str, list[Comparison]]:
    """Export `model` into `folder` in every format and compare: runtime -> a comparison an image.

    host      libfluorsr_host.so; without it the C++ host is left out
    count     images of random sizes up to `largest`, the first a single pixel and the second a single row
    Raises what exporting and opening raise.
    """
    alone = source = open_source(model, **sampling)
    stripes = _some_stripes(alone.module) if TAKES in alone.notes else None
    if stripes:
        source = open_source(model, stripes)
    script, onnx, export = (folder / name for name in ("model.ts", "model.onnx", "model.pt2"))
    write_atomically(script, torchscript_bytes(source, tile=None, precision="fp32", normalise="frame"))
    write_atomically(onnx, onnx_bytes(alone))
    write_atomically(export, torch_export_bytes(alone))
    file = TorchScriptFile(script, trust=True)
    program, tiles = file.module(), tiling(source.spec, file.notes["tile"])
    others = {"ONNX Runtime": open_onnx(onnx), "torch.export": open_torch_export(export)}
    networks = {name: _with(source, _Runtime(other.forward).eval()) for name, other in others.items()}
    library = HostModel(host, script) if host else None

    rng = np.random.default_rng(seed)
    sizes = [(SMALL, SMALL), (SMALL, largest), *map(tuple, rng.integers(SMALL, largest, (count - 2, 2)).tolist())]
    found: dict[str, list[Comparison]] = {}
    for number, size in enumerate(sizes[:count]):
        dtype = tuple(HOST_TYPES)[number % len(HOST_TYPES)]
        frames = raw_frames(rng, source, size, dtype)
        with torch.inference_mode():
            scripted = program.infer(torch.from_numpy(frames)).numpy()[0]
        normalization = Normalization(program.low, program.high)
        expected = pipeline(frames, source, normalization, tiles)
        images = {"TorchScript": scripted}
        if library is not None:
            images["C++ host"] = library.restore(frames)
        for name, network in networks.items():
            images[name] = pipeline(frames, network, normalization, tiles)
        for name, pixels in images.items():
            difference = compare_pixels(expected, pixels, normalization)
            found.setdefault(name, []).append(Comparison(name, dtype, frames.shape, difference))
    if library is not None:
        library.close()
    return found
