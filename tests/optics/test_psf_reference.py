"""The wide-field spot against psfmodels and pyotf; see reference/make.py for the command that made the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fluorsr.optics.microscope import Microscope
from fluorsr.optics.widefield import widefield_psf

CASES: dict[str, tuple[dict[str, float], float]] = {
    "matched": ({}, 0.0),
    "deep_in_glycerol": ({"index_sample": 1.45}, 5.0),
    "water_lens_in_cells": (
        {
            "numerical_aperture": 1.15,
            "index_immersion": 1.33,
            "index_immersion_design": 1.33,
            "index_coverslip": 1.5,
            "index_coverslip_design": 1.5,
            "index_sample": 1.38,
            "emission_nm": 600,
        },
        8.0,
    ),
    "dry_lens_wrong_coverslip": (
        {
            "numerical_aperture": 0.75,
            "index_immersion": 1.0,
            "index_immersion_design": 1.0,
            "index_sample": 1.33,
            "working_distance_um": 600,
            "coverslip_um": 200,
            "emission_nm": 600,
        },
        2.0,
    ),
    "wrong_oil": ({"index_immersion": 1.518, "index_sample": 1.45}, 1.0),
}


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[Any]]:
    with np.load(Path(__file__).parent / "reference" / "point_spread_functions.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_psfmodels(name: str, reference: dict[str, NDArray[Any]]) -> None:
    """To 5e-4 of the peak in all planes at once, with one factor for the units."""
    settings, depth_um = CASES[name]
    microscope = Microscope(**settings)
    expected = reference[f"psfmodels_{name}"].astype(np.float64)
    shift_um = depth_um * (microscope.index_immersion / microscope.index_sample - 1)
    z_um = torch.from_numpy(reference[f"z_um_{name}"] + shift_um)
    psf = widefield_psf(microscope, (31, 31), (0.05, 0.05), z_um=z_um, depth_um=depth_um).numpy()
    expected *= (psf * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(psf, expected, atol=5e-4 * psf.max())


def test_it_agrees_with_pyotf(reference: dict[str, NDArray[Any]]) -> None:
    """To 1e-3 of the peak with no factor at all: both share out one emitter's light."""
    z_um = torch.from_numpy(reference["z_um_matched"])
    psf = widefield_psf(Microscope(), (31, 31), (0.05, 0.05), z_um=z_um).numpy()
    np.testing.assert_allclose(psf, reference["pyotf_matched"], atol=1e-3 * psf.max())
