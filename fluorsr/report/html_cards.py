"""Cards for a page: what a model's own file says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fluorsr.errors import FluorsrError
from fluorsr.models.weights import Card as WeightsCard
from fluorsr.models.weights import read_card
from fluorsr.models.zoo_index import zoo
from fluorsr.report.html_page import Card
from fluorsr.restorer import RestorerSpec


def model_card(card: WeightsCard, title: str) -> Card:
    """The card of a weights file: its spec as facts, the rest as text."""
    return Card(title, spec_facts(card.spec), card_text(card))


def spec_facts(spec: RestorerSpec) -> list[tuple[str, str]]:
    """A spec in words."""
    return given(
        {
            "Name": spec.name,
            "Modality": spec.modality,
            "Structures": ", ".join(spec.structures),
            "Trained at": "" if spec.pixel_size_um is None else f"{spec.pixel_size_um * 1000:g} nm pixels",
            "Scale": str(spec.scale),
            "Raw frames": str(spec.frames) if spec.frames > 1 else "",
            "Halo": f"{spec.halo} px" if spec.exact else f"{spec.halo} px, not exact",
            "Draws samples": "yes" if spec.stochastic else "",
        }
    )


def find_card(model: str) -> WeightsCard | None:
    """The card of a shipped model's name or of a file; None where that is no (longer a) weights file of fluorsr's."""
    path = zoo().get(model, Path(model or "-"))
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        return read_card(path)
    except FluorsrError:
        return None


def card_text(card: WeightsCard) -> str:
    """A weights file's card as YAML."""
    content = {
        "architecture": card.architecture,
        "config": card.config,
        "spec": card.spec.to_json(),
        "notes": card.notes,
    }
    return to_yaml(content)


def to_yaml(content: Any) -> str:
    """Plain values as YAML, in their order."""
    return yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=100)


def given(facts: dict[str, str]) -> list[tuple[str, str]]:
    """The facts that are known."""
    return [(name, value) for name, value in facts.items() if value]


def _plain(value: Any) -> Any:
    """Tuples as lists: YAML has no tuples."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
