"""Write a set of pairs anew with its shifts corrected; the originals stay as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.data.findings import Report
from fluorsr.data.pairs import Pair
from fluorsr.data.registration import Shift, correct_shift
from fluorsr.errors import InputError, OutputExistsError
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import WRITABLE, Layout

CERTAIN = 3.0
"""A shift of fewer standard errors is the noise's and left alone."""


def write_corrected(report: Report, output: str | Path) -> Path:
    """Write every pair of a faultless report to OUTPUT/[split/]input and target as OME-TIFF, lying on itself.

    Pairs keep their pixel types; those that lie right keep their pixels. See `registration.correct_shift` for what is
    cropped and what is resampled. Raises InputError where the report has faults, OutputExistsError, StorageError.
    """
    report.raise_if_faulty()
    output = Path(output)
    if output.exists():
        raise OutputExistsError(f"{output} exists; name a new folder for the corrected pairs")
    for one in report.measured:
        if one.shift is None:
            raise InputError(f"{one.pair.name} has no measured shift")
        _write_pair(one.pair, one.shift, output)
    return output


def _write_pair(pair: Pair, shift: Shift, output: Path) -> None:
    if shift.length <= CERTAIN * shift.error:
        shift = Shift(0.0, 0.0, shift.error, shift.agreement, shift.strength)
    pixels, target = correct_shift(*pair.read(), shift, pair.scale)
    folder = output / pair.split
    name = re.sub(r"[^\w.-]+", "_", pair.name.removeprefix(f"{pair.split}/"))
    done = {"shift_px": [shift.y, shift.x], "source": [str(pair.input_path), str(pair.target_path)]}
    size = pair.pixel_size_um
    for side, stack, image, factor in (
        ("input", pixels, pair.input, 1),
        ("target", target[None], pair.target, pair.scale),
    ):
        planes = _as_stored(stack.numpy(), image.dtype)
        many = len(planes) > 1
        layout = Layout(
            axes="zyx" if many else "yx",
            shape=planes.shape if many else planes.shape[1:],
            dtype=planes.dtype.name,
            pixel_size_um={"y": size / factor, "x": size / factor} if size else {},
            name=name,
            block=(planes.shape[1], planes.shape[2]),
        )
        (folder / side).mkdir(parents=True, exist_ok=True)
        writer = create_image(folder / side / f"{name}.tif", layout, provenance={"corrected": done})
        for z, plane in enumerate(planes):
            writer.write(PlaneIndex(z=z), 0, 0, np.ascontiguousarray(plane))
        writer.finish()


def _as_stored(pixels: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rounded and clipped to the type that was read, where it can be written; float32 otherwise."""
    if dtype.name not in WRITABLE or dtype.kind == "f":
        return pixels
    limits = np.iinfo(dtype)
    return np.clip(np.rint(pixels), limits.min, limits.max).astype(dtype)
