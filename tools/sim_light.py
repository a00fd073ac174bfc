"""SIM over light levels, on simulated frames whose truth is known: python tools/sim_light.py [--out docs] [--fields 6]

Raw frames of specimens that no recipe can have drawn, from bright to less than a hundredth of it, restored by Wiener
SIM and by the shipped unet-sim networks (or --model NAME|FILE ...), held against the truth after a linear intensity
fit. Writes OUT/sim_light.png and OUT/sim_light.md; --ship also saves the models with their figures in their notes and
the shipped recipe of their name, as the zoo holds them.
"""

from __future__ import annotations

import argparse
import functools
import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import fluorsr
from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import NoStripesError, SimParameters, estimate_parameters
from fluorsr.classical.sim_support import sim_support
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.data.scene import KEPT_FRAMES
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.evaluate.cases import TEST_SEED
from fluorsr.image import Image
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.frc import frc
from fluorsr.metrics.psnr import psnr
from fluorsr.models.architectures import build
from fluorsr.models.sim_network import SimNetwork
from fluorsr.models.weights import read_weights, save_weights
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.report.figures import BACKGROUND, FAINT, INK, new_figure, save_png
from fluorsr.train.recipe import read_recipe

LEVELS = (1000.0, 300.0, 100.0, 30.0, 10.0)
"""Photons of a raw frame where the specimen is brightest."""

SPECIMENS: dict[str, dict[str, object]] = {
    "thin": {"structures": {"microtubules": 3, "actin": 1, "mitochondria": 1}, "thickness": 0.5, "haze": 0.2},
    "thick": {"structures": {"microtubules": 1}, "thickness": 3.0, "density": 2.5, "haze": 0.5},
}
SIDE_PX, BORDER = 128, 16
INNER = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
WIDE, WIENER = "wide-field", "Wiener SIM, 15"
COLORS = ("#9a9aa4", "#f2b544", "#4fc3f7", "#81c784", "#e57373", "#ba68c8")
FIGURES = {"psnr": "PSNR (dB)", "frc": "FRC with the truth (nm)", "unsupported": "unsupported (%)"}

Means = dict[tuple[str, float, str], dict[str, float]]
"""(specimens, photons, method) -> figure -> mean; absent where a field's frames do not show their stripes."""


@functools.lru_cache
def series(specimens: str, index: int, photons: float) -> Field:
    """The 15 frames of one specimen in so much light."""
    changes = {**SPECIMENS[specimens], "photons": photons, "size_px": SIDE_PX}
    return simulate_pair(configure("sim-3x5", fixed=True, **changes), TEST_SEED, index)


def vectors(field: Field) -> Tensor:
    """The true pattern vectors [3, 2], cycles per um."""
    assert field.stripes is not None
    return field.stripes.wave_per_um[::5]


def stripes(field: Field, optics: SimOptics) -> SimParameters:
    """Phases and contrast as measured, along the true pattern vectors: dark frames alone do not show those."""
    frames = torch.from_numpy(field.degraded.astype(np.float64)).reshape(3, 5, SIDE_PX, SIDE_PX)
    return estimate_parameters(frames, optics, wave_per_um=vectors(field))


def restored(specimens: str, index: int, photons: float, models: list[str]) -> dict[str, tuple[Field, Tensor]]:
    """Method -> what it was given, and what it made of it."""
    field = series(specimens, index, photons)
    frames = torch.from_numpy(field.degraded.astype(np.float32))
    wide = torch.nn.functional.interpolate(frames.mean(0)[None, None], scale_factor=2, mode="bicubic")[0, 0]
    optics = optics_of(field)
    sim = WienerSim(optics, parameters=stripes(field, optics))
    reconstruction = sim.restore(frames[None], torch.zeros(1, 2, dtype=torch.int64), 0)[0, 0]
    images = {WIDE: (field, wide), WIENER: (field, reconstruction)}
    for model in models:
        network = fluorsr.load(model, pixel_size_um=field.pixel_size_um).network
        if isinstance(network, SimNetwork):
            network = network.calibrated(vectors(field))
        some = f"{','.join(map(str, KEPT_FRAMES[network.spec.frames]))} of 15"
        image = Image(field.degraded, "qyx")
        try:
            made = fluorsr.restore(image, network, frames_axis="q", frames=some, check_frames=False, dtype="float32")
        except NoStripesError as error:
            print(f"{network.spec.name}, field {index}: {error}")
            continue
        images[network.spec.name] = field, torch.from_numpy(made.to_numpy())
    return images


def optics_of(field: Field) -> SimOptics:
    drawn = field.drawn
    return make_optics(drawn["numerical_aperture"], drawn["emission_nm"], field.pixel_size_um, drawn["damping"])


def measure(models: list[str], fields: int) -> Means:
    """Every figure, as the mean over the fields. Support is asked of the brightest frames: is it there at all?"""
    means: Means = {}
    for specimens in SPECIMENS:
        for photons in LEVELS:
            found: dict[str, list[dict[str, float]]] = {}
            for index in range(fields):
                bright = series(specimens, index, LEVELS[0])
                held = torch.from_numpy(bright.degraded.astype(np.float64)).reshape(3, 5, SIDE_PX, SIDE_PX)
                shown = stripes(bright, optics_of(bright))
                for method, (field, image) in restored(specimens, index, photons, models).items():
                    truth = torch.from_numpy(field.target)[INNER].double()
                    fitted = fit_intensity(image[INNER].double(), truth)
                    found.setdefault(method, []).append(
                        {
                            "psnr": float(psnr(fitted, truth, data_range=float(truth.max() - truth.min()))),
                            "frc": float(frc(fitted, truth, pixel_size_um=field.target_pixel_size_um)),
                            "unsupported": 100 * sim_support(image, held, shown, optics_of(bright)).unsupported,
                        }
                    )
            for method, rows in found.items():
                if len(rows) < fields:
                    continue
                means[specimens, photons, method] = {
                    name: float(np.mean([min(row[name], 1000.0) for row in rows])) for name in FIGURES
                }
            print(specimens, photons, flush=True)
    return means


