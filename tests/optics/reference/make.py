"""Make point_spread_functions.npz, the reference values of tests/optics/test_reference.py, with outside programs.

    python -m venv /tmp/venv-ref && /tmp/venv-ref/bin/pip install psfmodels==0.3.3 pyotf==0.0.3
    /tmp/venv-ref/bin/python tests/optics/reference/make.py

psfmodels is GPL: its values are compared with, it is no dependency and none of its code is here. It computes the model
of Gibson and Lanni, and interpolates along the radius, hence the fine grid of which every seventh pixel is kept. Its z
counts from paraxial focus: z - depth + depth * index_immersion / index_sample is the objective's way. pyotf computes
the scalar model of Hanser et al. 2004 by a Fourier transform of a pupil on a grid.
Every array is [Z, Y, X], the spot at index n // 2 of y and x.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psfmodels
import pyotf.otf

Z_UM = np.linspace(-1.5, 1.5, 7)
MATCHED = {
    "NA": 1.4,
    "ng0": 1.515,
    "ng": 1.515,
    "ni0": 1.515,
    "ni": 1.515,
    "ns": 1.515,
    "ti0": 150,
    "tg": 170,
    "tg0": 170,
}
CASES = {
    # name: (parameters, depth in um, wavelength in um, positions of the objective)
    "matched": ({}, 0.0, 0.52, Z_UM),
    "deep_in_glycerol": ({"ns": 1.45}, 5.0, 0.52, Z_UM + 5.2),
    "water_lens_in_cells": (
        {"NA": 1.15, "ni0": 1.33, "ni": 1.33, "ng0": 1.5, "ng": 1.5, "ns": 1.38}, 8.0, 0.6, Z_UM + 8,
    ),
    "dry_lens_wrong_coverslip": (
        {"NA": 0.75, "ni0": 1.0, "ni": 1.0, "ns": 1.33, "ti0": 600, "tg": 200}, 2.0, 0.6, 4 * Z_UM + 1.5,
    ),
    "wrong_oil": ({"ni": 1.518, "ns": 1.45}, 1.0, 0.52, Z_UM + 1),
}  # fmt: skip


def main() -> None:
    arrays = {}
    for name, (changes, depth_um, wavelength_um, z_um) in CASES.items():
        parameters = {**MATCHED, **changes, "sf": 1}
        psf = psfmodels.scalar_psf(z_um, 7 * 31, 0.05 / 7, depth_um, wavelength_um, parameters, normalize=False)
        psf = psf[:, 3::7, 3::7]
        arrays[f"psfmodels_{name}"] = psf.astype(np.float32)
        arrays[f"z_um_{name}"] = z_um
    pupil = pyotf.otf.HanserPSF(wl=520.0, na=1.4, ni=1.515, res=50.0, size=511, zrange=1e3 * Z_UM, condition="none")
    planes = pupil.PSFi / pupil.PSFi.sum((1, 2), keepdims=True)
    arrays["pyotf_matched"] = planes[:, 240:271, 240:271].astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("point_spread_functions.npz"), **arrays)


if __name__ == "__main__":
    main()
