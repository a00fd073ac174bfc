"""Images of a comparison that are kept, for reports and for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fluorsr.evaluate.cases import Case, Source, file_name
from fluorsr.evaluate.results import INPUT, TARGET, Picture
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout


def cases_to_show(sources: Sequence[Source], count: int) -> set[str]:
    """Cases to keep pictures of: the first of each group, then the second, and so on."""
    place: dict[str, int] = {}
    ranked = []
    for number, source in enumerate(sources):
        ranked.append((place.get(source.group, 0), number, source.name))
        place[source.group] = place.get(source.group, 0) + 1
    return {name for _, _, name in sorted(ranked)[:count]}


def keep_pictures(case: Case, images: Mapping[str, Tensor], out: Path) -> list[Picture]:
    """Write the input, what was made of it and the truth as float32 OME-TIFF: out/pictures/CASE/METHOD.tif."""
    folder = Path("pictures") / file_name(case.name)
    (out / folder).mkdir(parents=True, exist_ok=True)
    found = []
    wide = case.degraded.mean(axis=0, dtype=np.float64)
    restored = {name: image.numpy() for name, image in images.items()}
    for name, image in {INPUT: wide, **restored, TARGET: case.target}.items():
        size = case.input_pixel_size_um if name == INPUT else case.pixel_size_um
        pixels = np.ascontiguousarray(image, np.float32)
        layout = Layout("yx", pixels.shape, "float32", {"y": size, "x": size} if size else {}, block=pixels.shape)
        path = folder / f"{file_name(name)}.tif"
        writer = create_image(out / path, layout, provenance={"case": case.name, "method": name}, overwrite=True)
        writer.write(PlaneIndex(), 0, 0, pixels)
        writer.finish()
        found.append(Picture(case.name, name, path.as_posix()))
    return found
