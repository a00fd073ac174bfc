"""Restore an image of any size from one store to another, over dask, in bounded memory, safe to kill and resume."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fluorsr.classical.sim_stripes import settled
from fluorsr.errors import FluorsrError, InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.disk import exists_error
from fluorsr.io.open import TIFF_SUFFIXES, local, open_image
from fluorsr.io.remote import place
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.load import load
from fluorsr.pipeline.cluster import Where, choose_where
from fluorsr.pipeline.damage import changed_inputs, find_damage
from fluorsr.pipeline.frames import Frames
from fluorsr.pipeline.identity import fingerprint as fingerprint_of
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.measure import Facts
from fluorsr.pipeline.output import check_apart, opened_output, sweep_blocks
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan
from fluorsr.pipeline.prepare import Prepared, prepare
from fluorsr.pipeline.rows import make_rows
from fluorsr.pipeline.space import check_space, output_bytes
from fluorsr.pipeline.summary import Progress, Summary, notes_after, warnings_before
from fluorsr.pipeline.worker import Job
from fluorsr.predict import available_threads

DEFAULT_MODEL = "edsr-confocal-sted-x2"


def infer(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "torch",
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
    samples: int | None = None,
    tta: bool = False,
    skip_empty: str | float | None = None,
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

    source      OME-Zarr, zarr array, TIFF or OME-TIFF; a zarr also by address: s3://, gs://, http(s)://
    output      OME-Zarr, or TIFF for small images, by suffix
    model       name of a shipped model, or a file: fluorsr's safetensors, or TorchScript [B, C, Y, X] -> [B, 1, sY, sX]
    engine      torch, or openvino (extra fluorsr[cpu]): faster on many CPUs, other rounding (fluorsr.models.openvino)
    steps, sampler   of a diffusion model: network evaluations and how they are used; default the model's own
    options     of a classical method, where `model` names one (fluorsr.classical.registry); of a network of raw SIM
                frames {"stripes": FILE}, as `fluorsr info --save-stripes` writes it: what it holds is recorded
    samples     of a diffusion model, in pairs of mirrored noise from `seed` on (fluorsr.models.noise): the output is
                their mean, and its group `deviation`, an image of its own, their standard deviation (float32, in the
                input's units)
    tta         the mean over the eight symmetries of the square, at eight times the cost (fluorsr.models.symmetries)
    skip_empty  leave out tiles of background, which become flat: "auto", or the counts that no mean over 4 x 4 pixels
                of such a tile is above (fluorsr.pipeline.empty). Default: every tile is restored
    channels, z, t, region   what to restore (see fluorsr.pipeline.select); default everything
    frames_axis, frames      for SIM models: the axis that holds raw frames, and which of them (see
                             fluorsr.pipeline.frames); channels, z and t then count images, not frames
    frame_order, check_frames   angle or phase: which changes slowest along the axis; and whether the frames are held
                                against it before the run (fluorsr.pipeline.measure)
    tile, overlap   input pixels; default chosen from the model's halo, the image's size and the block
    block       output pixels of a task along y and x, which is also the shard's size; with a given tile it changes no
                pixel
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
    where = choose_where(workers, scheduler, gpus, slurm)
    path = local(output).absolute()  # workers may stand elsewhere
    _check_call(source, path, where, samples, resume=resume, verify=verify, overwrite=overwrite)
    tune_allocator()
    options = settled(options)
    tell = tell or (lambda _: None)
    report = progress or (lambda _: None)
    stored = open_image(source, level=level)
    loading: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "engine": engine,
        "trust": trust,
        "steps": steps,
        "sampler": sampler,
        "options": options,
        "pixel_size_um": stored.pixel_size_um.get("x"),
        "tta": tta,
    }
    loaded = load(model, **loading)
    prepared = prepare(
        stored,
        loaded,
        channels=channels,
        z=z,
        t=t,
        region=region,
        frames_axis=frames_axis,
        frames=frames,
        frame_order=frame_order,
        tile=tile,
        overlap=overlap,
        batch=batch,
        dtype=dtype,
        block=block,
        samples=samples,
        skip_empty=skip_empty,
        seed=seed,
        watch=lambda stage, done, total: report(Progress(stage, done, total)),
    )
    image, plan, series = prepared.image, prepared.plan, prepared.frames
    notes = [
        *loaded.notes,
        *(series.notes(stored) if series else []),
        *warnings_before(image, loaded.spec, plan.layout.dtype),
        *_told_empty(prepared),
    ]
    notes = _tell_all(notes, tell)
    fingerprint = fingerprint_of(source, level, stored, loaded, prepared.maker, ngff)
    facts = _measured(path, plan) if resume else {}
    if facts:
        prepared = replace(prepared, maker=replace(prepared.maker, facts=facts))
    else:
        prepared, found = prepared.measured(
            plan.input_planes,
            threads or available_threads(),
            check=check_frames,
            done=lambda done: report(Progress("measure", done, len(plan))),
        )
        notes += _tell_all(found, tell)
    maker = prepared.maker
    fingerprint |= _told(options, series, [maker.facts[plane] for plane in plan.input_planes if maker.facts])
    if not resume:  # then most of it may be there
        notes += _tell_all(_space(path, image, plan), tell)
    call = {
        "source": fingerprint["input"],
        "options": {
            "model": str(Path(model).resolve()) if Path(model).is_file() else str(model),
            "device": loaded.device,
            "precision": loaded.precision,
            "engine": engine,
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
            "samples": samples,
            "tta": tta,
            "skip_empty": skip_empty,
            "tile": tile,
            "overlap": overlap,
            "batch": plan.batch,
            "block": block,
            "dtype": plan.layout.dtype,
            "ngff": ngff,
            "seed": seed,
        },
    }
    chosen = {name: getattr(loaded, name) for name in ("device", "precision", "steps", "sampler")}
    with opened_output(path, maker, ngff, fingerprint, call, resume=resume, overwrite=overwrite, tell=tell) as opened:
        writers, journal = opened
        repaired = _recheck(journal, plan, image, path, fingerprint["input_files"], verify, report) if resume else ()
        job = Job(
            name=f"fluorsr-{path.name}-{uuid.uuid4().hex[:8]}",
            source=fingerprint["input"],
            level=level,
            maker=maker,
            writers=writers,
            model=call["options"]["model"],
            loading=loading | chosen,
            threads=(threads or 0) if where.elsewhere else max(1, (threads or available_threads()) // where.processes),
            frames=series,
            lease=journal.lease.holder.holder if journal.lease else None,
        )
        resumed = int(journal.done[: len(plan)].sum())
        restoring = time.perf_counter()
        try:
            pixels, lost, told = make_rows(job, image, loaded, journal, where, tell, report)
        except BaseException:
            with suppress(FluorsrError):  # a disk that is full has been told of already
                journal.flush()
            raise
        if lost or resumed:
            sweep_blocks(path)
        for writer in writers:
            writer.finish()
    ended = time.perf_counter()
    totals = journal.totals()
    return Summary(
        source=str(place(source)),
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
        samples=samples,
        tiles_skipped=totals.skipped,
        normalization={image.channels[c].name: (n.low, n.high) for c, n in maker.normalizations.items()},
        nonfinite_input=totals.nonfinite,
        saturated_output=totals.saturated,
        nonfinite_output=totals.diverged,
        input_pixels=pixels,
        seconds=ended - started,
        restore_seconds=ended - restoring,
        megapixels_per_second=pixels / 1e6 / (ended - restoring),
        notes=(*notes, *told, *notes_after(plan.layout.dtype, totals), *_skipped(prepared, totals.skipped)),
        repaired=repaired,
    )


def _space(path: Path, image: Image, plan: Plan) -> list[str]:
    """Warnings of a disk that may be too small. Raises StorageError where it certainly is."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    note = check_space(folder, output_bytes(image, plan))
    return [note] if note else []


