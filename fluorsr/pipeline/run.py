"""Restore an image of any size from one store to another, over dask, in bounded memory, safe to kill and resume."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fluorsr.errors import FluorsrError, InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.chunk_cache import chunk_sides
from fluorsr.io.disk import exists_error
from fluorsr.io.open import TIFF_SUFFIXES, open_image
from fluorsr.io.writer import ImageWriter
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import LoadedModel, load
from fluorsr.normalize import Normalization, fit
from fluorsr.pipeline.cluster import Where, choose_where, cluster, opened_workshops
from fluorsr.pipeline.damage import changed_inputs, find_damage
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.identity import fingerprint as fingerprint_of
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.measure import Facts, before_run, view_of
from fluorsr.pipeline.output import check_apart, opened_output, sweep_blocks
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan, make_plan
from fluorsr.pipeline.probe import probe
from fluorsr.pipeline.select import select
from fluorsr.pipeline.space import check_space, compressed_share, raw_bytes
from fluorsr.pipeline.summary import Progress, Summary, notes_after, warnings_before
from fluorsr.pipeline.window import Window
from fluorsr.pipeline.worker import Job
from fluorsr.predict import available_threads
from fluorsr.restorer import RestorerSpec

DEFAULT_MODEL = "edsr-confocal-sted-x2"


def infer(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    precision: str = "auto",
    steps: int | None = None,
    sampler: str | None = None,
    level: int = 0,
    channels: str | None = None,
    z: str | None = None,
    t: str | None = None,
    region: str | None = None,
    frames_axis: str | None = None,
    frames: str | None = None,
    frame_order: str = "angle",
    check_frames: bool = True,
    options: dict[str, Any] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    block: int | None = None,
    dtype: str = "same",
    ngff: str = "0.5",
    workers: int = 1,
    scheduler: str | None = None,
    gpus: str | None = None,
    slurm: str | Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    trust: bool = False,
    resume: bool = False,
    verify: bool = False,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Restore `source` into `output`.

    source      OME-Zarr, zarr array, TIFF or OME-TIFF
    output      OME-Zarr, or TIFF for small images, by suffix
    model       name of a shipped model, or a file: fluorsr's safetensors, or TorchScript [B, C, Y, X] -> [B, 1, sY, sX]
    steps, sampler   of a diffusion model: network evaluations and how they are used; default the model's own
    options     of a classical method, where `model` names one (fluorsr.classical.registry)
    channels, z, t, region   what to restore (see fluorsr.pipeline.select); default everything
    frames_axis, frames      for SIM models: the axis that holds raw frames, and which of them (see
                             fluorsr.pipeline.frames); channels, z and t then count images, not frames
    frame_order, check_frames   angle or phase: which changes slowest along the axis; and whether the frames are held
                                against it before the run (fluorsr.pipeline.measure)
    tile, overlap   input pixels; default chosen from the model's halo and the image's size
    block       output pixels of a task along y and x, which is also the shard's size
    dtype       same, uint8, uint16 or float32
    workers     processes; 1 is this process. With more, call from under `if __name__ == "__main__":`
    scheduler   address of a running dask cluster; gpus: "all" or "0,1", a process for each; slurm: a YAML file of
                options for dask_jobqueue.SLURMCluster and `jobs`
    threads     tiles restored at a time, over all workers of this machine; default its CPU cores. On a cluster: in
                each worker; default its threads
    trust       run a TorchScript file though it is not on the user's trust list
    resume      go on with an interrupted run; overwrite replaces what is there. Neither: an existing output is refused
    verify      with resume: first re-read every finished block and its input, and do again what is damaged
    tell        is given each warning before the run starts; progress is called after every batch of blocks

    Returns the Summary. Raises a FluorsrError that names the rule, the value and the remedy; what is on disk then is
    either untouched or a record-keeping store that `resume=True` completes.
    """
    started = time.perf_counter()
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: choose one")
    where = choose_where(workers, scheduler, gpus, slurm)
    if verify and not resume:
        raise InputError("verify re-reads what an earlier run did, so it goes with resume")
    tune_allocator()
    tell = tell or (lambda _: None)
    report = progress or (lambda _: None)
    path = Path(output).absolute()  # workers may stand elsewhere
    check_apart(Path(source), path)
    if path.exists() and not (resume or overwrite):
        raise exists_error(path)
    stored = open_image(source, level=level)
    loaded = load(
        model,
        device=device,
        precision=precision,
        trust=trust,
        steps=steps,
        sampler=sampler,
        options=options,
        pixel_size_um=stored.pixel_size_um.get("x"),
    )
    series, image = view_of(stored, loaded, frames_axis, frames, frame_order)
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
    grouped = series.notes(stored) if series else []
    notes = _tell_all([*loaded.notes, *grouped, *warnings_before(image, loaded.spec, plan.layout.dtype)], tell)
    normalizations = fit_channels(image, plan, loaded.spec, report)
    fingerprint = fingerprint_of(source, level, stored, loaded, plan, normalizations, ngff, seed)
    facts = _measured(path, plan) if resume else {}
    if series and not facts:
        facts, found = before_run(
            stored,
            image,
            series,
            loaded,
            plan.input_planes,
            normalizations,
            threads=threads or available_threads(),
            check=check_frames,
            done=lambda done: report(Progress("measure", done, len(plan))),
        )
        notes += _tell_all(found, tell)
    fingerprint |= _told(options, series, [facts[plane] for plane in plan.input_planes if facts])
    if not where.inside and path.suffix.lower() in TIFF_SUFFIXES:
        raise InputError(f"{path.name} is a TIFF, which one process writes: use --workers 1, or an OME-Zarr output")
    if not resume:  # then most of it may be there
        notes += _tell_all(_space(path, image, plan), tell)
    call = {
        "source": fingerprint["input"],
        "options": {
            "model": str(Path(model).resolve()) if Path(model).is_file() else str(model),
            "device": loaded.device,
            "precision": loaded.precision,
            "steps": loaded.steps,
            "sampler": loaded.sampler,
            "level": level,
            "channels": channels,
            "z": z,
            "t": t,
            "region": region,
            "frames_axis": frames_axis,
            "frames": frames,
            "frame_order": frame_order,
            "check_frames": check_frames,
            "options": options,
            "tile": tile,
            "overlap": overlap,
            "batch": plan.batch,
            "block": block,
            "dtype": plan.layout.dtype,
            "ngff": ngff,
            "seed": seed,
        },
    }
    with opened_output(path, plan, ngff, fingerprint, call, resume=resume, overwrite=overwrite, tell=tell) as opened:
        writer, journal = opened
        repaired = _recheck(journal, plan, image, writer, fingerprint["input_files"], verify, report) if resume else ()
        job = Job(
            name=f"fluorsr-{path.name}-{uuid.uuid4().hex[:8]}",
            source=fingerprint["input"],
            level=level,
            plan=plan,
            writer=writer,
            model=call["options"]["model"],
            device=loaded.device,
            precision=loaded.precision,
            trust=trust,
            steps=loaded.steps,
            sampler=loaded.sampler,
            normalizations=normalizations,
            seed=seed,
            threads=(threads or 0) if where.elsewhere else max(1, (threads or available_threads()) // where.processes),
            frames=series,
            facts=facts,
            options=options or {},
            lease=journal.lease.holder.holder if journal.lease else None,
        )
        resumed = int(journal.done[: len(plan)].sum())
        restoring = time.perf_counter()
        try:
            pixels, lost = _run(job, image, loaded, journal, where, tell, report)
        except BaseException:
            with suppress(FluorsrError):  # a disk that is full has been told of already
                journal.flush()
            raise
        if lost or resumed:
            sweep_blocks(path)
        writer.finish()
    ended = time.perf_counter()
    totals = journal.totals()
    return Summary(
        source=str(source),
        output=str(output),
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
        notes=(*notes, *notes_after(plan.layout.dtype, totals)),
        repaired=repaired,
    )


def chunk_order(plan: Plan, image: Image) -> Sequence[int]:
    """The blocks in the order in which to make them: as numbered or, where chunks are kept, chunk by chunk."""
    sides = chunk_sides(image)
    if sides is None:
        return range(len(plan))
    rest, column = np.divmod(np.arange(len(plan)), plan.blocks_yx[1])
    plane, row = np.divmod(rest, plan.blocks_yx[0])
    chunk_y, chunk_x = (
        (first + index * side) // chunk
        for first, index, side, chunk in zip(
            (plan.selection.y[0], plan.selection.x[0]), (row, column), plan.block_input, sides, strict=True
        )
    )
    return [int(i) for i in np.lexsort((column, row, chunk_x, chunk_y, plane))]


def _space(path: Path, image: Image, plan: Plan) -> list[str]:
    """Warnings of a disk that may be too small. Raises StorageError where it certainly is."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    note = check_space(folder, int(raw_bytes(plan.layout) * compressed_share(image, plan)))
    return [note] if note else []


def _recheck(
    journal: Journal,
    plan: Plan,
    image: Image,
    writer: ImageWriter,
    input_files: str,
    verify: bool,
    report: Callable[[Progress], None],
) -> tuple[str, ...]:
    """Before going on: is the input still the one that finished blocks were made from, and are those still there?

    Returns a line for each damaged block, which then counts as not done. The input is re-read where its
    files look different or `verify` asks for it. Raises InputError where it changed.
    """
    if verify or journal.fingerprint.get("input_files") != input_files:
        changed = changed_inputs(journal, plan, image, lambda done, of: report(Progress("check input", done, of)))
        if changed:
            raise InputError(
                f"the input of {writer.path} has changed since the run was begun, in {len(changed)} finished blocks, "
                f"first in {changed[0]}: bring the earlier input back, or --overwrite to begin anew"
            )
    if not verify:
        return ()
    damage = find_damage(journal, writer.path, plan.layout, lambda done, of: report(Progress("check output", done, of)))
    journal.forget(damage.to_redo(Places(plan.layout)))
    journal.flush()
    return damage.faults


def _run(
    job: Job,
    image: Image,
    model: LoadedModel,
    journal: Journal,
    where: Where,
    tell: Callable[[str], None],
    report: Callable[[Progress], None],
) -> tuple[int, int]:
    """Make the rows that the record does not hold: (input pixels restored, tries that failed)."""
    places = Places(job.plan.layout) if job.lease else None  # a TIFF has no storage objects to name
    stages = [("restore", range(len(job.plan)))]
    order = chunk_order(job.plan, image)
    if places:
        stages += [(f"pyramid level {level}", places.rows(level)) for level in places.tail]

    def describe(row: int) -> str:
        return f"block {row} ({places[row]})" if places else f"block {row}"

    pixels = 0
    with cluster(where) as client:
        if where.elsewhere:
            probe(client, job, image, tell)
        with opened_workshops(client, where, job, image, model):
            window = Window(client, job.name, tell)
            for stage, rows in stages:
                finished = journal.done[rows.start : rows.stop]
                done = int(finished.sum())
                report(Progress(stage, done, len(rows)))
                waiting = (row for row in (rows if rows.start else order) if not finished[row - rows.start])
                for results in window.run(waiting, describe):
                    for result in results:
                        pixels += result.pixels
                        journal.record(result.facts)
                    journal.flush_when_due()
                    done += len(results)
                    report(Progress(stage, done, len(rows), pixels))
                journal.flush()
    return pixels, window.lost


def fit_channels(
    image: Image, plan: Plan, spec: RestorerSpec, report: Callable[[Progress], None] = lambda _: None
) -> dict[int, Normalization]:
    """What each input channel of the plan is normalised with: fitted over all raw frames of the channel together."""
    found: dict[int, Normalization] = {}
    for i, c in enumerate(plan.selection.c):
        report(Progress("fit", i, len(plan.selection.c)))
        found[c] = fit(image, (c,), spec.percentiles)
    report(Progress("fit", len(found), len(found)))
    return found


def _told(options: dict[str, Any] | None, series: Frames | None, measured: list[Facts]) -> dict[str, Any]:
    """What classical methods and raw frames add to a fingerprint; nothing where there are none."""
    entries = {"options": options, "frames": series.to_json() if series else None, "measured": measured}
    return {name: value for name, value in entries.items() if value}


def _tell_all(notes: list[str], tell: Callable[[str], None]) -> list[str]:
    for note in notes:
        tell(note)
    return notes


def _measured(path: Path, plan: Plan) -> dict[PlaneIndex, Facts]:
    """What the interrupted run measured of these planes, from its record; empty where there is none."""
    recorded = Journal.open(path).fingerprint.get("measured", []) if path.is_dir() else []
    planes = plan.input_planes
    return dict(zip(planes, recorded, strict=True)) if len(recorded) == len(planes) else {}
