"""Which run this is: everything that decides the output's bytes, and what the input's files look like."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fluorsr.image import Image
from fluorsr.io.ome_zarr import ZarrArray
from fluorsr.io.remote import RemotePath, place
from fluorsr.models.load import LoadedModel
from fluorsr.models.network import ARITHMETIC
from fluorsr.models.samplers import POWER
from fluorsr.pipeline.block import Maker
from fluorsr.pipeline.plan import as_record
from fluorsr.tiling.blend import crc32c


def fingerprint(
    source: str | Path,
    level: int,
    image: Image,
    loaded: LoadedModel,
    maker: Maker,
    ngff: str,
) -> dict[str, Any]:
    """Everything that decides the output's bytes."""
    normalizations = maker.normalizations
    return {
        "fluorsr": importlib.metadata.version("fluorsr"),
        "model": loaded.spec.name,
        "model_sha256": loaded.sha256,
        "arithmetic": ARITHMETIC,
        "device": loaded.device.partition(":")[0],
        "precision": loaded.precision,
        **({"steps": loaded.steps, "sampler": loaded.sampler, "levels": POWER} if loaded.steps else {}),
        **({"tta": True} if loaded.tta else {}),
        **({"engine": loaded.engine} if loaded.engine != "torch" else {}),
        "input": str(place(source).resolve()),
        "input_files": files_seen(place(source), image),
        "level": level,
        "axes": image.axes,
        "shape": list(image.shape),
        "input_dtype": image.dtype.name,
        "normalization": {str(c): [n.low, n.high] for c, n in normalizations.items()},
        "normalization_sample": next(iter(normalizations.values())).sample,
        **({"skip_empty": {str(c): asdict(rule) for c, rule in maker.empty.items()}} if maker.empty else {}),
        "seed": maker.seed,
        "ngff": ngff,
        **as_record(maker.plan),
    }


def files_seen(source: Path | RemotePath, image: Image) -> str:
    """CRC32C of the names, sizes and modification times of the files that hold an image's pixels.

    Equal: nobody touched them. Different: they were changed, or only copied; their pixels tell (see damage.py). Of an
    image at an address nothing can be seen so: empty.
    """
    if isinstance(source, RemotePath):
        return ""
    root = image.data.path if isinstance(image.data, ZarrArray) else source
    value = 0
    for name, size, modified_ns in _files(str(root)):
        value = crc32c(f"{name} {size} {modified_ns}\n".encode(), value)
    return f"{value:08x}"


def _files(folder: str, within: str = "") -> Iterator[tuple[str, int, int]]:
    """(path below the folder, size, modification time) of every file, in the order of names."""
    if not os.path.isdir(folder):  # noqa: PTH112  (a million files: strings and scandir, no Path objects)
        status = os.stat(folder)  # noqa: PTH116
        yield within, status.st_size, status.st_mtime_ns
        return
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, f"{within}{entry.name}/")
        else:
            status = entry.stat()
            yield within + entry.name, status.st_size, status.st_mtime_ns
