"""`fluorsr models`: which models and classical methods there are, and what each says of itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fluorsr.classical.registry import METHODS, Method
from fluorsr.metrics.registry import METRICS
from fluorsr.models.weights import Card
from fluorsr.models.zoo_index import describe, zoo


def models(
    name: Annotated[
        str | None, typer.Argument(help="A shipped model or classical method; without it, all are listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models, or show all that one says of itself: what for, at which pixel size, its figures."""
    if name in METHODS:
        _show_method(name, METHODS[name], as_json=as_json)
        return
    cards = {known: describe(known) for known in ([name] if name else zoo())}
    if as_json:
        print(json.dumps({known: _as_json(card) for known, card in cards.items()}))
    elif name:
        _print_card(Console(), cards[name])
    else:
        _print_list(Console(), cards)


def _as_json(card: Card) -> dict[str, Any]:
    return {
        "architecture": card.architecture,
        "config": card.config,
        "spec": card.spec.to_json(),
        "notes": card.notes,
    }


def _print_list(console: Console, cards: dict[str, Card]) -> None:
    for known, card in cards.items():
        spec = card.spec
        pixels = f"pixels of {1000 * spec.pixel_size_um:.0f} nm" if spec.pixel_size_um else "pixels of any size"
        console.print(f"[bold]{known}[/]  {spec.scale}x, {pixels}", highlight=False)
        for line in (spec.modality, f"trained on {', '.join(spec.structures)}", f"held-out fields: {_figures(card)}"):
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))
    console.print(f"classical methods, with options: {', '.join(METHODS)}", highlight=False, soft_wrap=True)


def _figures(card: Card) -> str:
    """Means over all the groups of its held-out fields, beside bicubic interpolation's."""
    heldout: dict[str, dict[str, dict[str, float]]] = card.notes.get("heldout", {})
    lines = []
    for method in next(iter(heldout.values()), {}):
        if method == "bicubic" or method.startswith(card.spec.name):
            means = [
                f"{METRICS[name].mean([group[method][name] for group in heldout.values()]):.{METRICS[name].digits}f}"
                for name in ("psnr", "frc")
            ]
            which = method.removeprefix(card.spec.name).removeprefix(", ")
            lines.append(f"{which} {' dB, '.join(means)} nm".lstrip())
    return "; ".join(reversed(lines))


def _show_method(name: str, method: type[Method], *, as_json: bool) -> None:
    options = {option: field.default for option, field in method.model_fields.items()}
    if as_json:
        print(json.dumps({name: options}))
        return
    console = Console()
    console.print(f"[bold]{name}[/]  {method.__doc__}", highlight=False)
    console.print("Options, as they are unless changed with --set:", highlight=False)
    for option, value in options.items():
        console.print(f"    {option}={'' if value is None else value}", highlight=False)


def _print_card(console: Console, card: Card) -> None:
    table = Table(show_header=False, box=None, padding=(0, 1))
    for what, value in {**card.spec.to_json(), "architecture": card.architecture, **card.config}.items():
        table.add_row(f"[bold]{what}[/]", str(value))
    for what, value in card.notes.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=1)
        table.add_row(f"[bold]{what}[/]", text)
    console.print(table, highlight=False)
