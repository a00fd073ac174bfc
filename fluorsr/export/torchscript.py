"""Export a model as TorchScript: one file that any host with LibTorch 2.0 or later runs, with no fluorsr installed.

`forward` maps [B, frames, Y, X] float32, normalised, to [B, 1, scale * Y, scale * X] float32; `infer` restores raw
frames (see fluorsr.export.program). The spec travels as JSON in the archive's extra file `fluorsr.json`, how it was
exported in `fluorsr-export.json`. The network is frozen: its weights are constants of its graph.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from fluorsr.classical.sim_stripes import Stripes
from fluorsr.errors import InputError, ModelError
from fluorsr.export.operators import newer_than_2_0
from fluorsr.export.program import RUNNING_FRAMES, Options, Program
from fluorsr.export.sim_program import RawFrames, SimProgram
from fluorsr.export.source import Sampling, Source, check_raw, open_source
from fluorsr.models.network import DTYPES, channels_last, prepare
from fluorsr.models.precision import filaments
from fluorsr.models.torchscript import EXPORT_FILE, SPEC_FILE, freeze, quiet_jit, script
from fluorsr.models.trust import remember
from fluorsr.models.weights import write_atomically
from fluorsr.pipeline.plan import DEFAULT_STRIDE, default_overlap
from fluorsr.restorer import RestorerSpec
from fluorsr.tiling.grid import Grid

PARITY = {"fp32": 1e-5, "bf16": 0.05}
"""Largest difference from the model in float32 that an export may have, of the output's range."""


def export_torchscript(
    model: str | Path,
    path: str | Path,
    *,
    tile: int | None = None,
    precision: str = "fp32",
    normalise: str = "frame",
    stripes: str | Path | Stripes | None = None,
    orders: bool = False,
    **sampling: Unpack[Sampling],
) -> None:
    """Write the shipped model or weights file `model` as TorchScript. The file appears whole or not at all.

    Its hash joins the user's trust list: what you exported runs without a question.

    tile        input pixels of the tiles in which `infer` works, halo included; default 512 and the halo
    precision   fp32, or bf16: the network computes in bfloat16, input and output stay float32
    normalise   what `infer` maps to 0 and 1: `frame`, the percentiles of each frame; `running`, their running mean,
                which does not flicker; or `LOW,HIGH`, fixed counts
    stripes     of a network of raw SIM frames: the file of `fluorsr info --save-stripes`, whose vectors become part of
                the program (fluorsr.export.sim_program)
    orders      export such a network alone, without what makes orders of raw frames

    Raises NotFoundError and ModelError as `fluorsr.load` does, InputError for options that do not fit, ModelError where
    the program differs from the model or needs operators that LibTorch 2.0 lacks, StorageError where the disk refuses.
    """
    source = open_source(model, stripes, **sampling)
    check_raw(source, orders=orders)
    content = torchscript_bytes(source, tile=tile, precision=precision, normalise=normalise)
    write_atomically(Path(path), content)
    remember(Path(path), hashlib.sha256(content).hexdigest())


def torchscript_bytes(source: Source, *, tile: int | None, precision: str, normalise: str) -> bytes:
    """The file's content. Options and faults as `export_torchscript`."""
    program = build(source, tile=tile, precision=precision, normalise=normalise)
    archive = io.BytesIO()
    notes = source.notes | {"precision": precision, "tile": program.tile, "normalise": normalise}
    extra = {SPEC_FILE: json.dumps(source.spec.to_json()), EXPORT_FILE: json.dumps(notes)}
    with quiet_jit():
        torch.jit.save(program, archive, _extra_files=extra)
    return archive.getvalue()


def build(source: Source, *, tile: int | None, precision: str, normalise: str) -> torch.jit.ScriptModule:
    """The program to be saved, checked. Raises as `export_torchscript`."""
    if precision not in DTYPES:
        raise InputError(f"precision {precision!r} is not one of {', '.join(DTYPES)}; an export holds one of them")
    spec = source.spec
    memory, low, high = read_normalise(normalise)
    size, overlap = tiling(spec, tile)
    options = Options(tile=size, overlap=overlap, bf16=precision == "bf16", memory=memory, low=low, high=high)
    raw = source.module if isinstance(source.module, RawFrames) else None
    network = prepare(copy.deepcopy(raw.network if raw else source.module), device="cpu", precision=precision)
    given = raw.config.inputs if raw else spec.frames
    example: tuple[Tensor, ...] = (channels_last(filaments(given, 32 * spec.multiple).to(DTYPES[precision])),)
    if spec.stochastic:  # seed and origin must not be baked in
        example = (*example, torch.tensor([[40, 60]]), torch.tensor(3), torch.tensor(8))
    frozen = freeze(network, example)
    with quiet_jit():
        # torch.jit.script takes a module that was loaded, but not one that was just frozen
        archive = io.BytesIO()
        torch.jit.save(frozen, archive)
        archive.seek(0)
        loaded = torch.jit.load(archive)  # type: ignore[no-untyped-call]
    plain = SimProgram(loaded, spec, raw.orders, **options) if raw else Program(loaded, spec, **options)
    program = script(plain.eval())
    _check_parity(source, program, precision)
    if unknown := newer_than_2_0(program):
        raise ModelError(f"{spec.name} calls operators that LibTorch 2.0 does not have: {'; '.join(unknown)}")
    return program


def read_normalise(normalise: str) -> tuple[int, float, float]:
    """`frame`, `running` or `LOW,HIGH` as Program's memory, low and high. Raises InputError for anything else."""
    if normalise in ("frame", "running"):
        return (1 if normalise == "frame" else RUNNING_FRAMES), 0.0, 1.0
    try:
        low, high = (float(part) for part in normalise.split(","))
        if low < high < float("inf") and low > -float("inf"):
            return 0, low, high
    except ValueError:
        pass
    raise InputError(
        f"normalise {normalise!r} is not frame, running or two rising counts LOW,HIGH such as 100,2400; what "
        "fluorsr-infer fitted stands in its output's attributes, under fluorsr"
    )


def tiling(spec: RestorerSpec, tile: int | None) -> tuple[int, int]:
    """Tile and overlap of `infer`, in input pixels. Raises InputError with the remedy where the tile does not fit."""
    overlap = default_overlap(spec)
    if tile is None:
        tile = 2 * spec.halo + overlap + max(overlap, DEFAULT_STRIDE // spec.multiple * spec.multiple)
    three = (1, spec.multiple, spec.multiple)
    Grid((1, tile, tile), (1, tile, tile), (0, spec.halo, spec.halo), (0, overlap, overlap), three)
    return tile, overlap


def _check_parity(source: Source, program: torch.jit.ScriptModule, precision: str) -> None:
    spec = source.spec
    # another size and batch than those it was traced with, so that nothing of those was baked in
    tiles = filaments(spec.frames, 48 * spec.multiple)[..., spec.multiple :].repeat(2, 1, 1, 1)
    sample = (torch.tensor([[8, -8], [0, 2]]), 1) if spec.stochastic else ()
    with torch.inference_mode():
        expected, found = source.module(tiles, *sample), program(tiles, *sample)
    worst = float((expected - found).abs().max() / (expected.max() - expected.min()).clamp(min=1e-30))
    if expected.shape != found.shape or not worst <= PARITY[precision]:
        raise ModelError(
            f"{spec.name}: the exported program differs from the model by {worst:.2g} of the range, more than "
            f"{PARITY[precision]}; its forward depends on the input's size or values in a way that tracing does not "
            "keep"
        )
