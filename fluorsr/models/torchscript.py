"""TorchScript files: ours, with their spec inside, or anybody's.

TorchScript runs no Python, but it is a program: see fluorsr.models.trust for what is checked before one runs.
torch deprecates it without a successor for hosts without Python; those warnings are silenced here and nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.errors import ModelError
from fluorsr.models.network import channels_last
from fluorsr.models.trust import check_code, check_operators, check_trusted
from fluorsr.restorer import RestorerSpec

SPEC_FILE = "fluorsr.json"
"""Name, in the archive's extra files, of the spec's JSON."""
EXPORT_FILE = "fluorsr-export.json"
"""Of what fluorsr.export notes: model, precision, tile, normalisation."""
STRIPES = "stripes"
"""Of these, the stripes that a program of raw SIM frames was made for, as their file has them."""


@contextmanager
def quiet_jit() -> Iterator[None]:
    """Silence torch.jit's deprecation warnings, and only those."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


class TorchScriptFile:
    """A TorchScript file, checked and hashed. `spec` is None where fluorsr did not write it; `notes` tell how it did.

    trust   run it though its hash is not on the user's trust list
    Raises ModelError where it is truncated, a pickle, or a zip archive of something else, and where it is not trusted
    or calls what no model needs.
    """

    def __init__(self, path: Path, *, trust: bool = False) -> None:
        self.path = path
        self._payload = path.read_bytes()
        self.sha256 = hashlib.sha256(self._payload).hexdigest()
        try:
            with zipfile.ZipFile(io.BytesIO(self._payload)) as archive:
                _check_members(path, {name.partition("/")[2] for name in archive.namelist()})
                check_code(path, archive)
        except zipfile.BadZipFile as error:
            raise ModelError(f"{path} is truncated or damaged: {error}; copy or download it again") from error
        check_trusted(path, self.sha256, trust=trust)
        self.spec, self.notes = self._read_extra()

    def module(self, *, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
        """A fresh copy of the program, in evaluation mode."""
        return self._load(device, {})

    def cast(self, dtype: torch.dtype, *, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
        """A copy whose weights are of `dtype`, in channels_last order.

        A frozen file has its weights as constants of its graph, which torch's own `.to` leaves alone: they are replaced
        before the graph is first run. Whether the program then still works is for the caller to try.
        """
        module = self._load(device, {}).to(device, dtype)
        for part in module.modules():
            for parameter in part.parameters(recurse=False):
                if parameter.ndim == 4:
                    parameter.data = channels_last(parameter.data)
            for node in _constants(part.graph if hasattr(part, "graph") else None):
                value = node.t("value")
                if value.dtype == torch.float32:
                    value = value.to(dtype)
                    node.t_("value", channels_last(value) if value.ndim == 4 else value)
        return module

    def takes_channels_last(self, spec: RestorerSpec, *, device: str | torch.device = "cpu") -> bool:
        """Whether the program works on input in channels_last order; one that flattens with `view` does not."""
        side = spec.multiple * -(-64 // spec.multiple)
        given = torch.zeros(2, spec.frames, side, side + spec.multiple, device=device)
        try:
            with torch.inference_mode():
                self.module(device=device)(channels_last(given))
        except RuntimeError:
            return False
        return True

    def _load(self, device: str | torch.device, extra: dict[str, Any]) -> torch.jit.ScriptModule:
        try:
            with quiet_jit():
                module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                    io.BytesIO(self._payload), map_location=device, _extra_files=extra
                )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{self.path} cannot be loaded as TorchScript: {reason}") from error
        module.eval()
        return module

    def _read_extra(self) -> tuple[RestorerSpec | None, dict[str, Any]]:
        extra = {SPEC_FILE: "", EXPORT_FILE: ""}
        check_operators(self.path, self._load("cpu", extra))  # on a copy: constants cannot be cast after inlining
        try:
            spec = RestorerSpec.from_json(json.loads(extra[SPEC_FILE])) if extra[SPEC_FILE] else None
            notes = json.loads(extra[EXPORT_FILE] or "{}")
            if not isinstance(notes, dict):
                raise ValueError(f"{EXPORT_FILE} is not a JSON object")
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{self.path}: its {SPEC_FILE} is damaged: {error}; export the model again") from error
        return spec, notes


def _check_members(path: Path, members: set[str]) -> None:
    if not any(name.startswith("code/") for name in members) or "model.json" in members:  # model.json: before 1.4
        what = "a pickle (torch.save), which could run any code" if "data.pkl" in members else "a zip archive"
        raise ModelError(
            f"{path} is {what}, not a model: fluorsr reads TorchScript (torch.jit.save) and its own safetensors"
        )


def freeze(module: nn.Module, example: Tensor | tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """Trace `module` (or take the program it is) and freeze it: weights become constants, dead branches go."""
    with quiet_jit(), torch.no_grad():
        program = module if isinstance(module, torch.jit.ScriptModule) else _trace(module, example)
        frozen: torch.jit.ScriptModule = torch.jit.freeze(program.eval())
    return frozen


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """torch.jit.script, which by itself fails now and then on a sound module.

    torch tells its functions by their id(), in a table that keeps those of functions that are gone: four, once
    torch.ao.quantization is imported, which compilers do. What has got such an address since is taken for a function;
    but whatever cannot be called is none.
    """
    table = torch.jit._builtins._get_builtin_table()  # type: ignore[no-untyped-call]
    for part in module.modules():
        for value in (*vars(part).values(), *vars(type(part)).values()):
            if not callable(value):
                table.pop(id(value), None)
    with quiet_jit():
        program: torch.jit.ScriptModule = torch.jit.script(module)
    return program


def _trace(module: nn.Module, example: Tensor | tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    program: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    return program


def _constants(block: Any) -> Iterator[Any]:
    """Every tensor constant of a TorchScript graph, branches and loops included."""
    for node in block.nodes() if block is not None else ():
        if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t":
            yield node
        for inner in node.blocks():
            yield from _constants(inner)
