"""SIM on real frames, drawn and measured: python tools/sim_figure.py DATA [--out docs] [--model NAME|FILE ...]

DATA holds fovN_high_light_raw.tif (15 frames, upsampled twofold), fovN_high_light_sim.tif (the reference) and the dark
frames of field 1. Every method is judged alike: frames binned to camera pixels, restored to the reference's 30 nm, a
linear intensity fit to the reference scaled to 0 and 1, borders of 8 pixels left out. Writes OUT/sim.png and sim.md.
Without --model, every shipped model whose name begins with unet-sim is drawn.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

import fluorsr
from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.classical.sim_support import sim_support
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.image import Image
from fluorsr.metrics.decorrelation import decorrelation
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.frc import frc
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.ssim import ssim
from fluorsr.models.sim_network import SimNetwork
from fluorsr.models.zoo_index import describe, zoo
from fluorsr.report.figures import BACKGROUND, INK, Panel, draw_panel, new_figure, save_png, scale_bar

CAMERA_UM, FINE_UM, BORDER = 0.06, 0.03, 8
OPTICS = {"numerical_aperture": 1.49, "emission_nm": 600.0}
INNER = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
SUBSETS = {15: None, 9: "0,1,2,5,6,7,10,11,12 of 15", 3: "0,5,10 of 15"}


@dataclass(frozen=True)
class Field:
    """camera [15, Y, X];  reference [2 Y, 2 X] scaled to 0 and 1;  conventional, of the same light, if there is one.

    bright, stripes   the bright frames of this field, which say what is there, and their parameters
    """

    name: str
    camera: Tensor
    reference: Tensor
    conventional: Tensor | None
    parameters: SimParameters
    bright: Tensor
    stripes: SimParameters


@dataclass(frozen=True)
class Row:
    """What was measured of one image of one field."""

    field: str
    method: str
    psnr: float
    psnr_shifted: float
    ssim: float
    frc_nm: float
    decorrelation_nm: float
    unsupported: float

    def cells(self) -> list[str]:
        """As the table shows them; empty where an image would be held against itself."""
        shown = [
            self.field,
            self.method,
            f"{self.psnr:.2f}",
            f"{self.psnr_shifted:.2f}",
            f"{self.ssim:.3f}",
            f"{self.frc_nm:.0f}",
            f"{self.decorrelation_nm:.0f}",
            f"{100 * self.unsupported:.0f} %",
        ]
        return ["" if cell == "nan" else cell for cell in shown]


def read(path: Path) -> Tensor:
    return torch.from_numpy(tifffile.imread(path).astype(np.float32))


def camera_pixels(frames: Tensor) -> Tensor:
    """[F, 2 Y, 2 X] upsampled -> [F, Y, X]."""
    f, height, width = frames.shape
    return frames.reshape(f, height // 2, 2, width // 2, 2).mean((2, 4))


def fields(data: Path, optics: SimOptics) -> list[Field]:
    found = []
    for n in (1, 2, 3):
        camera, reference = (
            camera_pixels(read(data / f"fov{n}_high_light_raw.tif")),
            read(data / f"fov{n}_high_light_sim.tif"),
        )
        measured = estimate_parameters(camera.reshape(3, 5, *camera.shape[-2:]), optics)
        found.append(Field(f"field {n}, bright", camera, reference / reference.max(), None, measured, camera, measured))
    dark = camera_pixels(read(data / "fov1_low_light_raw.tif"))
    waves = found[0].parameters.wave_per_um
    measured = estimate_parameters(dark.reshape(3, 5, *dark.shape[-2:]), optics, wave_per_um=waves)
    conventional = read(data / "fov1_low_light_sim.tif")
    first = found[0]
    name = "field 1, 1/100 of the light"
    return [*found, Field(name, dark, first.reference, conventional, measured, first.camera, first.parameters)]


def restored(field: Field, models: list[str], optics: SimOptics) -> dict[str, Tensor]:
    """Method -> image [2 Y, 2 X]."""
    sim = WienerSim(optics, parameters=field.parameters)
    wide = torch.nn.functional.interpolate(
        field.camera.mean(0)[None, None], scale_factor=2, mode="bicubic", align_corners=False
    )
    images = {
        "wide-field": wide[0, 0],
        "Wiener SIM, 15": sim.restore(field.camera[None], torch.zeros(1, 2, dtype=torch.int64), 0)[0, 0],
    }
    image = Image(field.camera.numpy(), "qyx", {"y": CAMERA_UM, "x": CAMERA_UM})
    for model in models:
        loaded = fluorsr.load(model, pixel_size_um=CAMERA_UM)
        network, frames = loaded.network, loaded.spec.frames
        if isinstance(network, SimNetwork) and field.conventional is not None and frames < len(field.camera):
            network = network.calibrated(field.parameters.wave_per_um)
        result = fluorsr.restore(
            image, network, frames_axis="q", frames=SUBSETS[frames], check_frames=False, dtype="float32"
        )
        images[model] = torch.from_numpy(result.to_numpy())
    if field.conventional is not None:
        images["conventional, 15"] = field.conventional
    return images


def judge(field: Field, method: str, image: Tensor, optics: SimOptics) -> tuple[Row, Tensor]:
    """Its figures, and the image on the reference's scale."""
    target = field.reference[INNER]
    fitted = fit_intensity(image[INNER].double(), target.double())
    support = sim_support(image, field.bright.reshape(3, 5, *field.bright.shape[-2:]), field.stripes, optics)
    # Interpolated pixels would be taken for detail, so the wide-field image is asked at the camera's.
    own, own_um = (field.camera.mean(0), CAMERA_UM) if method == "wide-field" else (image[INNER], FINE_UM)
    row = Row(
        field.name,
        method,
        float(psnr(fitted, target.double(), data_range=1.0)),
        psnr_shifted(image, target),
        float(ssim(fitted, target.double(), data_range=1.0)),
        float(frc(fitted, target.double(), pixel_size_um=FINE_UM)),
        float(decorrelation(own.double(), pixel_size_um=own_um)),
        support.unsupported,
    )
    return row, fitted


