"""Values of metrics by other programs, for tests/metrics: run it where those are installed.

    python -m venv /tmp/reference && . /tmp/reference/bin/activate
    pip install torch cubic==0.8.0 nanopyx==2.1.5 && pip install --no-deps lpips==0.1.4
    python tools/reference/metrics.py tests/metrics/reference/values.json

The programs are read from, never copied: cubic (frc_resolution, dcr_curve), nanopyx (ErrorMap, DecorrAnalysis), lpips
(LPIPS with untrained weights).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from cubic.metrics.spectral.dcr import dcr_curve
from cubic.metrics.spectral.frc import frc_resolution
from images import PIXEL_NM, exposures, restored_and_input, weights
from nanopyx.core.analysis.decorr import DecorrAnalysis
from nanopyx.core.transform.error_map import ErrorMap
from trunks import stand_in_for_torchvision

RESOLUTIONS_NM = (100, 200, 300, 400, 500)
PHOTONS = 300


def resolutions() -> list[dict[str, float]]:
    """FRC by cubic, decorrelation by cubic and nanopyx, in nm."""
    rows = []
    for cutoff_nm in RESOLUTIONS_NM:
        first, second = exposures(cutoff_nm, PHOTONS)
        analysis = DecorrAnalysis(pixel_size=PIXEL_NM, units="nm")
        analysis.run_analysis(first.astype(np.float32))
        rows.append(
            {
                "cutoff_nm": cutoff_nm,
                "frc_cubic": float(frc_resolution(first, second, spacing=PIXEL_NM)),
                "decorrelation_cubic": float(dcr_curve(first, spacing=PIXEL_NM)[0]),
                "decorrelation_nanopyx": float(analysis.resolution),
            }
        )
    return rows


def squirrel() -> dict[str, float]:
    """RSP and RSE by nanopyx."""
    sharp, blurred = restored_and_input()
    error_map = ErrorMap()
    error_map.optimise(blurred.astype(np.float32), sharp.astype(np.float32))
    found = {"rsp": error_map.getRSP(), "rse": error_map.getRSE(), "sigma_px": error_map.get_sigma()}
    return {name: float(value) for name, value in found.items()}


def perceptual() -> dict[str, float]:
    """LPIPS of a grey pair in [-1, 1] by lpips, with untrained trunks and heads."""
    stand_in_for_torchvision()
    lpips = importlib.import_module("lpips")
    sharp, blurred = (torch.from_numpy(image).float() for image in restored_and_input())
    low, width = sharp.min(), sharp.max() - sharp.min()
    pair = [(2 * (image - low) / width - 1).expand(1, 3, -1, -1) for image in (blurred, sharp)]
    found = {}
    for name in ("alex", "vgg"):
        network = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
        # The slices' parameters come in the order of the layers: weights and biases by turns.
        for n, parameter in enumerate(network.net.parameters()):
            parameter.data = torch.from_numpy(weights(tuple(parameter.shape), n))
        for n, head in enumerate(network.lins):
            head.model[1].weight.data = torch.from_numpy(np.abs(weights(tuple(head.model[1].weight.shape), 100 + n)))
        with torch.no_grad():
            found[name] = float(network.double()(*(image.double() for image in pair)))
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    versions = {name: importlib.metadata.version(name) for name in ("cubic", "nanopyx", "lpips", "numpy")}
    values = {"versions": versions, "resolutions": resolutions(), "squirrel": squirrel(), "lpips": perceptual()}
    Path(sys.argv[1]).write_text(json.dumps(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
