"""What `fluorsr check` tells of good and of spoilt restorations: python tools/check_trials.py [--fields 2] [--size 256]

Simulated fields of each structure at three light levels, restored by the shipped model, and spoilt in known ways.
Prints a Markdown table: how many of them each warning was given for.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.classical.bicubic import upsample
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.evaluate.cases import PHOTONS, TEST_SEED
from fluorsr.evaluate.check import check
from fluorsr.evaluate.restore import restore_field
from fluorsr.evaluate.trials import bent, smoothed, with_filaments, with_seams
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import Layout
from fluorsr.models.load import load
from fluorsr.pipeline.run import DEFAULT_MODEL

STRUCTURES = ("microtubules", "vesicles", "nuclei")
TILE = 128

Trial = tuple[Tensor, Tensor, int | None]


def trials(image: Tensor, truth: Tensor, restored: Tensor, pixel_um: float) -> dict[str, Trial]:
    """Name -> input, restored, and the distance of tile borders where it is told."""
    fine = pixel_um / 2
    return {
        "the truth itself": (image, truth, TILE),
        "the shipped model": (image, restored, TILE),
        "the same, tiles unknown": (image, restored, None),
        "seams of 1 % of the range, tiles known": (image, with_seams(restored, TILE), TILE),
        "seams of 1 % of the range, tiles unknown": (image, with_seams(restored, TILE), None),
        "three invented filaments": (image, with_filaments(restored, 0.11 / fine), TILE),
        "over-smoothed to 300 nm": (image, smoothed(restored, 0.3 / fine), TILE),
        "input interpolated, not restored": (image, upsample(image[None, None], 2)[0, 0], TILE),
        "intensities to the power 1.5": (image, bent(restored, 1.5), TILE),
        "input and truth swapped": (functional.avg_pool2d(truth[None], 2)[0], image, None),
    }


def save(path: Path, pixels: Tensor, size_um: float) -> Path:
    shape = tuple(pixels.shape)
    layout = Layout("yx", shape, "float32", {"y": size_um, "x": size_um}, block=(shape[0], shape[1]))
    writer = create_image(path, layout, provenance={}, overwrite=True)
    writer.write(PlaneIndex(), 0, 0, np.ascontiguousarray(pixels.numpy(), np.float32))
    writer.finish()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=2, help="per structure and light level")
    parser.add_argument("--size", type=int, default=256, help="input pixels of a field")
    arguments = parser.parse_args()
    model = load(DEFAULT_MODEL)
    told: dict[str, Counter[str]] = {}
    count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for structure in STRUCTURES:
            for photons in PHOTONS:
                config = configure("confocal-280", size_px=arguments.size, photons=photons, density=(1.0, 2.0))
                for index in range(arguments.fields):
                    field = simulate_pair(config, TEST_SEED + 7, index, structure)
                    image = torch.from_numpy(field.degraded[0].astype(np.float32))
                    restored = restore_field(model, field.degraded)
                    count += 1
                    made = trials(image, torch.from_numpy(field.target), restored, field.pixel_size_um)
                    for trial, (one, other, tile) in made.items():
                        scale = other.shape[0] // one.shape[0]
                        files = (
                            save(folder / "input.tif", one, field.pixel_size_um),
                            save(folder / "restored.tif", other, field.pixel_size_um / scale),
                        )
                        rules = {warning.rule for warning in check(*files, tile=tile).warnings}
                        told.setdefault(trial, Counter()).update(rules or {"none"})
    print(f"| restoration ({count} fields each) | warnings, and for how many |\n|---|---|")
    for trial, counts in told.items():
        print(f"| {trial} | " + ", ".join(f"{rule} {n}" for rule, n in counts.most_common()) + " |")


if __name__ == "__main__":
    main()
