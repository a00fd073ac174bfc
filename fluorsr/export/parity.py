"""Does an exported file do what the model does? Both are run on images of random sizes and types, and compared.

`forward` is compared with the network in float32 on normalised tiles; a TorchScript file's `infer` with
fluorsr's own pipeline on raw frames. Differences are shares of the range: of the expected output's, or of the input's
span from low to high (1 for a constant image, as it is normalised) where that is wider, since an image of one pixel has
no range of its own. Of an integer output the half count that rounding may move it is taken off first.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.classical.sim_stripes import Stripes
from fluorsr.errors import InputError, NotFoundError
from fluorsr.export.aoti import AotiFile, is_aoti
from fluorsr.export.bioimageio import ONNX, TORCHSCRIPT
from fluorsr.export.onnx import OnnxFile
from fluorsr.export.sim_program import RawFrames
from fluorsr.export.source import Sampling, Source, noise_fixed, open_source
from fluorsr.export.torch_export import load_torch
from fluorsr.export.torchscript import PARITY, tiling
from fluorsr.image import Image, PlaneIndex
from fluorsr.models.network import Network, SeededNetwork
from fluorsr.models.sim_network import SimNetwork, inner_spec
from fluorsr.models.torchscript import STRIPES, TorchScriptFile
from fluorsr.normalize import Normalization
from fluorsr.pipeline.measure import read_part, strongest_place
from fluorsr.predict import restore_region, tile_pool
from fluorsr.restorer import Restorer, RestorerSpec
from fluorsr.tiling.grid import Grid

SMALL, LARGE = 1, 150
LARGEST_WEIGHTS = 2**32
FRAME_DTYPES = ("uint8", "uint16", "int16", "float32")


@dataclass(frozen=True)
class Exported:
    """An exported file, opened in the runtime that is meant to run it.

    forward   normalised tiles [B, frames, Y, X] float32 -> [B, 1, sY, sX]; with origin and seed where stochastic
    notes     what fluorsr wrote down when it exported: model, precision, tile
    program   the whole TorchScript program where it is one
    """

    forward: Callable[..., Tensor]
    notes: dict[str, Any]
    program: torch.jit.ScriptModule | None = None


@dataclass(frozen=True)
class Comparison:
    """One image that was restored twice. `difference` is a share of the range."""

    what: str
    dtype: str
    shape: tuple[int, ...]
    difference: float


@dataclass(frozen=True)
class Parity:
    """All comparisons of one file, and how far apart they may be."""

    comparisons: tuple[Comparison, ...]
    limit: float

    @property
    def largest(self) -> float:
        return max(case.difference for case in self.comparisons)

    @property
    def holds(self) -> bool:
        return self.largest <= self.limit


def open_torchscript(path: Path) -> Exported:
    """A TorchScript file that fluorsr exported."""
    file = TorchScriptFile(path)
    program = file.module()
    return Exported(program, file.notes, program)


def open_onnx(path: Path) -> Exported:
    """An ONNX file, in ONNX Runtime."""
    file = OnnxFile(path.read_bytes(), path.name)
    return Exported(file.forward, file.notes)


def open_torch_export(path: Path) -> Exported:
    """A torch.export package, or one that AOTInductor has compiled."""
    if is_aoti(path):
        file = AotiFile(path)
        return Exported(file.forward, file.notes)
    module, notes = load_torch(path)

    def forward(*given: Tensor | int) -> Tensor:
        restored: Tensor = module(*(torch.as_tensor(value) for value in given))
        return restored

    return Exported(forward, notes)


OPENERS: dict[str, Callable[[Path], Exported]] = {
    ".ts": open_torchscript,
    ".pt": open_torchscript,
    ".onnx": open_onnx,
    ".pt2": open_torch_export,
}
"""Suffix -> how such a file is opened."""


def check(path: str | Path, model: str | Path | None = None, *, count: int = 20, seed: int = 0) -> Parity:
    """Compare an exported file with its model on `count` images of random sizes, odd and very small ones among them.

    model   what it was exported from; by default what the file says
    Raises InputError for a file of another suffix or without a model's name, and what opening either raises.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    if path.suffix == ".zip":
        with tempfile.TemporaryDirectory() as folder:
            parts = [check(part, model, count=count, seed=seed) for part in _unpack(path, Path(folder))]
        return Parity(tuple(case for part in parts for case in part.comparisons), parts[0].limit)
    if path.suffix not in OPENERS:
        raise InputError(f"{path.name} is not an exported model; its suffix must be one of {', '.join(OPENERS)}, .zip")
    exported = OPENERS[path.suffix](path)
    model = model or exported.notes.get("model")
    if model is None:
        raise InputError(f"{path.name} does not say which model it was exported from; name it: fluorsr export MODEL")
    stripes = exported.notes.get(STRIPES)
    sampling = Sampling(steps=exported.notes.get("steps"), sampler=exported.notes.get("sampler"))
    source = open_source(model, Stripes.from_json(stripes) if stripes else None, **sampling)
    if exported.notes.get("noise") == "fixed":
        source = noise_fixed(source)
    rng = np.random.default_rng(seed)
    sizes = [(SMALL, SMALL), (SMALL, LARGE), *map(tuple, rng.integers(SMALL, LARGE, (count - 2, 2)).tolist())]
    comparisons = [_compare_forward(exported, source, height, width, rng) for height, width in sizes]
    if exported.program is not None:
        for i, (height, width) in enumerate(sizes):
            dtype = FRAME_DTYPES[i % len(FRAME_DTYPES)]
            comparisons.append(_compare_infer(exported.program, source, (height, width), dtype, exported.notes, rng))
    return Parity(tuple(comparisons), PARITY[exported.notes.get("precision", "fp32")])


