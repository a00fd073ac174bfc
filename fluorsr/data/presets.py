"""Common set-ups by name: families of microscopes to train on, and the one in the middle of each."""

from __future__ import annotations

import math

from fluorsr.data.simulation_config import OF_FAMILY, OF_SAMPLE, SimulationConfig
from fluorsr.data.structures.parameters import is_logarithmic

_OIL_149 = {"numerical_aperture": (1.45, 1.49), "emission_nm": (520.0, 620.0), "pixel_size_um": (0.058, 0.066)}
_CAMERA = {"gain": (0.5, 8.0), "offset": (90.0, 300.0), "read_noise": (0.8, 2.5), "quantum_efficiency": (0.6, 0.95)}
_SIM = {**_OIL_149, **_CAMERA, "index_sample": (1.36, 1.515), "depth_um": (0.0, 1.0), "stokes_nm": (25.0, 50.0)}
_THREE_BEAMS = {
    "thickness": (0.05, 0.5),
    "focus_um": (-0.1, 0.1),
    "modulation": (0.75, 1.0),
    "second_modulation": (0.5, 0.66),
    "modulation_loss": (0.0, 0.15),
    "damping": (0.25, 0.8),
}
_TWO_BEAMS = {"emission_nm": (500.0, 560.0), "period_um": (0.2, 0.24), "modulation": (0.5, 0.9)}


def _make(**entries: object) -> SimulationConfig:
    return SimulationConfig.model_validate(entries)


PRESETS: dict[str, SimulationConfig] = {
    "confocal-280": SimulationConfig(),
    "confocal-sted": _make(
        numerical_aperture=(1.36, 1.42),
        emission_nm=(510.0, 660.0),
        pinhole_airy_units=(0.7, 1.2),
        target_fwhm_um=(0.06, 0.09),
        pixel_size_um=(0.045, 0.055),
    ),
    "widefield-sted": _make(
        modality="widefield-sted",
        **{**_CAMERA, "numerical_aperture": (1.36, 1.42), "emission_nm": (510.0, 660.0)},
        haze=(0.0, 0.4),
    ),
    "widefield-sim": _make(modality="widefield-sim", **_SIM, haze=(0.0, 0.4)),
    "sim-3x5": _make(modality="sim-raw", frames=15, **_SIM, **_THREE_BEAMS, haze=(0.0, 0.4)),
    "sim-3x3": _make(modality="sim-raw", frames=9, **(_SIM | _TWO_BEAMS), haze=(0.0, 0.4)),
    "sim-3": _make(modality="sim-raw", frames=3, **_SIM, **_THREE_BEAMS, haze=(0.0, 0.4)),
}
"""Name -> ranges. confocal-280 is of lower aperture (1.1 to 1.3) and spots of 220 to 300 nm, its target of 110 nm."""


def steady(config: SimulationConfig) -> SimulationConfig:
    """The same with every range replaced by its middle (the geometric one where it is drawn by its logarithm)."""
    middles = {}
    for name in (*OF_FAMILY, *OF_SAMPLE):
        low, high = getattr(config, name)
        middles[name] = math.sqrt(low * high) if is_logarithmic((low, high)) else (low + high) / 2
    return SimulationConfig.model_validate(config.model_dump() | middles)
