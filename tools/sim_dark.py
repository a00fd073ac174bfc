"""What the real dark SIM frames can hold: python tools/sim_dark.py DATA

For each band of periods, how an image agrees with the reference (the coherence of their spectra), and the most that any
weighted sum of the dark frames' orders can reach: the orders' noises are independent, so their ratios of signal to
noise, C^2 / (1 - C^2) with C an order's coherence, add up. A side order counts twice, since it comes with its mirror
image. Phases and contrast need not be known for that, as the coherence's modulus does not see them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor

from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_autocorrelation import find_stripes
from fluorsr.classical.sim_orders import carrier, edge_window, frequencies, separate
from fluorsr.classical.sim_parameters import estimate_parameters

PIXEL_UM = 0.03
BANDS_NM = ((450, 800), (350, 450), (300, 350), (250, 300), (200, 250))


def read(path: Path) -> Tensor:
    return torch.from_numpy(tifffile.imread(path).astype(np.float64))


def coherence(image: Tensor, reference: Tensor, band_nm: tuple[float, float]) -> float:
    """Modulus of the normalised cross-spectrum of [Y, X], real or complex, over a band of periods."""
    shape = (image.shape[-2], image.shape[-1])
    window = edge_window(shape)
    one, two = (torch.fft.fft2((each - each.mean()) * window) for each in (image, reference))
    fy, fx = frequencies(shape, PIXEL_UM)
    k = torch.hypot(fy, fx)
    inside = (k > 1000 / band_nm[1]) & (k <= 1000 / band_nm[0])
    together = (one[inside] * two[inside].conj()).sum().abs()
    return float(together / (one[inside].abs().square().sum() * two[inside].abs().square().sum()).sqrt())


def best(frames: Tensor, waves: Tensor, reference: Tensor, band_nm: tuple[float, float]) -> float:
    """The coherence that a weighted sum of all orders of frames [A, N, Y, X] can have at most."""
    optics = make_optics(1.49, 600.0, PIXEL_UM)
    found = find_stripes(frames, optics, wave_per_um=waves)
    ratio = 0.0
    for angle, series in enumerate(frames):
        for m, order in enumerate(separate(series, found.orders_rad[angle], found.light[angle])):
            placed = order * carrier(-m * waves[angle], (order.shape[-2], order.shape[-1]), PIXEL_UM)
            own = coherence(placed, reference, band_nm)
            ratio += (2 if m else 1) * own**2 / (1 - own**2)
    return math.sqrt(ratio / (1 + ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder sim_microtubules")
    data = parser.parse_args().data
    reference, conventional = read(data / "fov1_high_light_sim.tif"), read(data / "fov1_low_light_sim.tif")
    bright, dark = (
        read(data / f"fov1_{light}_light_raw.tif").reshape(3, 5, *reference.shape) for light in ("high", "low")
    )
    waves = estimate_parameters(bright, make_optics(1.49, 600.0, PIXEL_UM)).wave_per_um
    rows: dict[str, Callable[[tuple[float, float]], float]] = {
        "mean of the dark frames": lambda band: coherence(dark.mean((0, 1)), reference, band),
        "any weighted sum of the dark frames' orders, at most": lambda band: best(dark, waves, reference, band),
        "conventional dark reconstruction": lambda band: coherence(conventional, reference, band),
        "any weighted sum of the bright frames' orders, at most": lambda band: best(bright, waves, reference, band),
    }
    print("| coherence with the reference | " + " | ".join(f"{low} to {high} nm" for low, high in BANDS_NM) + " |")
    print("|---|" + "---:|" * len(BANDS_NM))
    for name, measure in rows.items():
        print(f"| {name} | " + " | ".join(f"{measure(band):.2f}" for band in BANDS_NM) + " |")


if __name__ == "__main__":
    main()
