"""What a run leaves to read: metrics.jsonl, recipe.yaml, environment.json, and a TensorBoard log where it is installed.

One line of metrics.jsonl is one JSON object; figures that are not finite are null. A resumed run drops the lines after
its checkpoint, so that every step stands there once.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from fluorsr.errors import StorageError
from fluorsr.models.weights import write_atomically

METRICS, RECIPE, ENVIRONMENT = "metrics.jsonl", "recipe.yaml", "environment.json"


class MetricsLog:
    """Appends lines to metrics.jsonl, and to TensorBoard's file where the package tensorboard is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        """`step`: of the checkpoint that the run goes on from, 0 for a new one."""
        self.path = folder / METRICS
        self.lines = [line for line in read_metrics(self.path) if line["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in self.lines).encode())
        self._board: Any = None
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __call__(self, line: dict[str, Any]) -> None:
        """Append one line; it has a "step". Raises StorageError where the disk refuses."""
        kept = {name: _rounded(value) for name, value in line.items()}
        self.lines.append(kept)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
            if self._board is not None:
                for name, value in kept.items():
                    if name != "step" and value is not None:
                        self._board.add_scalar(name, value, kept["step"])
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}; free some space") from error

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def make_folder(folder: Path) -> None:
    """Make a folder where there is none. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last one that a crash cut short is left out. None where there is no file."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                lines.append(json.loads(text))
    return lines


def write_facts(folder: Path, recipe: dict[str, Any], accelerator: Accelerator) -> None:
    """Write the resolved recipe, and what it runs on. Raises StorageError."""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(folder / RECIPE, text.encode())
    packages = ("fluorsr", "torch", "accelerate", "numpy")
    facts = {
        "command": sys.argv,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name(accelerator.device)
        if accelerator.device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "packages": {name: metadata.version(name) for name in packages},
    }
    write_atomically(folder / ENVIRONMENT, (json.dumps(facts, indent=1) + "\n").encode())


def _rounded(value: Any) -> Any:
    """Six significant digits; None for what JSON cannot say."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
