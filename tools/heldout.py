r"""Held-out figures of the shipped models: python tools/heldout.py [MODEL ...] [--fields 2] [--docs FILE] [--ship]

What `fluorsr compare` does, on simulated fields of seeds that no recipe can hold: each structure at three light
levels, microtubules that are all in focus, and evenly labelled ones, without the grain of single labels.
A model that samples is judged by one sample and by the mean of 8. Writes heldout.json and the comparison's own files;
--docs writes the table as a page, --ship puts each model's figures into its file and its card in the zoo.

    spectrum    |'''''''\__ input        new band: finer than the input's spot passes (1 % of the amplitude), up to what
                |          \__.......... the target's passes; `power` is the restored image's there over the truth's,
                +------------[new band]--   1 where the texture is as strong as the truth's, right or wrong
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fluorsr.data.simulate import SimulationConfig
from fluorsr.evaluate.cases import TEST_SEED, TUNING_SEED, CaseSet, Source, simulated_case
from fluorsr.evaluate.compare import compare
from fluorsr.evaluate.results import Comparison
from fluorsr.evaluate.tables import claim, write_tables
from fluorsr.metrics.registry import ALL_METRICS, Metric
from fluorsr.metrics.spectrum import power_kept
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.load import LoadedModel, load
from fluorsr.models.noise import seed_of
from fluorsr.models.weights import read_weights, save_weights
from fluorsr.models.zoo_index import find
from fluorsr.restorer import Restorer, RestorerSpec

MODELS = ("edsr-confocal-sted-x2", "srgan-confocal-sted-x2", "sr3-confocal-sted-x2")
LIGHT = {"bright": 400.0, "medium": 100.0, "dim": 30.0}
INPUT_UM, TARGET_UM = 0.25, 0.11
"""Spots (FWHM): what Richardson-Lucy is told, and what ends the new band."""
ONE_PERCENT = math.sqrt(4 * math.log(2) * math.log(100)) / math.pi
"""A Gaussian spot of FWHM w passes 1 % of the amplitude at ONE_PERCENT / w cycles."""
BASELINES = ("bicubic", "richardson-lucy")
COLUMNS = ("psnr", "ssim", "ms_ssim", "frc", "power", "light")
SAMPLES = 8
NEAR_PX = 12
"""Input pixels around a field for a model that samples: its own halo would take ten times as long."""
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def new_band(prediction: Tensor, target: Tensor, *, data_range: float, pixel_size_um: float) -> Tensor:
    """Power of the prediction over the target's between what the two spots pass."""
    edges = tuple(min(1.0, 2 * pixel_size_um * ONE_PERCENT / spot) for spot in (INPUT_UM, TARGET_UM))
    return power_kept(prediction, target, data_range=data_range, pixel_size_um=pixel_size_um, bands=edges)[..., 0]


