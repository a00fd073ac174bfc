"""Pictures of the simulator: python tools/gallery.py [--out docs] [--real FOLDER]

structures.png   every structure in every modality, input beside target
line_pairs.png   pairs of lines from 80 to 400 nm apart, through 280 nm optics and 110 nm optics
sim_real.png     a real field of microtubules (SIM frames, their mean, the conventional reconstruction), and a simulated
                 one below it; left out where --real does not hold fov1_high_light_raw.tif and its reconstruction
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import tifffile
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from fluorsr.data.simulate import Field, simulate_field
from fluorsr.data.structures.registry import STRUCTURES

PRESETS = ("confocal-280", "widefield-sted", "widefield-sim", "sim-3x5")
SIZE_PX = 140
DPI, LEVELS = 72, 40


def show(axes: Axes, image: NDArray[Any], title: str = "", window: tuple[float, float] = (0.5, 99.9)) -> None:
    low, high = np.percentile(image, window)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9, color="0.2", pad=3)
    for side in axes.spines.values():
        side.set_visible(False)


def bar(axes: Axes, field: Field, length_um: float, *, target: bool = False) -> None:
    pixel = field.target_pixel_size_um if target else field.pixel_size_um
    side = axes.get_xlim()[1]
    x1 = side * 0.95
    axes.plot([x1 - length_um / pixel, x1], [side * 0.94] * 2, color="white", lw=2.5, solid_capstyle="butt")


def save(figure: Figure, path: Path) -> None:
    """As a PNG of 40 grey levels: noise is what makes such pictures large."""
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    Image.open(path).convert("L").quantize(LEVELS).save(path, optimize=True)


def structures(out: Path) -> None:
    columns = 2 * len(PRESETS)
    figure, grid = plt.subplots(
        len(STRUCTURES), columns, figsize=(1.65 * columns, 1.72 * len(STRUCTURES) + 0.3), layout="constrained"
    )
    for number, structure in enumerate(STRUCTURES):
        row, first = grid[number], number == 0
        for column, preset in enumerate(PRESETS):
            field = simulate_field(SIZE_PX, structure, 5, preset=preset, photons=300, pixel_size_um=0.06)
            frame = "raw frame 1" if field.degraded.shape[0] > 1 else "input"
            show(row[2 * column], field.degraded[0], f"{preset}\n{frame}" if first else "")
            show(row[2 * column + 1], field.target, "\ntarget" if first else "")
            bar(row[2 * column], field, 2.0)
        row[0].set_ylabel(structure.replace("_", " "), fontsize=10)
    save(figure, out / "structures.png")


def line_pairs(out: Path) -> None:
    field = simulate_field(
        280,
        "line_pairs",
        28,
        photons=2000,
        haze=0,
        numerical_aperture=1.1,
        emission_nm=640,
        pinhole_airy_units=1.8,
        depth_um=0,
        index_sample=1.515,
        focus_um=0,
    )
    figure, grid = plt.subplots(1, 2, figsize=(10, 5.3), layout="constrained")
    show(grid[0], field.degraded[0], "confocal, a spot of 280 nm")
    show(grid[1], field.target, "target, a spot of 110 nm")
    bar(grid[0], field, 2.0)
    figure.suptitle("Pairs of lines 80, 100, 120, 150, 200, 250, 300 and 400 nm apart; bar 2 um", fontsize=10)
    save(figure, out / "line_pairs.png")


def sim_real(out: Path, folder: Path) -> None:
    raw = tifffile.imread(folder / "fov1_high_light_raw.tif").astype(np.float64)
    camera = raw.reshape(15, 128, 2, 128, 2).mean((2, 4))
    reference = tifffile.imread(folder / "fov1_high_light_sim.tif")
    field = simulate_field(
        128, "microtubules", 14, preset="sim-3x5", photons=600, pixel_size_um=0.06, period_um=0.494,
        numerical_aperture=1.49, emission_nm=600, damping=0.3, density=1.3,
    )  # fmt: skip
    titles = ("raw frame 1 of 15", "raw frame 6", "mean of all: wide-field", "reconstruction", "target")
    figure, grid = plt.subplots(2, 4, figsize=(10.4, 5.6), layout="constrained")
    real = (camera[0], camera[5], camera.mean(0), reference)
    simulated = (field.degraded[0], field.degraded[5], field.degraded.mean(0), field.target)
    for row, images, last in ((0, real, titles[3]), (1, simulated, titles[4])):
        for axes, image, title in zip(grid[row], images, (*titles[:3], last), strict=True):
            show(axes, image, title)
    bar(grid[1, 0], field, 2.0)
    grid[0, 0].set_ylabel("real", fontsize=11)
    grid[1, 0].set_ylabel("simulated", fontsize=11)
    save(figure, out / "sim_real.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--real", type=Path, default=Path("../shared/data/sim_microtubules"))
    arguments = parser.parse_args()
    mpl.use("Agg")
    arguments.out.mkdir(parents=True, exist_ok=True)
    structures(arguments.out)
    line_pairs(arguments.out)
    if arguments.real.is_dir():
        sim_real(arguments.out, arguments.real)
    else:
        print(f"no real frames in {arguments.real}: sim_real.png is left as it is")


if __name__ == "__main__":
    main()
