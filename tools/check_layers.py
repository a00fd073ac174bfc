"""Check that imports inside the package go the way the design says: down or sideways, never up, never in a circle.

    python tools/check_layers.py [ROOT]        ROOT holds the folder `fluorsr`; by default this repository

Reads every file with `ast`, so nothing is imported and an import inside a function or under TYPE_CHECKING counts like
any other. Exits 1 after printing one line a fault: file:line, what is wrong, what to do. The package root
`fluorsr/__init__.py` alone is exempt: it offers the public names, and nothing inside may lean on it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

PACKAGE = "fluorsr"
CORE = "fluorsr._core"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "image", "restorer", "_core"),
    ("optics", "tiling", "io", "normalize"),
    ("models", "metrics", "classical"),
    ("data", "losses", "predict"),
    ("train", "pipeline", "evaluate", "export", "acquire"),
    ("report",),
    ("cli", "__main__"),
)
"""Modules and folders right under the package, lowest layer first. A layer may import itself and those before it."""

LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


@dataclass(frozen=True)
class Import:
    """One import of the package's own: `source` imports `target` (dotted names) in line `line` of `path`."""

    source: str
    target: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def check(root: Path) -> list[str]:
    """Every fault of `root`/fluorsr as one line of text; an empty list where all is well."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    modules = {module_name(path.relative_to(root)): path for path in files}
    faults: list[str] = []
    imports: list[Import] = []
    for module, path in modules.items():
        if module == PACKAGE:
            continue
        shown = path.relative_to(root)
        if module.split(".")[1] not in LAYER_OF:
            faults.append(f"{shown}:1: {module} is in no layer; give it a place in LAYERS of tools/check_layers.py")
            continue
        for found in read_imports(module, path, shown, set(modules)):
            fault = fault_of(found)
            if fault:
                faults.append(f"{found}: {fault}")
            else:
                imports.append(found)
    return faults + circles(imports)


def module_name(path: Path) -> str:
    """`fluorsr/io/open.py` is fluorsr.io.open, `fluorsr/io/__init__.py` is fluorsr.io."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(module: str, path: Path, shown: Path, modules: set[str]) -> Iterator[Import]:
    """Every import of the package's own in one file; a relative one has a target that begins with a dot."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            continue
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            targets = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from a.b import c` imports the module a.b.c where there is one, else a name of a.b. From the root
            # only the compiled core may be imported so: of other names, such as `infer`, the root has its own.
            inner = [f"{node.module}.{name.name}" for name in node.names]
            known = {CORE} if node.module == PACKAGE else modules
            targets = [name if name in known else node.module for name in inner]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                targets = [node.args[0].value]
        for target in dict.fromkeys(targets):
            if target.startswith(".") or target.split(".")[0] == PACKAGE:
                yield Import(module, target, shown, node.lineno)


def fault_of(found: Import) -> str:
    """What is wrong with one import by itself; empty where nothing is."""
    if found.target.startswith("."):
        return f"a relative import; write it in full, from {PACKAGE}. ..."
    if found.target == PACKAGE:
        return f"imports from the package root; import the module that defines the name, such as {PACKAGE}.errors"
    source, target = found.source.split(".")[1], found.target.split(".")[1]
    if target not in LAYER_OF:
        return f"{found.target} is in no layer; give it a place in LAYERS of tools/check_layers.py"
    if LAYER_OF[target] > LAYER_OF[source]:
        return (
            f"{found.source} imports {found.target}, which lies above it ({' '.join(LAYERS[LAYER_OF[target]])} above "
            f"{' '.join(LAYERS[LAYER_OF[source]])}); move what both need down, or pass it in as an argument"
        )
    return ""


def circles(imports: list[Import]) -> list[str]:
    """One line for each circle of imports, found one after the other by leaving out the import that closes it."""
    faults = []
    edges = {(found.source, found.target): found for found in reversed(imports) if found.source != found.target}
    while True:
        graph: dict[str, set[str]] = {}
        for source, target in edges:
            graph.setdefault(source, set()).add(target)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))  # as found, each module imports the one before it
            steps = list(pairwise(circle))
            where = ", ".join(f"{edges[step]} ({step[0]})" for step in steps)
            faults.append(
                f"{edges[steps[0]]}: a circle of imports, {' -> '.join(circle)}, closed at {where}; "
                "move what they share into a module of its own"
            )
            del edges[steps[0]]
        else:
            return faults


def main(arguments: list[str]) -> int:
    """Print the faults of the repository named by the first argument; the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    if not (root / PACKAGE).is_dir():
        print(f"{root} holds no folder {PACKAGE}; name the repository's root", file=sys.stderr)
        return 2
    faults = check(root)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
