"""Export a model as TorchScript: one file that any host with LibTorch can run, with no fluorsr installed.

`forward` maps [B, frames, Y, X] float32, normalised, to [B, 1, scale * Y, scale * X] float32. The spec travels as JSON
in the archive's extra file `fluorsr.json`. The file is frozen: weights are constants of the graph.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch

from fluorsr.errors import ModelError
from fluorsr.models.load import load_module
from fluorsr.models.precision import filaments
from fluorsr.models.torchscript import SPEC_FILE, freeze, quiet_jit
from fluorsr.models.weights import write_atomically

PARITY = 1e-5


def export_torchscript(model: str | Path, path: str | Path) -> None:
    """Write the shipped model or weights file `model` as TorchScript. The file appears whole or not at all.

    Raises NotFoundError and ModelError as `fluorsr.load` does, ModelError where the exported program differs from the
    model by more than 1e-5 of the output's range, StorageError where the disk refuses.
    """
    module, spec = load_module(model)
    side = 32 * spec.multiple
    program = freeze(module, filaments(spec.frames, side))
    archive = io.BytesIO()
    with quiet_jit():
        torch.jit.save(program, archive, _extra_files={SPEC_FILE: json.dumps(spec.to_json())})
    # another size and batch than the one it was traced with, so that nothing of those was baked in
    tiles = filaments(spec.frames, side + 16 * spec.multiple)[..., spec.multiple :].repeat(2, 1, 1, 1)
    with torch.inference_mode():
        expected, found = module(tiles), program(tiles)
    worst = float((expected - found).abs().max() / (expected.max() - expected.min()).clamp(min=1e-30))
    if expected.shape != found.shape or worst > PARITY:
        raise ModelError(
            f"{spec.name}: the exported program differs from the model by {worst:.2g} of the range, more than "
            f"{PARITY}; its forward depends on the input's size or values in a way that tracing does not keep"
        )
    write_atomically(Path(path), archive.getvalue())