def psnr_shifted(image: Tensor, target: Tensor) -> float:
    """The best PSNR over shifts of the whole image, quarters of a pixel up to 1.5 either way."""
    spectrum = torch.fft.fft2(image.double())
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in image.shape)
    found = []
    for y, x in itertools.product(torch.arange(-1.5, 1.51, 0.25, dtype=torch.float64), repeat=2):
        turned = spectrum * torch.exp(-2j * math.pi * (fy[:, None] * y + fx * x))
        moved = torch.fft.ifft2(turned).real[INNER]
        found.append(float(psnr(fit_intensity(moved, target.double()), target.double(), data_range=1.0)))
    return max(found)


def draw(panels: dict[str, list[Panel]], whites: dict[str, float], path: Path) -> None:
    """One row a field, one column a method; 0 is black and the field's white is white."""
    side, top, foot = 2.0, 0.26, 0.36
    columns, height = max(map(len, panels.values())), side + top + foot
    figure = new_figure(side * columns, len(panels) * height, dpi=120)
    extent = next(iter(panels.values()))[0].image.shape[0] * FINE_UM
    for r, (name, row) in enumerate(panels.items()):
        for c, panel in enumerate(row):
            bottom = 1 - (r * height + top + side) / (len(panels) * height)
            place = (c / columns + 0.006, bottom, 1 / columns - 0.012, side / (len(panels) * height))
            axes = figure.add_axes(place)
            draw_panel(axes, panel, (extent, extent), (0.0, whites[name]), "gray")
            axes.title.set_fontsize(7.5)
            axes.xaxis.label.set_fontsize(6.5)
            if c == 0:
                scale_bar(axes, extent, extent)
                rim = [withStroke(linewidth=2.0, foreground=BACKGROUND)]
                axes.text(0.04 * extent, 0.08 * extent, name, color=INK, fontsize=7, path_effects=rim)
    save_png(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--model", action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shipped = [name for name in zoo() if re.match("unet-sim", name)]
    models = arguments.model or sorted(shipped, key=lambda name: -describe(name).spec.frames)
    optics = make_optics(OPTICS["numerical_aperture"], OPTICS["emission_nm"], CAMERA_UM)
    rows: list[Row] = []
    panels: dict[str, list[Panel]] = {}
    whites: dict[str, float] = {}
    for field in fields(arguments.data, optics):
        panels[field.name] = []
        whites[field.name] = float(torch.quantile(field.reference[INNER], 0.998))
        for method, image in {**restored(field, models, optics), "reference": field.reference}.items():
            row, fitted = judge(field, method, image, optics)
            if method != "reference":
                rows.append(row)
            elif field.conventional is None:
                rows.append(replace(row, psnr=math.nan, psnr_shifted=math.nan, ssim=math.nan, frc_nm=math.nan))
            told = f"{row.psnr:.2f} dB, SSIM {row.ssim:.3f}" if method != "reference" else "15 bright frames"
            caption = f"{told}\n{row.decorrelation_nm:.0f} nm, unsupported {100 * row.unsupported:.0f} %"
            if method != "reference" or field.conventional is None:
                panels[field.name].append(Panel(fitted.numpy(), method, caption))
    draw(panels, whites, arguments.out / "sim.png")
    (arguments.out / "sim.md").write_text(page(rows, models), encoding="utf-8")


def page(rows: list[Row], models: list[str]) -> str:
    """The table and what its columns are, as Markdown."""
    named = "".join(f" --model {model}" for model in models if model not in zoo())
    table = "\n".join("| " + " | ".join(row.cells()) + " |" for row in rows)
    return PAGE.format(table=table, named=named)


PAGE = """\
# SIM on real frames

![wide-field, reconstructions and the reference](sim.png)

Microtubules, three fields; frames of Jin et al., Nat. Commun. 11, 1934 (2020), binned back to camera pixels of 60 nm.
Each image is put on the reference's scale by a linear fit and judged without its 8 outer pixels. In all panels of a row
black is 0 and white the reference's 99.8th percentile. No network has seen a real frame in training.

| field | image | PSNR (dB) | shifted | SSIM | FRC with the reference (nm) | decorrelation (nm) | unsupported |
|---|---|---:|---:|---:|---:|---:|---:|
{table}

- *Shifted*: PSNR after the one shift of the whole image, by up to 1.5 of the fine pixels, that suits it best: how much
  of a figure is registration. The references lie 0.5 to 1.3 pixels off the frames they were made from.
- *FRC with the reference*: the finest period in which an image agrees with it (threshold 1/7).
- *Decorrelation*: resolution of the image alone; of wide-field at the camera's pixels, since interpolated ones would be
  taken for detail. In the dark wide-field image it reads the noise: twice the camera's pixel is 120 nm.
- *Unsupported*: share of the image's structure that the modulated part of the field's bright frames does not show
  (`fluorsr.sim_support`). For the dark images too: whether what they show is there.
- The reference is a reconstruction too, with its own ringing. In field 2 it is distorted against the frames by about
  1 %, which costs every method some decibels.
- Of the dark frames Wiener, and the networks of 9 and 3 frames, take the pattern's vectors from the bright ones; phases
  and contrast are their own. The network of 15 frames finds the vectors in the dark frames by itself. On the command
  line: `fluorsr info BRIGHT --frames-axis z --save-stripes scope.json`, then `--set stripes=scope.json`.

The networks run without Python too: `fluorsr export unet-sim15-x2 --stripes scope.json` writes a program that takes raw
frames and measures their phases itself ([doors/cpp.md](doors/cpp.md#4-raw-sim-frames)).

What these figures mean, what was tried and what is missed: [sim_notes.md](sim_notes.md). Light levels, with known
truth: [sim_light.md](sim_light.md). Made by `python tools/sim_figure.py DATA{named}`.
"""


if __name__ == "__main__":
    main()
