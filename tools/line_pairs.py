"""How close may two lines lie and still be told apart? python tools/line_pairs.py [MODEL ...] [--photons 400]

Pairs of straight lines of known spacing at random angles, in focus, through the confocal microscope of the shipped
models' training in the middle of its ranges. Of each pair the mean profile across it, over its length, is searched for
its dip: how far it falls between the lines below the lower of the two peaks; one broad line has none. Cells are medians
over the pairs. Single lines are searched in the same way at every spacing: what is found there is not a dip but noise.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from fluorsr.data.scene import Scene
from fluorsr.data.simulate import configure
from fluorsr.data.structures.emitters import Area
from fluorsr.data.structures.field import cells_in, parameters_of
from fluorsr.data.structures.targets import LinePairs, Lines, Segments, line_pair_segments, line_segments
from fluorsr.pipeline.memory import restore

Float64 = NDArray[np.float64]

SEED = 2**32 + 57
SIDE = 400
"""Input pixels: a field of 24 um holds one or two cells of pairs."""

END_UM = 0.4
"""Left out at each end of a line."""

STEP_UM = 0.01
LINE_PAIRS = LinePairs()
MODELS = ("richardson-lucy", "edsr-confocal-sted-x2", "srgan-confocal-sted-x2")


def scene(structure: str, photons: float, index: int) -> Scene:
    """A bright field with nothing out of focus."""
    none = dict.fromkeys(("haze", "jitter_px", "bidirectional_px", "focus_um", "thickness"), 0.0)
    config = configure(
        "confocal-sted", fixed=True, size_px=SIDE, scale=2, photons=photons, target_fwhm_um=0.11,
        pixel_size_um=0.06, numerical_aperture=1.2, emission_nm=630.0, **none,
    )  # fmt: skip
    return Scene(config, SEED, index, structure)


def middles(seen: Scene) -> dict[float, list[Float64]]:
    """By spacing, the middles (y0, x0, y1, x1) in um of all pairs well within a field; under 0, of single lines."""
    parameters = parameters_of(seen.structure)
    y, x, side = seen.drawn["y_um"], seen.drawn["x_um"], SIDE * seen.pixel_um
    found: dict[float, list[Float64]] = {}
    for cell in cells_in(seen.structure, seen._specimen_seed, Area((y, x), (y + side, x + side)), parameters):
        lines: Segments
        if isinstance(parameters, Lines):
            lines = line_segments(cell, parameters)
            names: tuple[float, ...] = (0.0,) * lines.y0.size
        else:
            lines, names = line_pair_segments(cell, LINE_PAIRS), LINE_PAIRS.spacings_um
        ends = np.stack(lines, 1) - np.tile(cell.window[0], 2)
        for spacing, line in zip(names, ends.reshape(len(names), -1, 4).mean(1), strict=True):
            if line.min() > 0.5 and line.max() < side - 0.5 and np.hypot(*(line[2:] - line[:2])) > 3 * END_UM:
                found.setdefault(spacing, []).append(line)
    return found


def dip(image: Float64, pixel_um: float, line: Float64, spacing: float) -> float:
    """1 - middle / lower peak, of the mean profile across; peaks within half a spacing of where the lines are."""
    y0, x0, y1, x1 = line
    length = float(np.hypot(y1 - y0, x1 - x0))
    uy, ux = (y1 - y0) / length, (x1 - x0) / length
    reach = np.arange(-round(spacing / STEP_UM), round(spacing / STEP_UM) + 1) * STEP_UM
    along, across = np.meshgrid(np.arange(END_UM, length - END_UM, 0.03), reach, indexing="ij")
    places = (x0 + along * ux + across * uy) / image.shape[1], (y0 + along * uy - across * ux) / image.shape[0]
    grid = torch.from_numpy(np.stack(places, -1) * 2 / pixel_um - 1)
    pixels = torch.from_numpy(image)[None, None]
    profile = grid_sample(pixels, grid[None], mode="bicubic", align_corners=False)[0, 0].mean(0).numpy()
    quarter = len(reach) // 4
    return 1 - float(profile[quarter:-quarter].min() / min(profile[:quarter].max(), profile[-quarter:].max()))


def measure(models: list[str], photons: float, fields: int) -> dict[str, dict[tuple[float, bool], list[float]]]:
    """Dips by image, and by (spacing, whether two lines are there)."""
    found: dict[str, dict[tuple[float, bool], list[float]]] = {name: {} for name in ("input", *models, "truth")}
    for structure in ("line_pairs", "lines"):
        for index in range(fields):
            seen = scene(structure, photons, index)
            degraded, target = seen.read(0, SIDE, 0, SIDE)
            images = {"input": (degraded[0], 1), "truth": (target, 2)}
            for name in models:
                options = {"fwhm_px": 0.25 / seen.pixel_um} if name == "richardson-lucy" else None
                images[name] = (restore(degraded[0], name, options=options, dtype="float32"), 2)
            for spacing, lines in middles(seen).items():
                for wanted in (spacing,) if spacing else LINE_PAIRS.spacings_um:
                    for name, (image, scale) in images.items():
                        pixels = np.asarray(getattr(image, "data", image), dtype=np.float64) - seen.drawn["offset"]
                        dips = [dip(pixels, seen.pixel_um / scale, line, wanted) for line in lines]
                        found[name].setdefault((wanted, bool(spacing)), []).extend(dips)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="names or weights files")
    parser.add_argument("--photons", type=float, default=400.0)
    parser.add_argument("--fields", type=int, default=8)
    arguments = parser.parse_args()
    found = measure(arguments.models, arguments.photons, arguments.fields)
    keys = sorted({key for dips in found.values() for key in dips}, key=lambda key: (not key[1], key[0]))
    for pairs in (True, False):
        spacings = [spacing for spacing, two in keys if two is pairs]
        count = len(found["truth"][spacings[0], pairs])
        print(f"\n| {count} {'pairs, nm apart' if pairs else 'single lines, searched at'} | ", end="")
        print(" | ".join(f"{1000 * spacing:.0f}" for spacing in spacings) + " |\n|---" + "|---:" * len(spacings) + "|")
        for name, dips in found.items():
            print(f"| {name} | " + " | ".join(f"{statistics.median(dips[s, pairs]):.2f}" for s in spacings) + " |")


if __name__ == "__main__":
    main()