def _recheck(
    journal: Journal,
    plan: Plan,
    image: Image,
    output: Path,
    input_files: str,
    verify: bool,
    report: Callable[[Progress], None],
) -> tuple[str, ...]:
    """Before going on: is the input still the one that finished blocks were made from, and are those still there?

    Returns a line for each damaged block, which then counts as not done. The input is re-read where its
    files look different or `verify` asks for it. Raises InputError where it changed.
    """
    if verify or not input_files or journal.fingerprint.get("input_files") != input_files:
        changed = changed_inputs(journal, plan, image, lambda done, of: report(Progress("check input", done, of)))
        if changed:
            raise InputError(
                f"the input of {output} has changed since the run was begun, in {len(changed)} finished blocks, "
                f"first in {changed[0]}: bring the earlier input back, or --overwrite to begin anew"
            )
    if not verify:
        return ()
    damage = find_damage(journal, output, plan.layout, lambda done, of: report(Progress("check output", done, of)))
    journal.forget(damage.to_redo(Places(plan.layout)))
    journal.flush()
    return damage.faults


def _check_call(
    source: str | Path,
    path: Path,
    where: Where,
    samples: int | None,
    *,
    resume: bool,
    verify: bool,
    overwrite: bool,
) -> None:
    """Raise InputError for options that do not go together, OutputExistsError for an output that is in the way."""
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: choose one")
    if verify and not resume:
        raise InputError("verify re-reads what an earlier run did, so it goes with resume")
    if path.suffix.lower() in TIFF_SUFFIXES:
        if not where.inside:
            raise InputError(f"{path.name} is a TIFF, which one process writes: use --workers 1, or an OME-Zarr output")
        if samples:
            raise InputError(
                f"{path.name} is a TIFF, which has no place for the deviation of samples beside their mean; name an "
                "OME-Zarr"
            )
    check_apart(place(source), path)
    if path.exists() and not (resume or overwrite):
        raise exists_error(path)


def _told_empty(prepared: Prepared) -> list[str]:
    rules, channels = prepared.maker.empty, prepared.image.channels
    of = {c: f" of {channels[c].name}" if len(rules) > 1 else "" for c in rules}
    return [f"tiles{of[c]} are left out where they are empty: {rule}" for c, rule in rules.items()]


def _skipped(prepared: Prepared, count: int) -> list[str]:
    if not prepared.maker.empty:
        return []
    return [f"{count} of {prepared.plan.tiles} tiles were empty, so they are flat background and were not restored"]


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
