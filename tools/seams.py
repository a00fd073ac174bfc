"""Does a model's image show its tiles? One large simulated field, restored in two tilings.

    python tools/seams.py [MODEL] [--size 4096] [--tiles 376 504] [--structure microtubules] [--folder SCRATCH]

SIZE is the output's, in pixels. Of the image restored in the first tiles: the energy across the borders of its tiles
over that across all other lines between input pixels. Energy is the mean square of the fifth difference of pixels,
clipped (fluorsr.evaluate.seams). As a control, the same of the image restored in the second tiles, whose borders lie
elsewhere; and how far the two are apart. A diffusion model draws one sample, of the same seed.
Exits 1 where the ratio is more than 2 % from 1, as it may be by chance of a small field, or where an exact model's
images differ by more than 1e-4 of the range.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fluorsr.data.simulate import configure
from fluorsr.data.store import simulate_store
from fluorsr.evaluate.seams import BEFORE, CLIP, DIFFERENCE, NORMAL_MAD
from fluorsr.models.load import load
from fluorsr.pipeline.run import infer

ALLOWED = 0.02
ROUNDING = 1e-4
SEED = 20_261


def energies(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square of the fifth difference along x at every vertical line of [y, x], the line before each pixel."""
    count = pixels.shape[1] - len(DIFFERENCE) + 1
    lines = sum(weight * pixels[:, k : k + count] for k, weight in enumerate(DIFFERENCE))
    limit = CLIP * NORMAL_MAD * float(np.median(np.abs(lines)))
    return np.asarray(np.square(np.clip(lines, -limit, limit), dtype=np.float64).mean(0))


def ratio(pixels: NDArray[Any], period: int, scale: int) -> float:
    """Energy across borders every `period` pixels of both axes, over that across all other lines.

    Only of those between input pixels, where all borders are: a network's output has a faint grain of that period.
    """
    image = pixels.astype(np.float32)
    at, others = [], []
    for turned in (image, image.T):
        energy = energies(turned)
        place = np.arange(energy.size) + BEFORE
        at.append(energy[place % period == 0])
        others.append(energy[(place % period != 0) & (place % scale == 0)])
    return float(np.concatenate(at).mean() / np.concatenate(others).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sr3-confocal-sted-x2")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--tiles", type=int, nargs=2, default=[376, 504], help="input pixels")
    parser.add_argument("--structure", default="microtubules")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--folder", type=Path, help="keep the images here")
    arguments = parser.parse_args()
    spec = load(arguments.model, precision="fp32").spec
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "in.zarr"
        if not source.exists():
            config = configure("confocal-sted", fixed=True, size_px=arguments.size // spec.scale, scale=spec.scale)
            simulate_store(source, config, [arguments.structure], SEED)
        images, periods = [], []
        for tile in arguments.tiles:
            output, started = folder / f"tiles-{tile}.zarr", time.perf_counter()
            options = {"tile": tile, "precision": arguments.precision, "dtype": "float32", "overwrite": True}
            done = infer(source, output, model=arguments.model, **options)
            periods.append(spec.scale * (tile - 2 * spec.halo - done.overlap[0]))
            images.append(np.asarray(zarr.open_group(output, mode="r")["0"]).squeeze())
            print(
                f"tiles of {tile}: borders every {periods[-1]} pixels, {time.perf_counter() - started:.0f} s",
                flush=True,
            )
    first, second = images
    apart = float(np.abs(first - second).max() / np.ptp(first))
    found, control = (ratio(image, periods[0], spec.scale) for image in images)
    kind = "exact" if spec.exact else "not exact"
    print(f"{spec.name}, {first.shape[0]} x {first.shape[1]}: energy at borders over elsewhere {found:.4f}, without")
    print(f"borders there {control:.4f}; the two images are apart by at most {apart:.1e} of the range ({kind})")
    return int(abs(found - 1) > ALLOWED or (spec.exact and apart > ROUNDING))


if __name__ == "__main__":
    sys.exit(main())
