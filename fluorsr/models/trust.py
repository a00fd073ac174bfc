"""Which TorchScript files may run. Such a file is a program: in `forward`, and while it is loaded, it could read and
overwrite files.

Two checks, both before anything of it is run:

    the archive's code calls only names in allowed_operators.txt -> its SHA-256 is trusted, or the user says so
                                                                 -> load -> its operators once more

This is a seat-belt, not a sandbox: the operators that are allowed are C++ that was not written to withstand hostile
arguments, and a program can still take all memory and time. Files of fluorsr's own weights (safetensors) cannot run
code. A spec inside a TorchScript file proves nothing, since anybody can put one there: `fluorsr export` therefore adds
what it writes to the trust list, and nothing else is trusted by itself.
"""

from __future__ import annotations

import ast
import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

from fluorsr.errors import ModelError, StorageError
from fluorsr.models.operators import operators

LARGEST_CODE = 64 * 2**20  # bytes of code, names and debug tables together, unpacked


def check_code(path: Path, archive: zipfile.ZipFile) -> None:
    """Check everything that an archive's code calls, before it is loaded. Raises ModelError with the first fault."""
    members = archive.infolist()
    packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED or "/code/" in m.filename]
    if sum(m.file_size for m in packed) > LARGEST_CODE:
        size = sum(m.file_size for m in packed) / 2**20
        raise ModelError(f"{path} would unpack to {size:.0f} MiB of code; at most {LARGEST_CODE >> 20} MiB are allowed")
    for member in members:
        _, _, name = member.filename.partition("/")
        if name.startswith("code/") and name.endswith(".py"):
            try:
                tree = ast.parse(archive.read(member))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise ModelError(f"{path}: its code {name} cannot be read, so it is not run: {error}") from error
            for called in _names(tree):
                _check(path, called)


def check_operators(path: Path, program: torch.jit.ScriptModule) -> None:
    """Check the operators that a loaded program resolved to. Raises ModelError with the first that is not allowed."""
    for kind in operators(program).values():
        _check(path, kind)


def check_trusted(path: Path, sha256: str, *, trust: bool, kind: str = "TorchScript") -> None:
    """Raises ModelError where the user has neither said `trust` nor has the hash in the trust list."""
    if not trust and sha256 not in _trusted():
        raise ModelError(
            f"{path} is {kind}, a program that could do more than restore images, and not on your trust list; "
            "if you know where it comes from, use --trust (trust=True), or trust it for good: "
            f"sha256sum {path} >> {trust_list()}"
        )


def remember(path: Path, sha256: str) -> None:
    """Add a file to the user's trust list. Raises StorageError where that cannot be written."""
    if sha256 in _trusted():
        return
    place = trust_list()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8") as file:
            file.write(f"{sha256}  {path.name}\n")
    except OSError as error:
        raise StorageError(
            f"cannot write the trust list {place}: {error.strerror or error}; set FLUORSR_TRUST"
        ) from error


def trust_list() -> Path:
    """$FLUORSR_TRUST, or fluorsr/trusted in the user's configuration: lines as sha256sum prints them."""
    if place := os.environ.get("FLUORSR_TRUST"):
        return Path(place)
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "fluorsr" / "trusted"


def _trusted() -> set[str]:
    try:
        lines = trust_list().read_text("utf-8").splitlines()
    except OSError:
        return set()
    return {line.split()[0].lower() for line in lines if line.strip()}


def _check(path: Path, kind: str) -> None:
    namespace, _, name = kind.rpartition("::")
    plain = name.rstrip("_") if not name.startswith("__") else name
    allowed = _allowed().get(namespace, set())
    if name not in allowed and plain not in allowed:
        raise ModelError(
            f"{path} calls {kind}, which no model of images needs and fluorsr does not run: it may reach files, the "
            "network or other code"
        )


def _names(tree: ast.AST) -> Iterator[str]:
    """All that serialised TorchScript calls or could call, as operators: `torch.relu(x)` is aten::relu.

    `ops.NAMESPACE.NAME` is any operator; attributes and methods of a value, and names in strings (getattr takes them),
    become one only where torch has such an operator.
    """
    every = list(ast.walk(tree))
    inner = {id(node.value) for node in every if isinstance(node, ast.Attribute)}
    own = {node.arg for node in every if isinstance(node, ast.arg)}
    own |= {node.id for node in every if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in every:
        match node:
            case ast.Name(id="ops" | "torch" as name) if id(node) not in inner:
                yield name  # under another name its operators could not be told
            case ast.Attribute(ast.Name("ops"), name) if id(node) not in inner:
                yield f"ops.{name}"
            case ast.Attribute(ast.Attribute(ast.Name("ops"), namespace), name):
                yield f"{namespace}::{name}"
            case ast.Attribute(ast.Name("torch"), name):
                yield f"aten::{name}"
            case ast.Attribute(_, name) | ast.Constant(str() as name) if name in _operator_names():
                yield f"aten::{name}"
            case ast.Call(ast.Name(name)) if name not in own:
                yield name


@cache
def _operator_names() -> frozenset[str]:
    """The names that a method of a value may resolve to: torch's own operators."""
    names = (schema.name for schema in torch._C._jit_get_all_schemas())
    return frozenset(name.removeprefix("aten::") for name in names if name.startswith("aten::")) - _allowed()["prim"]


@cache
def _allowed() -> dict[str, set[str]]:
    """Namespace -> operators; "" is Python's own functions."""
    sections: dict[str, set[str]] = {}
    for line in Path(__file__).with_name("allowed_operators.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), set())
        elif line and not line.startswith("#"):
            section.update(line.split())
    return sections
