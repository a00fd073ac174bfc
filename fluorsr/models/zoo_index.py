"""The models that ship with fluorsr: weights files in fluorsr/models/zoo, found by name."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from fluorsr.errors import NotFoundError
from fluorsr.models.weights import Card, read_card


def zoo() -> dict[str, Path]:
    """Name -> weights file of every shipped model, by name."""
    folder = Path(str(resources.files("fluorsr.models"))) / "zoo"
    return dict(sorted((path.stem, path) for path in folder.glob("*.safetensors")))


def describe(name: str) -> Card:
    """What a shipped model says of itself: architecture, configuration, spec and notes (recipe, held-out figures).

    Raises NotFoundError where there is no such model.
    """
    return read_card(find(name))


def card_text(name: str) -> str | None:
    """A shipped model's card, Markdown; None where `name` is none or has none."""
    weights = zoo().get(name)
    card = weights.with_suffix(".md") if weights else None
    return card.read_text("utf-8") if card and card.is_file() else None


def find(name: str) -> Path:
    """The weights file of a shipped model. Raises NotFoundError that lists the names, the closest first."""
    models = zoo()
    if name not in models:
        close = difflib.get_close_matches(name, models, n=len(models) or 1, cutoff=0.0)
        known = (
            f"the shipped models are {', '.join(close)}" if close else "no models are shipped with this installation"
        )
        raise NotFoundError(f"there is no model and no file named {name!r}; {known}")
    return models[name]
