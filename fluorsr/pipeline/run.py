"""Restore an image of any size from one store to another, over dask, in bounded memory, safe to kill and resume."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.io.disk import check_replaceable, exists_error, hidden, put_in_place
from fluorsr.io.open import create_image, open_image, reopen_image
from fluorsr.io.writer import ImageWriter
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel, load
from fluorsr.normalize import Normalization, fit
from fluorsr.pipeline.cluster import cluster, run_window
from fluorsr.pipeline.frames import find_frames
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.plan import Plan, as_record, make_plan
from fluorsr.pipeline.select import select
from fluorsr.pipeline.worker import BLOCKS_AT_ONCE, Job, build_tail, restore_block
from fluorsr.predict import available_threads
from fluorsr.restorer import RestorerSpec

DEFAULT_MODEL = "edsr-confocal-sted-x2"
PIXEL_SIZE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `pixels` are input pixels restored since it was started or resumed."""

    stage: str
    done: int
    total: int
    pixels: int = 0


@dataclass(frozen=True)
class Summary:
    """What a run did. Pixel counts cover the whole image, blocks of an earlier, interrupted run included."""

    source: str
    output: str
    model: str
    device: str
    precision: str
    input_shape: dict[str, int]
    output_shape: dict[str, int]
    dtype: str
    pixel_size_um: dict[str, float]
    tile: tuple[int, int]
    overlap: tuple[int, int]
    blocks: int
    blocks_resumed: int
    normalization: dict[str, tuple[float, float]]
    nonfinite_input: int
    saturated_output: int
    nonfinite_output: int
    input_pixels: int
    seconds: float
    restore_seconds: float
    megapixels_per_second: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)


