"""The page is whole, bounded, and safe whatever the names in it; read back with the standard library's parser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fluorsr.errors import StorageError
from fluorsr.report.html_page import (
    MOST_ROWS,
    Card,
    Cell,
    Chart,
    Column,
    Field,
    Page,
    Shown,
    Table,
    number,
    render,
    text,
    write_page,
)

EVIL = """</script><script>pwned=1</script><img src=x onerror="pwned=1">'"`{{7*7}}&lt;<!--"""


class Tags(HTMLParser):
    """Every tag with its attributes, and the text inside scripts, styles and everything else."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.setdefault(tag, []).append("")
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open[-1]][-1] += data


def page_of(name: str) -> Page:
    """A page with `name` wherever a name can stand."""
    shown = Shown(name, np.arange(12.0).reshape(3, 4), 0.1, "#000000", name)
    chart = Chart(name, b"<svg xmlns='http://www.w3.org/2000/svg'/>", name)
    return Page(
        kind=name,
        title=name,
        summary=[name],
        warnings=[name],
        tables=[
            Table(name, [Column(name, "text", hint=name), Column("n")], [[text(name), number(1.0, note=name)]], name),
            Table(name, [Column(name, "text")], [[Cell(name, name)]], folded=True),
        ],
        charts=[chart],
        fields=[Field(name, [shown], name, 0, 0, None, (0, 1), (0, 0, 1, 1), remark=name, charts=[chart])],
        cards=[Card(name, [(name, name)], name)],
        facts=[(name, name)],
    )


def test_names_cannot_become_markup_or_script() -> None:
    harmless, evil = Tags(render(page_of("name"))), Tags(render(page_of(EVIL)))
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in harmless.tags]
    assert not [a for _, attributes in evil.tags for a in attributes if a.startswith("on")]
    data, script = evil.inside["script"]
    assert json.loads(data)[0]["images"][0]["name"] == EVIL
    assert script == harmless.inside["script"][1]


def test_the_policy_names_the_one_script_and_style() -> None:
    found = Tags(render(page_of("name")))
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    for kind, content in (("script", found.inside["script"][1]), ("style", found.inside["style"][0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_elsewhere() -> None:
    found = Tags(render(page_of("name")))
    addresses = [a[key] or "" for _, a in found.tags for key in ("src", "href") if key in a]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\(|@import", found.inside["style"][0])
    assert not [a for _, a in found.tags if "style" in a]  # the policy would drop them


def test_a_page_is_the_same_each_time() -> None:
    assert render(page_of("name")) == render(page_of("name"))


@pytest.mark.parametrize(
    ("value", "shown", "key"),
    [
        (1.25, "1.250", "1.25"),
        (-2.0, "\N{MINUS SIGN}2.000", "-2.0"),
        (math.nan, "\N{EN DASH}", ""),
        (None, "\N{EN DASH}", ""),
        (math.inf, "∞", "Infinity"),
        (-math.inf, "\N{MINUS SIGN}∞", "-Infinity"),
    ],
)
def test_numbers_in_cells(value: float | None, shown: str, key: str) -> None:
    cell = number(value)
    assert (cell.text, cell.key) == (shown, key)


def test_long_tables_are_cut_and_say_so() -> None:
    table = Table("all", [Column("n")], [[number(float(i), 0)] for i in range(MOST_ROWS + 7)])
    page = render(Page("kind", "title", [], tables=[table]))
    assert page.count("<td ") == MOST_ROWS
    assert "7 more rows are in the files beside this page." in page


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        write_page(page_of("name"), tmp_path / "none" / "report.html")
