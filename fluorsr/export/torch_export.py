"""Export a model as a torch.export package (.pt2): the portable source that torch itself goes on with.

TorchScript is deprecated upstream. A .pt2 is the same network as a graph of core operators with its weights, from which
later torch versions can compile (AOTInductor) or translate; it needs Python or a compiler to run. The network alone is
in it: normalised tiles in, restored tiles out, sizes free as in the ONNX file.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Unpack

import torch
from torch.export import ExportedProgram

from fluorsr.errors import InputError, ModelError
from fluorsr.export.example import example_input, free_sizes
from fluorsr.export.source import Sampling, Source, open_source
from fluorsr.models.torchscript import EXPORT_FILE, SPEC_FILE
from fluorsr.models.weights import write_atomically


def export_torch(model: str | Path, path: str | Path, **sampling: Unpack[Sampling]) -> None:
    """Write the shipped model or weights file `model` as .pt2. The file appears whole or not at all.

    Raises what `fluorsr.load` raises, ModelError where the network cannot be recorded, StorageError where the disk
    refuses.
    """
    write_atomically(Path(path), torch_export_bytes(open_source(model, **sampling)))


def torch_export_bytes(source: Source) -> bytes:
    """The package's content. Raises ModelError where the network cannot be recorded."""
    program = record(source)
    archive = io.BytesIO()
    notes = source.notes | {"precision": "fp32"}
    texts = {SPEC_FILE: json.dumps(source.spec.to_json()), EXPORT_FILE: json.dumps(notes)}
    torch.export.save(program, archive, extra_files=texts)
    return archive.getvalue()


def record(source: Source) -> ExportedProgram:
    """The network as a graph, its sizes free. Raises ModelError where it cannot be recorded."""
    try:
        return torch.export.export(source.module, example_input(source.spec), dynamic_shapes=free_sizes(source.spec))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source.spec.name} cannot be recorded by torch.export: {reason}") from error


def load_torch(path: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The module of a .pt2 and fluorsr's notes in it. Raises InputError where it is not one."""
    texts = {EXPORT_FILE: "{}"}
    try:
        program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=texts)
    except Exception as error:
        raise InputError(f"{path} is not a torch.export package that this torch can read: {error}") from error
    return program.module(), json.loads(texts[EXPORT_FILE] or "{}")
