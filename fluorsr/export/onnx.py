"""Export a model as ONNX, for ONNX Runtime and the hosts that embed it: the network alone, normalised tiles in and out.

    x [batch, frames, y, x] float32 -> restored [batch, 1, scale * y, scale * x] float32
    a stochastic model also takes origin [batch, 2] int64 and seed, an int64 scalar

Batch, y and x are free; y and x are multiples of the model's `multiple`. The spec and the export's notes stand in the
file's metadata under the same names as in TorchScript's extra files.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from fluorsr.errors import InputError, ModelError, import_extra
from fluorsr.export.example import example_input, free_sizes
from fluorsr.export.source import Sampling, Source, open_source
from fluorsr.models.torchscript import EXPORT_FILE, SPEC_FILE
from fluorsr.models.weights import write_atomically

OPSET = 18


def export_onnx(model: str | Path, path: str | Path, **sampling: Unpack[Sampling]) -> None:
    """Write the shipped model or weights file `model` as ONNX. The file appears whole or not at all.

    Raises what `fluorsr.load` raises, MissingDependencyError without the extra `onnx`, ModelError where the network
    cannot be written down as ONNX, StorageError where the disk refuses.
    """
    write_atomically(Path(path), onnx_bytes(open_source(model, **sampling)))


def onnx_bytes(source: Source) -> bytes:
    """The ONNX file's content. Raises as `export_onnx`."""
    import_extra("onnxscript", "onnx")
    onnx = import_extra("onnx", "onnx")
    given = example_input(source.spec)
    names = ["x", "origin", "seed"][: len(given)]
    try:
        with _quiet():
            program = torch.onnx.export(
                source.module,
                given,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=names,
                output_names=["restored"],
                dynamic_shapes=free_sizes(source.spec),
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"{source.spec.name} cannot be written as ONNX: {reason}") from error
    assert program is not None
    file = program.model_proto
    notes = source.notes | {"precision": "fp32"}
    texts = {SPEC_FILE: json.dumps(source.spec.to_json()), EXPORT_FILE: json.dumps(notes)}
    onnx.helper.set_model_props(file, texts)
    for entry in (*file.graph.node, *(node for function in file.functions for node in function.node)):
        del entry.metadata_props[:]  # where in the source each node came from, with the paths of this machine
        entry.doc_string = ""
    content: bytes = file.SerializeToString()
    return content


class OnnxFile:
    """An exported ONNX file in ONNX Runtime, on the CPU. Raises InputError where it is not one that fluorsr wrote."""

    def __init__(self, content: bytes, name: str) -> None:
        runtime = import_extra("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{name} is not an ONNX model that ONNX Runtime can run: {error}") from error
        texts = self._session.get_modelmeta().custom_metadata_map
        self.notes: dict[str, Any] = json.loads(texts.get(EXPORT_FILE, "{}"))

    def forward(self, *given: Tensor | int) -> Tensor:
        """Run it; a seed may be a plain number."""
        names = [one.name for one in self._session.get_inputs()]
        arrays = [torch.as_tensor(value).numpy() for value in given]
        (restored,) = self._session.run(None, dict(zip(names, arrays, strict=True)))
        return torch.from_numpy(restored)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps, and warns of packages that it could support and of its own past."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
