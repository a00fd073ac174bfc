"""The images and values that the metrics are held against; tools/reference says how the values were obtained."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tools/reference/images.py."""
    spec = importlib.util.spec_from_file_location("reference_images", ROOT / "tools" / "reference" / "images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def values() -> dict[str, Any]:
    """What cubic, nanopyx and lpips say of those images."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "reference" / "values.json").read_text("utf-8"))
    return found
