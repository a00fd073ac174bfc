"""The report of an inference output: input and restored image side by side, and what speaks against trusting them.

There is no truth here. What can be said is whether the run is complete, whether the image is of the kind the model was
trained on, and how the restored image explains its input (SQUIRREL). Squares are read from at most 3 x 3 places of a
plane, so a report of any store takes the same time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluorsr.errors import FluorsrError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.metrics.decorrelation import decorrelation
from fluorsr.metrics.squirrel import squirrel
from fluorsr.models.weights import Card as WeightsCard
from fluorsr.pipeline.frames import find_frames
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.summary import notes_after, warnings_before
from fluorsr.report.html_cards import find_card, model_card, to_yaml
from fluorsr.report.html_charts import Gallery
from fluorsr.report.html_fields import Scene, fields_of
from fluorsr.report.html_images import side_for
from fluorsr.report.html_page import INPUT, OKABE_ITO, Card, Column, Page, Table, number, text

MOST_FIELDS = 4
TOO_BRIGHT = 3.0
"""An input this many times above the window it was normalised with lies outside of what models see in training."""
SATURATED = 0.001
LEAST_PX = 16


@dataclass(frozen=True)
class Run:
    """An output with its record and, where it is still there, its input (raw frames along q)."""

    journal: Journal
    restored: Image
    source: Image | None
    scale: int

    @property
    def done(self) -> Any:
        return self.journal.fingerprint


def inference_page(output: Path, gallery: Gallery) -> Page:
    """The page of an OME-Zarr that fluorsr wrote. Raises NotFoundError or FormatError where it has no sound record."""
    journal, restored = Journal.open(output), open_image(output)
    facts, lost = journal.fingerprint, list[str]()
    source = _open_source(journal, lost)
    scale = restored.size("x") // (facts["x"][1] - facts["x"][0])
    run = Run(journal, restored, source, scale)
    card = find_card(str(journal.call.get("options", {}).get("model", "")))
    warnings = [*_run_warnings(run, card), *lost]
    scenes = [_scene(run, plane) for plane in _planes(restored)]
    for scene, plane in zip(scenes, _planes(restored), strict=True):
        warnings += _scene_warnings(run, scene, plane)
    fields = fields_of(scenes, gallery, warnings)
    summary = [f"Restored by {facts['model']} from {facts['input']}."]
    if card and card.spec.structures:
        summary.append(
            f"The model was trained on {', '.join(card.spec.structures)}: of anything else it may make what it knows."
        )
    pixel = restored.pixel_size_um.get("x")
    return Page(
        kind="Inference output",
        title=output.resolve().name,
        summary=summary,
        warnings=warnings,
        tables=[_without_truth(scenes, run)] if source is not None else [],
        fields=fields,
        cards=[*([model_card(card, facts["model"])] if card else []), Card("The run's record", [], to_yaml(facts))],
        facts=[
            ("Size", ", ".join(f"{a} {n}" for a, n in zip(restored.axes, restored.shape, strict=True))),
            ("Pixels", facts["dtype"] + (f", {pixel * 1000:g} nm" if pixel else "")),
            ("Blocks", f"{int(journal.done.sum())} of {len(journal)} done"),
            ("Device", f"{facts['device']}, {facts['precision']}"),
        ],
    )


def _open_source(journal: Journal, warnings: list[str]) -> Image | None:
    """The input as the run saw it; None, and a warning, where it is gone or another."""
    facts, options = journal.fingerprint, journal.call.get("options", {})
    try:
        stored = open_image(facts["input"], level=facts["level"])
        if list(stored.shape) != facts["shape"]:
            warnings.append(f"{facts['input']} now has shape {list(stored.shape)}, not {facts['shape']}: not shown")
            return None
        if "frames" not in facts:
            return stored
        wanted = len(facts["frames"]["chosen"])
        series = find_frames(stored, facts["model"], wanted, options.get("frames_axis"), options.get("frames"))
    except FluorsrError as error:
        warnings.append(f"the input cannot be shown beside: {error}")
        return None
    return series.view(stored) if series else stored


def _run_warnings(run: Run, card: WeightsCard | None) -> list[str]:
    journal, dtype = run.journal, run.done["dtype"]
    found = []
    missing = len(journal) - int(journal.done.sum())
    if missing:
        found.append(f"{missing} of {len(journal)} blocks are not done: go on with fluorsr infer --resume")
    if card is not None and run.source is not None:
        found += warnings_before(run.source, card.spec, run.source.dtype.name)
    return [*found, *notes_after(dtype, journal.totals())]


def _planes(restored: Image) -> Iterator[PlaneIndex]:
    """The planes to show: of each channel the middle one along z, at the first time."""
    for c in range(min(restored.size("c"), MOST_FIELDS)):
        yield PlaneIndex(c=c, z=restored.size("z") // 2)


def _scene(run: Run, plane: PlaneIndex) -> Scene:
    """Input and restored image of one plane, where the input varies most of up to 3 x 3 places."""
    facts, scale = run.done, run.scale
    count = min(run.restored.size("c"), MOST_FIELDS)
    cut = side_for([1.0, 1 / scale**2] * count) // scale
    (y0, y1), (x0, x1) = facts["y"], facts["x"]
    best, images, at = -1.0, {}, (0, 0)
    for y, x in itertools.product(_starts(y0, y1, cut), _starts(x0, x1, cut)):
        found = _read(run, plane, slice(y, min(y + cut, y1)), slice(x, min(x + cut, x1)))
        spread = float(np.nanstd(next(iter(found.values())).astype(np.float64)))
        if spread > best:
            best, images, at = spread, found, (y, x)
    if not images:  # nothing is finite anywhere
        images = _read(run, plane, slice(y0, min(y0 + cut, y1)), slice(x0, min(x0 + cut, x1)))
    pixel = run.restored.pixel_size_um.get("x")
    name = run.restored.channels[plane.c].name
    if run.restored.size("z") > 1:
        name += f", z {plane.z} of {run.restored.size('z')}"
    height, width = images["restored"].shape
    row, column = scale * (at[0] - y0), scale * (at[1] - x0)
    return Scene(
        name=name,
        images=images,
        colors={"input": INPUT, "restored": OKABE_ITO[3]},
        captions={},
        truth=None,
        chosen_by="input" if "input" in images else "restored",
        left="input" if "input" in images else "restored",
        right="restored",
        width_um=None if pixel is None else pixel * width,
        where=f"Rows {row} to {row + height}, columns {column} to {column + width} of {run.restored.size('y')} x "
        f"{run.restored.size('x')} output pixels: of the places looked at, the one where the input varies most.",
    )


def _read(run: Run, plane: PlaneIndex, y: slice, x: slice) -> dict[str, NDArray[Any]]:
    """The same place of both, y and x in input pixels; of raw frames the mean."""
    facts, s = run.done, run.scale
    images: dict[str, NDArray[Any]] = {}
    if run.source is not None:
        at = PlaneIndex(facts["t"][plane.t], facts["c"][plane.c], facts["z"][plane.z])
        frames = [run.source.read(at._replace(q=q), y, x) for q in range(run.source.size("q"))]
        images["input"] = frames[0] if len(frames) == 1 else np.stack(frames).astype(np.float32).mean(axis=0)
    (y0, _), (x0, _) = facts["y"], facts["x"]
    out = slice(s * (y.start - y0), s * (y.stop - y0)), slice(s * (x.start - x0), s * (x.stop - x0))
    images["restored"] = run.restored.read(plane, *out)
    return images


def _starts(first: int, stop: int, cut: int) -> list[int]:
    """Up to three starts of lengths `cut`, spread evenly."""
    count = min(3, max(1, (stop - first) // cut))
    return [first + i * max(stop - first - cut, 0) // max(count - 1, 1) for i in range(count)]


def _scene_warnings(run: Run, scene: Scene, plane: PlaneIndex) -> list[str]:
    """Intensities that models do not know, in the square that is shown."""
    pixels, found = scene.images.get("input"), []
    if pixels is None:
        return []
    limits = run.done["normalization"].get(str(run.done["c"][plane.c]))
    finite = pixels[np.isfinite(pixels)]
    if limits and finite.size:
        low, high = limits
        peak = (float(finite.max()) - low) / (high - low) if high > low else math.inf
        if peak > TOO_BRIGHT:
            found.append(
                f"{scene.name}: the brightest input pixel shown lies {peak:.1f} times as high as the range {low:g} to "
                f"{high:g} that the image was normalised by; models have not seen such peaks"
            )
    if np.issubdtype(pixels.dtype, np.unsignedinteger):
        share = float(np.mean(pixels == np.iinfo(pixels.dtype).max))
        if share > SATURATED:
            found.append(
                f"{scene.name}: {share:.1%} of the input pixels shown are saturated: their intensities are lost"
            )
    return found


def _without_truth(scenes: list[Scene], run: Run) -> Table:
    """How each restored square explains its input, and the resolution of both."""
    pixel = run.restored.pixel_size_um.get("x")
    rows = []
    for scene in scenes:
        images = [torch.from_numpy(scene.images[name].astype(np.float64)) for name in ("input", "restored")]
        row = [text(scene.name)]
        if min(images[0].shape) < LEAST_PX or not all(bool(torch.isfinite(i).all()) for i in images):
            row += [number(None)] * 4
        else:
            found = squirrel(images[1], images[0], pixel_size_um=(pixel or 1.0) * run.scale)
            row += [number(float(found.rsp), 3), number(float(found.rse), 2)]
            for image, factor in zip(images, (run.scale, 1), strict=True):
                nm = float(decorrelation(image, pixel_size_um=pixel * factor)) if pixel else None
                row.append(number(nm, 0))
        rows.append(row)
    columns = [
        Column("Field", "text"),
        Column("RSP", "number", "higher", "Pearson correlation of the restored image, blurred back, with the input"),
        Column("RSE (counts)", "number", "lower", "root mean square of what blurring back does not explain"),
        Column("Input (nm)", "number", "lower", "resolution by decorrelation analysis"),
        Column("Restored (nm)", "number", "lower", "resolution by decorrelation analysis"),
    ]
    remark = (
        "Of the squares shown. RSP and RSE (SQUIRREL) tell whether the restored image explains its input: structure "
        "lost or moved shows, detail invented below the input's resolution does not. The resolution tells sharp from "
        "blurred, never right from wrong."
    )
    return Table("Without a truth", columns, rows, remark)
