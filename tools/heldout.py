"""Held-out figures of a model: python tools/heldout.py [--model NAME|FILE] [--fields 8] [--out FOLDER] [--ship FOLDER]

Simulated fields of seeds that no recipe can hold, each structure at three light levels, against bicubic interpolation
and Richardson-Lucy. The iterations of Richardson-Lucy are those that score best (PSNR) on other fields of the same
structure and light: it is given every advantage. Writes heldout.md and heldout.json;
--ship also saves the model with these figures in its notes, as the zoo holds it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.data.simulate import SimulationConfig, simulate_pair
from fluorsr.evaluate.fields import Case, evaluate, to_markdown
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.load import load
from fluorsr.models.weights import read_weights, save_weights
from fluorsr.restorer import Restorer

TEST_SEED, TUNING_SEED = 2**32, 2**32 + 1
"""Recipes have seeds below 2**31, their validation has 2**31."""
LIGHT = {"bright": 400.0, "medium": 100.0, "dim": 30.0}
ITERATIONS = (4, 8, 15, 30, 60, 120)
FWHM_UM = 0.27


def cases(config: SimulationConfig, structure: str, group: str, seed: int, count: int) -> list[Case]:
    fields = (simulate_pair(config, seed, index, structure) for index in range(count))
    return [Case(group, f.degraded, f.target, f.target_pixel_size_um) for f in fields]


def best_richardson_lucy(tuning: list[Case], pixel_size_um: float) -> RichardsonLucy:
    """The one with the highest mean PSNR on fields that are not tested on."""
    best, highest = None, -math.inf
    for iterations in ITERATIONS:
        candidate = RichardsonLucy(FWHM_UM / pixel_size_um, iterations, max_halo=16)
        psnr = evaluate({"": candidate}, tuning)[tuning[0].group][""]["psnr"]
        if psnr < highest:
            break
        best, highest = candidate, psnr
    assert best is not None
    return best


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
    model: Restorer = load(arguments.model, precision=arguments.precision)
    pixel = model.spec.pixel_size_um or 0.06
    base = SimulationConfig(size_px=arguments.size, pixel_size_um=pixel, density=(1.0, 3.0))
    flat: dict[str, object] = {"depth": 0.0, "haze": (0.0, 0.0)}
    groups = [("microtubules", f"microtubules in focus, {light}", flat, light) for light in LIGHT]
    # Nuclei are rare: at less than this some fields would be empty.
    full: dict[str, dict[str, object]] = {"nuclei": {"density": (2.5, 3.0)}}
    groups += [(s, f"{s}, {light}", full.get(s, {}), light) for s in base.structures for light in LIGHT]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for structure, group, changes, light in groups:
        config = base.model_copy(update={**changes, "photons": (LIGHT[light], LIGHT[light])})
        lucy = best_richardson_lucy(cases(config, structure, group, TUNING_SEED, max(2, arguments.fields // 3)), pixel)
        methods: dict[str, Restorer] = {"bicubic": Bicubic(), f"Richardson-Lucy ({lucy.iterations})": lucy}
        methods[model.spec.name] = model
        table |= evaluate(methods, cases(config, structure, group, TEST_SEED, arguments.fields))
        print(to_markdown({group: table[group]}).split("\n", 2)[2], end="", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "heldout.md").write_text(to_markdown(table), encoding="utf-8")
    (arguments.out / "heldout.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
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
            notes={**weights.notes, "heldout": table},
        )


if __name__ == "__main__":
    main()
