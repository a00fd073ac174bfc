"""Export a model compiled for this machine's processor: a package of AOTInductor (.aoti.pt2).

The network of torch_export.py as machine code with its weights, for C++ hosts of the same torch version on the same
kind of processor (torch::inductor::AOTIModelPackageLoader): no TorchScript and no Python. It is the opposite of a file
to hand on. Loading one runs native code, which nothing can check: only files on the user's trust list are opened.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from fluorsr.errors import InputError, MissingDependencyError, ModelError
from fluorsr.export.source import Sampling, open_source
from fluorsr.export.torch_export import record
from fluorsr.models.torchscript import EXPORT_FILE, SPEC_FILE
from fluorsr.models.trust import check_trusted, remember
from fluorsr.models.weights import write_atomically

MARK = "/data/aotinductor/"
"""What every member of such an archive has in its name, and none of a torch.export package."""


def export_aoti(model: str | Path, path: str | Path, **sampling: Unpack[Sampling]) -> None:
    """Compile the shipped model or weights file `model`. The file appears whole or not at all, and is trusted.

    Half a minute for an EDSR; minutes for a diffusion model, all of whose steps become code. Raises what `fluorsr.load`
    raises, MissingDependencyError without a C++ compiler, ModelError where the network cannot be compiled, StorageError
    where the disk refuses.
    """
    try:
        _compiler("cpp_builder").get_cpp_compiler()
    except RuntimeError as error:
        raise MissingDependencyError(
            "aoti compiles the network, and no C++ compiler was found; install one (Debian, Ubuntu: apt install g++), "
            "or name it in the environment variable CXX"
        ) from error
    source = open_source(model, **sampling)
    texts = {
        SPEC_FILE: json.dumps(source.spec.to_json()),
        EXPORT_FILE: json.dumps(source.notes | {"precision": "fp32"}),
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, of its own parts
        try:
            with torch.no_grad():
                package = _compiler().aoti_compile_and_package(
                    record(source),
                    package_path=str(Path(folder) / "model.pt2"),
                    inductor_configs={"aot_inductor.metadata": texts},
                )
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{source.spec.name} cannot be compiled by AOTInductor: {reason}") from error
        content = Path(package).read_bytes()
    write_atomically(Path(path), content)
    remember(Path(path), hashlib.sha256(content).hexdigest())


def is_aoti(path: Path) -> bool:
    """Whether a .pt2 holds machine code."""
    return zipfile.is_zipfile(path) and any(MARK in name for name in zipfile.ZipFile(path).namelist())


class AotiFile:
    """A compiled package on the CPU. Raises ModelError where it is not trusted, InputError where it does not load."""

    def __init__(self, path: Path) -> None:
        check_trusted(path, hashlib.sha256(path.read_bytes()).hexdigest(), trust=False, kind="machine code")
        try:
            self._program = _compiler().aoti_load_package(str(path), run_single_threaded=True)
        except RuntimeError as error:
            raise InputError(f"{path} does not load here; compile it on this machine: {error}") from error
        self.notes: dict[str, Any] = json.loads(self._program.get_metadata().get(EXPORT_FILE, "{}"))

    def forward(self, *given: Tensor | int) -> Tensor:
        """Run it; a seed may be a plain number."""
        restored: Tensor = self._program(*(torch.as_tensor(value) for value in given))
        return restored


def _compiler(part: str = "") -> Any:
    """torch's compiler takes a second to import, for which no other verb should wait."""
    return importlib.import_module(f"torch._inductor.{part}".rstrip("."))