def draw(means: Means, path: Path) -> None:
    """A row of specimens, a column of figures, one line a method."""
    methods = list(dict.fromkeys(key[2] for key in means))
    figure = new_figure(4.2 * len(FIGURES), 3.2 * len(SPECIMENS), dpi=120)
    for r, specimens in enumerate(SPECIMENS):
        for c, (name, heading) in enumerate(FIGURES.items()):
            axes = figure.add_subplot(len(SPECIMENS), len(FIGURES), r * len(FIGURES) + c + 1, facecolor=BACKGROUND)
            for method, color in zip(methods, COLORS, strict=False):
                values = [means.get((specimens, level, method), {}).get(name, math.nan) for level in LEVELS]
                axes.plot(LEVELS, values, color=color, marker="o", markersize=3, linewidth=1.3, label=method)
            axes.set_xscale("log")
            axes.invert_xaxis()
            axes.set_title(f"{specimens} specimens" if c == 0 else "", color=INK, fontsize=9, loc="left")
            axes.set_xlabel("photons at the brightest place of a frame", color=INK, fontsize=8)
            axes.set_ylabel(heading, color=INK, fontsize=8)
            axes.tick_params(colors=FAINT, labelsize=7, which="both")
            for spine in axes.spines.values():
                spine.set_color(FAINT)
            if r == 0 and c == len(FIGURES) - 1:
                axes.legend(loc="upper left", fontsize=7, facecolor=BACKGROUND, labelcolor=INK, edgecolor=FAINT)
    figure.tight_layout()
    save_png(figure, path)


def ship(path: Path, means: Means, folder: Path) -> None:
    """Save a weights file with its held-out figures: group -> method -> metric -> mean."""
    weights = read_weights(path)
    network = build(weights.architecture, weights.config)
    network.load_state_dict(weights.state)
    heldout: dict[str, dict[str, dict[str, float]]] = {}
    for (specimens, photons, method), figures in means.items():
        if method in (WIDE, WIENER, weights.spec.name):
            name = "bicubic" if method == WIDE else method
            heldout.setdefault(f"{specimens}, {photons:g} photons", {})[name] = figures
    save_weights(
        folder / f"{weights.spec.name}.safetensors",
        network,
        architecture=weights.architecture,
        config=weights.config,
        spec=weights.spec,
        notes={
            **weights.notes,
            "recipe": read_recipe(weights.spec.name).model_dump(mode="json"),
            "heldout": heldout,
        },
    )


def page(means: Means, fields: int) -> str:
    """The tables and how they were made, as Markdown."""
    methods = list(dict.fromkeys(key[2] for key in means))
    parts = []
    for specimens in SPECIMENS:
        for name, heading in FIGURES.items():
            parts += [f"| {specimens}: {heading} | {' | '.join(f'{level:g}' for level in LEVELS)} |"]
            parts += ["|---" * (len(LEVELS) + 1) + "|"]
            for method in methods:
                told = [means.get((specimens, level, method)) for level in LEVELS]
                cells = [f"{each[name]:.{1 if name == 'psnr' else 0}f}" if each else "refused" for each in told]
                parts += [f"| {method} | {' | '.join(cells)} |"]
            parts += [""]
    return PAGE.format(tables="\n".join(parts), fields=fields)


PAGE = """\
# SIM over light levels, where the truth is known

![figures over photons](sim_light.png)

Simulated raw frames of 128 x 128 pixels, of seeds that no recipe has; a linear intensity fit, 16 pixels of border left
out, means over {fields} fields a row. Columns are photons of a raw frame where the specimen is brightest.

{tables}
- *thin*: microtubules, actin and mitochondria at half their usual thickness, with little haze. *thick*: dense
  microtubules in up to 6 um of cell, in haze half as bright as they: what is in focus is the smaller part of the light.
- *FRC*: the finest period that the image shares with the truth, above a correlation of 1/7.
- *Unsupported*: share of the image's structure that the modulated part of the brightest 15 frames of that specimen does
  not show (`fluorsr.sim_support`).
- Wiener is given the true optics and pattern vectors, the networks the true pattern vectors, as of a microscope that
  was calibrated in bright light: dark frames alone do not always show them. All measure phases and contrast themselves.
- *refused*: the frames of at least one field do not show the stripes well enough to measure their phases, and the
  method says so instead of restoring.
- 9 frames are the first three phases of each direction, 3 frames the first: of the same frames that 15 are.

Made by `python tools/sim_light.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--model", action="append")
    parser.add_argument("--ship", type=Path, help="folder for the models with their figures; needs --model FILEs")
    parser.add_argument("--fields", type=int, default=6, help="of each kind of specimen")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shipped = [name for name in zoo() if re.match("unet-sim", name)]
    models = arguments.model or sorted(shipped, key=lambda name: -describe(name).spec.frames)
    means = measure(models, arguments.fields)
    draw(means, arguments.out / "sim_light.png")
    for model in arguments.model if arguments.ship else ():
        ship(Path(model), means, arguments.ship)
    (arguments.out / "sim_light.md").write_text(page(means, arguments.fields), encoding="utf-8")


if __name__ == "__main__":
    main()
