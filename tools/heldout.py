"""Held-out figures of a model: python tools/heldout.py [--model NAME|FILE] [--fields 8] [--out FOLDER] [--ship FOLDER]

What `fluorsr compare` does, on simulated fields of seeds that no recipe can hold: each structure at three light levels,
and microtubules that are all in focus. Writes heldout.md, heldout.json, and the comparison's own files;
--ship also saves the model with these figures in its notes, as the zoo holds it.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from fluorsr.data.simulate import SimulationConfig
from fluorsr.evaluate.cases import TEST_SEED, TUNING_SEED, CaseSet, Source, simulated_case
from fluorsr.evaluate.compare import compare
from fluorsr.evaluate.results import Comparison
from fluorsr.evaluate.tables import claim, to_markdown, write_tables
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.weights import read_card, read_weights, save_weights
from fluorsr.models.zoo_index import find, zoo

LIGHT = {"bright": 400.0, "medium": 100.0, "dim": 30.0}
FWHM_UM = 0.25


def sources(config: SimulationConfig, structure: str, group: str, seed: int, count: int) -> tuple[Source, ...]:
    names = [f"{group} {index}" for index in range(count)]
    return tuple(
        Source(name, group, partial(simulated_case, config, seed, index, structure, group, name))
        for index, name in enumerate(names)
    )


def table(found: Comparison) -> dict[str, dict[str, dict[str, float]]]:
    """Group -> method -> metric -> mean."""
    return {
        group: {
            method.name: {m.name: found.summary(group, method.name, m.name).mean for m in found.metrics}
            for method in found.methods
        }
        for group in found.groups[1:]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="edsr-confocal-sted-x2")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--fields", type=int, default=8, help="per structure and light level")
    parser.add_argument("--size", type=int, default=256, help="input pixels of a field")
    parser.add_argument("--out", type=Path, default=Path("heldout"))
    parser.add_argument("--ship", type=Path, help="folder for the weights with their figures; needs a .safetensors")
    arguments = parser.parse_args()
    tune_allocator()
    spec = read_card(find(arguments.model) if arguments.model in zoo() else Path(arguments.model)).spec
    pixel_um = spec.pixel_size_um or 0.06
    base = SimulationConfig(size_px=arguments.size, pixel_size_um=(pixel_um, pixel_um), density=(1.0, 2.0))
    flat: dict[str, object] = {"thickness": (0.0, 0.0), "focus_um": (0.0, 0.0), "haze": (0.0, 0.0)}
    groups = [("microtubules", f"microtubules in focus, {light}", flat, light) for light in LIGHT]
    groups += [(s, f"{s}, {light}", {}, light) for s in base.structures for light in LIGHT]
    tests: tuple[Source, ...] = ()
    tuning: tuple[Source, ...] = ()
    for structure, group, changes, light in groups:
        config = base.model_copy(update={**changes, "photons": (LIGHT[light], LIGHT[light])})
        tests += sources(config, structure, group, TEST_SEED, arguments.fields)
        tuning += sources(config, structure, group, TUNING_SEED, max(2, arguments.fields // 3))
    claim(arguments.out, overwrite=True)
    found = compare(
        CaseSet("held-out fields", tests, tuning),
        [arguments.model],
        spot_um=FWHM_UM,
        precision=arguments.precision,
        progress=lambda what, done, total: print(f"{done} of {total} {what}", flush=True),
    )
    write_tables(found, arguments.out)
    print(to_markdown(found))
    (arguments.out / "heldout.md").write_text(to_markdown(found), encoding="utf-8")
    (arguments.out / "heldout.json").write_text(json.dumps(table(found), indent=1) + "\n", encoding="utf-8")
    if arguments.ship:
        weights = read_weights(arguments.model)
        network = build(weights.architecture, weights.config)
        network.load_state_dict(weights.state)
        save_weights(
            arguments.ship / f"{weights.spec.name}.safetensors",
            network,
            architecture=weights.architecture,
            config=weights.config,
            spec=weights.spec,
            notes={**weights.notes, "heldout": table(found)},
        )


if __name__ == "__main__":
    main()
