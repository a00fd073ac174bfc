"""`--set KEY=VALUE`, which several verbs take."""

from __future__ import annotations

import yaml

from fluorsr.errors import InputError


def parse_settings(words: list[str] | None) -> dict[str, object]:
    """`photons=[20, 100]` and the like -> name -> value, read as YAML. Raises InputError where one is not like that."""
    return dict(_parse(text) for text in words or [])


def _parse(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--set takes KEY=VALUE, not {text!r}; for example --set batch=8")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {text}: the value is not YAML: {error}") from error