def _unpack(package: Path, folder: Path) -> list[Path]:
    """The weights of a BioImage.IO package, as files. Raises InputError where they are not there."""
    try:
        with zipfile.ZipFile(package) as archive:
            members = [archive.getinfo(name) for name in (TORCHSCRIPT, ONNX)]
            if huge := [member.filename for member in members if member.file_size > LARGEST_WEIGHTS]:
                raise InputError(f"{package}: {huge[0]} would unpack to more than {LARGEST_WEIGHTS >> 20} MiB")
            return [Path(archive.extract(member, folder)) for member in members]
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{package} is not a BioImage.IO package that fluorsr wrote: {error}") from error


def _compare_forward(
    exported: Exported, source: Source, height: int, width: int, rng: np.random.Generator
) -> Comparison:
    spec = source.spec
    height, width = (max(2, -(-n // spec.multiple)) * spec.multiple for n in (height, width))
    tiles = torch.from_numpy(raw_frames(rng, source, (height, width), "float32"))[None] / 255
    sample = (torch.from_numpy(rng.integers(-99, 99, (1, 2))), 7) if spec.stochastic else ()
    with torch.inference_mode():
        expected, found = source.module(tiles, *sample), exported.forward(tiles, *sample)
    return Comparison("forward", "float32", tuple(tiles.shape), _difference(expected.numpy(), found.numpy(), 1.0))


def _compare_infer(
    program: torch.jit.ScriptModule,
    source: Source,
    size: tuple[int, int],
    dtype: str,
    notes: dict[str, Any],
    rng: np.random.Generator,
) -> Comparison:
    frames = raw_frames(rng, source, size, dtype)
    with torch.inference_mode():
        found = program.infer(torch.from_numpy(frames)).numpy()[0]
    normalization = Normalization(program.low, program.high)
    expected = pipeline(frames, source, normalization, tiling(source.spec, notes["tile"]))
    return Comparison("infer", dtype, frames.shape, compare_pixels(expected, found, normalization))


def raw_frames(rng: np.random.Generator, source: Source, size: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Frames [frames, Y, X] with a few bright spots under shot noise, in counts that every dtype holds.

    Of a model of raw SIM frames the spots are the same in all, lit by the stripes that it was exported for.
    """
    shape = (source.spec.frames, *size)
    light = rng.gamma(0.5, 60, shape)
    if isinstance(source.module, RawFrames):
        light = light[:1] * source.module.orders.light(size, rng.uniform(0, 2 * np.pi)).numpy()
    return rng.poisson(light).clip(0, 255).astype(dtype)


def compare_pixels(expected: NDArray[Any], found: NDArray[Any], normalization: Normalization) -> float:
    """Difference of float pixels from those that some runtime made, in whatever type, as a share of the range."""
    rounding = 0.0
    if found.dtype.kind in "iu":
        limits = np.iinfo(found.dtype)
        expected, rounding = expected.clip(limits.min, limits.max), 0.5
    return _difference(expected, found, normalization.scale, rounding)


def pipeline(
    frames: NDArray[Any], source: Source, normalization: Normalization, tiles: tuple[int, int]
) -> NDArray[np.float32]:
    """What fluorsr's own pipeline makes of frames [frames, Y, X] with the network in float32: [sY, sX]."""
    spec, (tile, overlap) = source.spec, tiles
    _, height, width = frames.shape

    def axis(size: int) -> tuple[int, int]:
        stride = tile - 2 * spec.halo - overlap
        return (tile, overlap) if size > stride else (-(-size // spec.multiple) * spec.multiple + 2 * spec.halo, 0)

    (tile_y, overlap_y), (tile_x, overlap_x) = axis(height), axis(width)
    grid = Grid(
        (1, height, width),
        (1, tile_y, tile_x),
        (0, spec.halo, spec.halo),
        (0, overlap_y, overlap_x),
        (1, spec.multiple, spec.multiple),
        (1, spec.scale, spec.scale),
    )
    planes = [PlaneIndex(t=i) for i in range(spec.frames)]
    restorer = _restorer(source, frames, normalization)
    with tile_pool(1) as pool:
        restored = restore_region(
            Image(frames, "tyx"), planes, (0, height), (0, width), restorer, grid, normalization, pool
        )
    pixels: NDArray[np.float32] = restored.pixels
    return pixels


def _restorer(source: Source, frames: NDArray[Any], normalization: Normalization) -> Restorer:
    """The model as fluorsr-infer runs it; of SIM frames that show no stripes, which it refuses, as its program does."""
    if not isinstance(source.module, RawFrames):
        return (SeededNetwork if source.spec.stochastic else Network)(source.module, source.spec)
    orders = source.module.orders
    own = orders.measure(torch.from_numpy(frames), normalization.low, normalization.scale)
    if not bool(own["shown"]):
        return _Refused(source.module, source.spec, own)
    image, plane = Image(frames, "qyx"), PlaneIndex()
    origin = strongest_place(image, plane)
    part = (read_part(image, plane, range(len(frames)), origin) - normalization.low) / normalization.scale
    network = Network(source.module.network, inner_spec(source.spec, source.module.config))
    sim = SimNetwork(network, source.spec, source.module.config, orders.pixel_size_um)
    sim = sim.calibrated(torch.tensor(orders.waves, dtype=torch.float64), orders.drawn + 1)
    return sim.measured(sim.measure(part, origin))


class _Refused(Network):
    """Raw frames with stripes that they do not show."""

    def __init__(self, module: RawFrames, spec: RestorerSpec, stripes: dict[str, Tensor]) -> None:
        super().__init__(module, spec, ordered=False)
        self._stripes = stripes

    def _run(self, given: Tensor, origin: Tensor, seed: int) -> Tensor:
        return self._forward(given, origin, self._stripes)


def _difference(expected: NDArray[Any], found: NDArray[Any], span: float, rounding: float = 0.0) -> float:
    if expected.shape != found.shape or not np.isfinite(found).all():
        return float("inf")
    worst = max(0.0, float(np.abs(expected.astype(np.float64) - found).max()) - rounding)
    return worst / (max(span, float(expected.max()) - float(expected.min())) or 1.0)