def infer(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    precision: str = "auto",
    level: int = 0,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
    frames_axis: str | None = None,
    frames: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    block: int | None = None,
    dtype: str = "same",
    ngff: str = "0.5",
    workers: int = 1,
    threads: int | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Restore `source` into `output`.

    source      OME-Zarr, zarr array, TIFF or OME-TIFF
    output      OME-Zarr, or TIFF for small images, by suffix
    model       name of a shipped model, or a file: fluorsr's safetensors, or TorchScript [B, C, Y, X] -> [B, 1, sY, sX]
    channels, z, t, region   what to restore (see fluorsr.pipeline.select); default everything
    frames_axis, frames      for SIM models: the axis that holds raw frames, and which of them (see
                             fluorsr.pipeline.frames); channels, z and t then count images, not frames
    tile, overlap   input pixels; default chosen from the model's halo and the image's size
    block       output pixels of a task along y and x, which is also the shard's size
    dtype       same, uint8, uint16 or float32
    workers     processes; 1 is this process. With more, call from under `if __name__ == "__main__":`
    threads     tiles restored at a time, over all workers; default the CPU cores
    resume      go on with an interrupted run; overwrite replaces what is there. Neither: an existing output is refused
    tell        is given each warning before the run starts; progress is called after every batch of blocks

    Returns the Summary. Raises a FluorsrError that names the rule, the value and the remedy; what is on disk then is
    either untouched or a record-keeping store that `resume=True` completes.
    """
    started = time.perf_counter()
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: choose one")
    if workers < 1:
        raise InputError(f"workers {workers} must be at least 1")
    tune_allocator()
    report = progress or (lambda _: None)
    path = Path(output)
    _check_apart(Path(source), path)
    if path.exists() and not (resume or overwrite):
        raise exists_error(path)
    stored = open_image(source, level=level)
    loaded = load(model, device=device, precision=precision)
    series = find_frames(stored, loaded.spec.name, loaded.spec.frames, frames_axis, frames)
    image = series.view(stored) if series else stored
    selection = select(image, channels, z, t, region)
    plan = make_plan(
        image,
        loaded.spec,
        selection,
        tile=tile,
        overlap=overlap,
        batch=batch or (1 if loaded.device == "cpu" else 8),
        dtype=dtype,
        block=block,
    )
    grouped = series.note(stored) if series else ""
    notes = [*loaded.notes, *([grouped] if grouped else []), *warnings_before(image, loaded.spec, plan)]
    for note in notes:
        (tell or (lambda _: None))(note)
    report(Progress("fit", 0, 1))
    normalizations = fit_channels(image, plan, loaded.spec)
    report(Progress("fit", 1, 1))
    fingerprint = _fingerprint(source, level, stored, loaded, plan, normalizations, ngff, seed)
    if series:
        fingerprint["frames"] = series.to_json()
    writer, journal = _open_output(path, plan, ngff, fingerprint, resume=resume, overwrite=overwrite)
    if journal is None and workers > 1:
        raise InputError(f"{path.name} is a TIFF, which one process writes: use --workers 1, or an OME-Zarr output")
    job = Job(
        name=f"fluorsr-{path.name}",
        source=str(source),
        level=level,
        plan=plan,
        writer=writer,
        model=str(model),
        device=loaded.device,
        precision=loaded.precision,
        normalizations=normalizations,
        seed=seed,
        threads=max(1, (threads or available_threads()) // workers),
        frames=series,
    )
    resumed = int(journal.done.sum()) if journal else 0
    restoring = time.perf_counter()
    totals, pixels = _run(job, image, loaded, journal, workers, report)
    writer.finish()
    ended = time.perf_counter()
    return Summary(
        source=str(source),
        output=str(path),
        model=loaded.spec.name,
        device=loaded.device,
        precision=loaded.precision,
        input_shape=dict(zip(stored.axes, stored.shape, strict=True)),
        output_shape=dict(zip(plan.layout.axes, plan.layout.shape, strict=True)),
        dtype=plan.layout.dtype,
        pixel_size_um=dict(plan.layout.pixel_size_um),
        tile=plan.grid.tile[1:],
        overlap=plan.grid.overlap[1:],
        blocks=len(plan),
        blocks_resumed=resumed,
        normalization={image.channels[c].name: (n.low, n.high) for c, n in normalizations.items()},
        nonfinite_input=totals[0],
        saturated_output=totals[1],
        nonfinite_output=totals[2],
        input_pixels=pixels,
        seconds=ended - started,
        restore_seconds=ended - restoring,
        megapixels_per_second=pixels / 1e6 / (ended - restoring),
        notes=(*notes, *_notes_after(plan, totals)),
    )


def _run(
    job: Job,
    image: Image,
    model: LoadedModel,
    journal: Journal | None,
    workers: int,
    report: Callable[[Progress], None],
) -> tuple[tuple[int, int, int], int]:
    """Restore what the record does not hold, then build the pyramid's tail: (pixel counts, pixels restored)."""
    total = len(job.plan)
    finished = journal.done if journal else np.zeros(total, bool)
    done = int(finished.sum())
    waiting = (i for i in range(total) if not finished[i])
    window = 2 * BLOCKS_AT_ONCE * workers
    pixels, counted = 0, [0, 0, 0]
    with cluster(job, workers, image, model) as client:
        report(Progress("restore", done, total))
        for results in run_window(client, restore_block, ((job.name, i) for i in waiting), window):
            for result in results:
                pixels += result.pixels
                facts = result.facts
                counted = [a + b for a, b in zip(counted, facts[2:], strict=True)]
                if journal is not None:
                    journal.record(facts)
            if journal is not None:
                journal.flush()
            done += len(results)
            report(Progress("restore", done, total, pixels))
        for level in job.writer.tail:
            blocks = job.writer.tail_blocks(level)
            built = 0
            for ready in run_window(client, build_tail, ((job.name, level, b) for b in blocks), window):
                built += len(ready)
                report(Progress(f"pyramid level {level}", built, len(blocks)))
    return (journal.totals() if journal else (counted[0], counted[1], counted[2])), pixels


def _check_apart(source: Path, output: Path) -> None:
    """Input and output must not lie within each other: writing one would change the other."""
    inside, outside = source.resolve(), output.resolve()
    if inside == outside:
        raise InputError(f"input and output are the same: {source}; choose another output")
    if inside in outside.parents:
        raise InputError(f"the output {output} lies inside the input {source}; choose a place beside it")
    if outside in inside.parents:
        raise InputError(f"the input {source} lies inside the output {output}; choose another output")


def warnings_before(image: Image, spec: RestorerSpec, plan: Plan) -> list[str]:
    """What a user should know before the run: a pixel size the model was not trained at, a dtype that changes."""
    notes = []
    size = image.pixel_size_um.get("x")
    trained = spec.pixel_size_um
    if trained is not None and size is None:
        notes.append(
            f"the image does not tell its pixel size; {spec.name} was trained at {trained * 1000:.0f} nm, and at "
            "another size what it restores cannot be trusted"
        )
    elif trained is not None and size is not None and abs(size / trained - 1) > PIXEL_SIZE_TOLERANCE:
        notes.append(
            f"the image's pixels are {size * 1000:.1f} nm, {spec.name} was trained at {trained * 1000:.1f} nm: more "
            "than 10 % apart, so what it restores cannot be trusted; resample the image or choose another model"
        )
    if plan.layout.dtype != image.dtype.name:
        notes.append(f"pixels are {image.dtype.name} and will be written as {plan.layout.dtype}")
    return notes


def _notes_after(plan: Plan, totals: tuple[int, int, int]) -> list[str]:
    nonfinite, saturated, diverged = totals
    notes = []
    if nonfinite:
        notes.append(f"{nonfinite} NaN or infinite input pixels were taken as background")
    if saturated:
        notes.append(
            f"{saturated} output pixels were clipped to the range of {plan.layout.dtype} "
            "(a sharper image has higher peaks and deeper valleys); --dtype float32 keeps them"
        )
    if diverged:
        notes.append(f"the model made {diverged} NaN or infinite pixels: do not trust this output")
    return notes


def fit_channels(image: Image, plan: Plan, spec: RestorerSpec) -> dict[int, Normalization]:
    """What each input channel of the plan is normalised with: fitted over all raw frames of the channel together."""
    return {c: fit(image, (c,), spec.percentiles) for c in plan.selection.c}


def _fingerprint(
    source: str | Path,
    level: int,
    image: Image,
    loaded: LoadedModel,
    plan: Plan,
    normalizations: dict[int, Normalization],
    ngff: str,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides the output's bytes."""
    return {
        "fluorsr": importlib.metadata.version("fluorsr"),
        "model": loaded.spec.name,
        "model_sha256": loaded.sha256,
        "device": loaded.device.partition(":")[0],
        "precision": loaded.precision,
        "input": str(Path(source).resolve()),
        "level": level,
        "axes": image.axes,
        "shape": list(image.shape),
        "input_dtype": image.dtype.name,
        "normalization": {str(c): [n.low, n.high] for c, n in normalizations.items()},
        "normalization_sample": next(iter(normalizations.values())).sample,
        "seed": seed,
        "ngff": ngff,
        **as_record(plan),
    }


def _open_output(
    path: Path, plan: Plan, ngff: str, fingerprint: dict[str, Any], *, resume: bool, overwrite: bool
) -> tuple[ImageWriter, Journal | None]:
    """The writer and the run's record; a TIFF has no record, it is written at the end in one piece."""
    if path.suffix.lower() in (".tif", ".tiff"):
        if resume and path.exists():
            raise InputError(f"{path} is a TIFF, which is written in one piece and cannot be resumed; use --overwrite")
        return create_image(path, plan.layout, provenance=fingerprint, overwrite=overwrite), None
    if resume and path.exists():
        journal = Journal.open(path)
        journal.check(fingerprint)
        return reopen_image(path, plan.layout), journal
    if path.exists():
        check_replaceable(path, overwrite=overwrite)
    staging = hidden(path, "partial")
    create_image(staging, plan.layout, ngff=ngff, provenance=fingerprint)
    Journal.create(staging, fingerprint, len(plan))
    put_in_place(staging, path, overwrite=overwrite)
    return reopen_image(path, plan.layout), Journal.open(path)
