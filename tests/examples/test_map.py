"""ARCHITECTURE.md is the map: every module is on it, and everything on it exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"[\w.-]+\.(?:py|pyi|hpp|h|cpp|sh|txt)$")


def files_on_the_map() -> set[str]:
    """Paths named in the section Rooms: folders at four spaces, their files at six, before two spaces and a remark."""
    section = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Rooms")[1].split("\n## ")[0]
    folder, found = "", set()
    for line in section.splitlines():
        if line.startswith("      "):
            for word in line.split():
                if not FILE.fullmatch(word):
                    break  # the remark begins
                found.add(folder + word)
        elif line.startswith("    "):
            folder = line.split()[0]
    return found


def test_everything_on_the_map_exists() -> None:
    named = files_on_the_map()
    assert len(named) > 60
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []


def test_every_module_is_on_the_map() -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "fluorsr").rglob("*.py") if path.name != "__init__.py"}
    headers = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc" / "core").glob("*.hpp")}
    assert sorted((modules | headers) - files_on_the_map()) == []