class Samples:
    """The mean of several samples of a model, of whole fields with little around them."""

    def __init__(self, model: LoadedModel, count: int) -> None:
        self.model, self.count = model, count

    @property
    def spec(self) -> RestorerSpec:
        return replace(self.model.spec, halo=min(NEAR_PX, self.model.spec.halo), exact=False)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer."""
        return torch.stack([self.model.restore(tiles, origin, seed_of(seed, n)) for n in range(self.count)]).mean(0)


def methods(models: list[str], precision: str) -> dict[str, Restorer]:
    found: dict[str, Restorer] = {}
    for name in models:
        model = load(name, precision=precision)
        if model.spec.stochastic:
            found[f"{model.spec.name}, mean of {SAMPLES}"] = Samples(model, SAMPLES)
            found[f"{model.spec.name}, one sample"] = Samples(model, 1)
        else:
            found[model.spec.name] = model
    return found


def sources(config: SimulationConfig, structure: str, group: str, seed: int, count: int) -> tuple[Source, ...]:
    names = [f"{group} {index}" for index in range(count)]
    return tuple(
        Source(name, group, partial(simulated_case, config, seed, index, structure, group, name))
        for index, name in enumerate(names)
    )


def cases(base: SimulationConfig, fields: int) -> CaseSet:
    """Every group, with two other fields each for Richardson-Lucy."""
    flat: dict[str, object] = {"thickness": (0.0, 0.0), "focus_um": (0.0, 0.0), "haze": (0.0, 0.0)}
    few = flat | {"density": (0.4, 0.4)}
    groups = [("microtubules", f"microtubules in focus, {light}", flat, light) for light in LIGHT]
    groups += [("even_microtubules", "evenly labelled microtubules in focus, bright", flat, "bright")]
    groups += [("even_microtubules", "few evenly labelled microtubules in focus, bright", few, "bright")]
    groups += [(s, f"{s}, {light}", {}, light) for s in base.structures for light in LIGHT]
    tests: tuple[Source, ...] = ()
    tuning: tuple[Source, ...] = ()
    for structure, group, changes, light in groups:
        config = base.model_copy(update={**changes, "photons": (LIGHT[light], LIGHT[light])})
        tests += sources(config, structure, group, TEST_SEED, fields)
        tuning += sources(config, structure, group, TUNING_SEED, 2)
    return CaseSet("held-out fields", tests, tuning)


def figures(found: Comparison) -> dict[str, dict[str, dict[str, float]]]:
    """Group -> method -> metric -> mean."""
    return {
        group: {
            method.name: {m.name: found.summary(group, method.name, m.name).mean for m in found.metrics}
            for method in found.methods
        }
        for group in found.groups[1:]
    }


def table(found: Comparison, wanted: list[str]) -> str:
    """One row a group and method."""
    metrics = [found.metric(name) for name in COLUMNS]
    heads = ["images", "method", *(metric.heading for metric in metrics)]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(metrics)]
    for group in found.groups[1:]:
        for name in wanted:
            means = [found.summary(group, name, metric.name).mean for metric in metrics]
            row = [f"{m:.{metric.digits}f}" if m < 1000 else ">1000" for m, metric in zip(means, metrics, strict=True)]
            lines.append("| " + " | ".join([group, name, *row]) + " |")
    return "\n".join(lines)


def explained(found: Comparison, arguments: argparse.Namespace) -> str:
    return (
        f"{arguments.fields} simulated fields of {arguments.size} x {arguments.size} pixels a line, of seeds that "
        "training never saw; peaks of 400 (bright), 100 (medium) and 30 (dim) photons; means. PSNR, SSIM, MS-SSIM and "
        "FRC after a linear intensity fit, against the noise-free truth; FRC: the finest detail shared with it, 1/7 "
        f"criterion. `power`: the restored image's over the truth's in the new band, periods of "
        f"{1000 * INPUT_UM / ONE_PERCENT:.0f} to {1000 * TARGET_UM / ONE_PERCENT:.0f} nm, where 1 is as much texture "
        "as the truth has, right or wrong (nuclei have next to none). `light`, without a fit: the mean above the "
        "background over the input's. "
        "Richardson-Lucy is given a spot of 250 nm and the iterations that were best on other fields of the same kind. "
        f"By fluorsr {found.version}: `python tools/heldout.py {' '.join(arguments.models)} --fields "
        f"{arguments.fields} --size {arguments.size}`.\n"
    )


def ship(model: str, found: Comparison, page: str) -> None:
    """Put a model's figures into its weights' notes, and the table between the marks of its card."""
    path = find(model)
    weights = read_weights(path)
    own = [method.name for method in found.methods if method.name.startswith(weights.spec.name)]
    kept = {group: {m: all_[m] for m in (*BASELINES, *own)} for group, all_ in figures(found).items()}
    network = build(weights.architecture, weights.config)
    network.load_state_dict(weights.state)
    save_weights(
        path,
        network,
        architecture=weights.architecture,
        config=weights.config,
        spec=weights.spec,
        notes={**weights.notes, "heldout": kept},
    )
    card = path.with_suffix(".md")
    before, _, rest = card.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n{page}\n{table(found, [*BASELINES, *own])}\n{END}{after}"
    card.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="of one scale; names, or files")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--fields", type=int, default=2, help="per structure and light level")
    parser.add_argument("--size", type=int, default=88, help="input pixels of a field")
    parser.add_argument("--out", type=Path, default=Path("heldout"))
    parser.add_argument("--docs", type=Path, help="a page for the whole table")
    parser.add_argument("--ship", action="store_true", help="put the figures into the zoo's files and cards")
    arguments = parser.parse_args()
    tune_allocator()
    begun = time.monotonic()
    ALL_METRICS["power"] = Metric(new_band, "power", 2, higher_is_better=True)
    restorers = methods(arguments.models, arguments.precision)
    spec = next(iter(restorers.values())).spec
    pixel_um = spec.pixel_size_um or 0.06
    base = SimulationConfig.model_validate(
        {"size_px": arguments.size, "pixel_size_um": (pixel_um, pixel_um), "density": (1.0, 2.0), "scale": spec.scale}
    )
    claim(arguments.out, overwrite=True)
    found = compare(
        cases(base, arguments.fields),
        restorers,
        baselines=BASELINES,
        metrics=[name for name in COLUMNS if name != "light"],
        spot_um=INPUT_UM,
        progress=lambda what, done, total: print(f"{done} of {total} {what}", flush=True),
    )
    write_tables(found, arguments.out)
    (arguments.out / "heldout.json").write_text(json.dumps(figures(found), indent=1) + "\n", encoding="utf-8")
    text = explained(found, arguments)
    whole = table(found, [*BASELINES, *restorers])
    print(f"{whole}\n{time.monotonic() - begun:.0f} s")
    if arguments.docs:
        arguments.docs.write_text(f"# Held-out figures\n\n{text}\n{whole}\n", encoding="utf-8")
    for model in arguments.models if arguments.ship else ():
        ship(model, found, text)


if __name__ == "__main__":
    main()
