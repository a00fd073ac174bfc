"""Write a simulated field of any size to disk, and its truth beside it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fluorsr.data.simulate import simulate_field
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import ImageWriter, Layout

COLORS = {
    "microtubules": "00E5FF",
    "vesicles": "FF7A00",
    "nuclei": "4466FF",
    "actin": "FF3355",
    "mitochondria": "55DD33",
}


def simulate_store(
    output: str | Path,
    structures: Sequence[str],
    size_px: int,
    seed: int,
    *,
    photons: float = 200.0,
    pixel_size_um: float = 0.06,
    scale: Literal[1, 2, 4] = 2,
    overwrite: bool = False,
) -> tuple[Path, Path]:
    """Simulate one channel a structure; write what the confocal shows to `output` (uint16 counts) and the truth
    (float32 counts, `scale` times the pixels) to STEM_truth beside it. Returns both paths.

    Raises InputError for an unknown or repeated structure or a value out of range, OutputExistsError, StorageError.
    """
    if not structures or len(set(structures)) != len(structures) or set(structures) - set(STRUCTURES):
        raise InputError(f"structures must be some of {', '.join(STRUCTURES)}, each once; not {', '.join(structures)}")
    output = Path(output)
    truth = truth_path(output)
    provenance = {"simulated": {"structures": list(structures), "seed": seed, "photons": photons}}
    writers: list[ImageWriter] = []
    for c, structure in enumerate(structures):
        field = simulate_field(size_px, structure, seed + c, photons=photons, pixel_size_um=pixel_size_um, scale=scale)
        planes: list[NDArray[Any]] = [field.degraded[0], field.target]
        if not writers:
            for path, plane, pixel in zip(
                (output, truth), planes, (field.pixel_size_um, field.target_pixel_size_um), strict=True
            ):
                layout = _layout(structures, plane, pixel)
                writers.append(create_image(path, layout, provenance=provenance, overwrite=overwrite))
        for writer, plane in zip(writers, planes, strict=True):
            _write_plane(writer, PlaneIndex(c=c), plane)
        del field, planes
    for writer in writers:
        for level in writer.tail:
            for block in writer.tail_blocks(level):
                writer.build_tail(level, block)
        writer.finish()
    return output, truth


def truth_path(output: Path) -> Path:
    """Where the truth of `output` lies: cells.ome.zarr -> cells_truth.ome.zarr."""
    stem, dot, suffixes = output.name.partition(".")
    return output.with_name(f"{stem}_truth{dot}{suffixes}")


def _layout(structures: Sequence[str], plane: NDArray[Any], pixel_size_um: float) -> Layout:
    return Layout(
        axes="cyx",
        shape=(len(structures), *plane.shape),
        dtype=plane.dtype.name,
        pixel_size_um={"y": pixel_size_um, "x": pixel_size_um},
        # Both images begin at the same corner, so the centres of their first pixels differ.
        translation_um={"y": pixel_size_um / 2, "x": pixel_size_um / 2},
        channels=tuple(Channel(name, COLORS.get(name, "FFFFFF")) for name in structures),
        name="simulated field",
    )


def _write_plane(writer: ImageWriter, plane: PlaneIndex, pixels: NDArray[Any]) -> None:
    height, width = writer.layout.block
    for y, x in itertools.product(range(0, pixels.shape[0], height), range(0, pixels.shape[1], width)):
        writer.write(plane, y, x, np.ascontiguousarray(pixels[y : y + height, x : x + width]))
