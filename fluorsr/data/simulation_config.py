"""What is drawn for each simulated sample: a range for every physical quantity, so that networks learn a family.

The microscopes of a set (aperture, wavelengths, pinhole, depth, target) are a family of FAMILY draws from the ranges,
shared by its samples, since to compute one takes a tenth of a second; everything else is drawn anew for each sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Literal, Self

import numpy as np
import pydantic

from fluorsr.data.instruments import ANGLES, detector_of, illumination_of, microscope_of
from fluorsr.data.structures.parameters import Amount, Positive, Range, Share, draw_one
from fluorsr.data.structures.registry import STRUCTURES

FAMILY = 32
"""Microscopes of a set."""

Modality = Literal["confocal-sted", "widefield-sted", "widefield-sim", "sim-raw"]

OF_FAMILY = (
    "numerical_aperture",
    "emission_nm",
    "stokes_nm",
    "pinhole_airy_units",
    "index_sample",
    "depth_um",
    "target_fwhm_um",
    "damping",
)
OF_SAMPLE = (
    *("density", "thickness", "focus_um", "haze", "pixel_size_um", "photons", "background", "bleaching"),
    *("jitter_px", "bidirectional_px", "quantum_efficiency", "gain", "offset", "read_noise", "read_noise_spread"),
    *("gain_spread", "offset_spread", "period_um", "first_direction_rad", "modulation", "second_modulation"),
    *("modulation_loss", "angle_error_rad", "phase_error_rad", "drift_um"),
)
"""The ranges, in the order in which they are drawn: a new one goes to the end, or every sample changes."""


class SimulationConfig(pydantic.BaseModel):
    """Ranges (low, high) of what is drawn; a single number stands for itself alone. Wide ranges are log-uniform.

    modality      what is seen and what is wanted: confocal or wide-field to STED, wide-field or raw SIM frames to SIM
    size_px       input pixels along y and x;  scale  target pixels per input pixel
    frames        15 (3 directions x 5 phases, three beams), 9 (3 x 3, two beams) or 3 (frames 0, 5 and 10 of 15)
                  for sim-raw; 1 for the others
    three_beams   of 9 frames: how often they are the first three phases of three beams, of twice the period
    structures    name -> how often

    density             of the specimen over its usual one;  thickness  stretches it along z
    focus_um            height of the specimen's middle above the focus
    haze                light of planes far out of focus, over `photons`; a confocal hardly sees it
    pixel_size_um       of the input, in the specimen;  numerical_aperture
    emission_nm         stokes_nm  by how much the excitation is shorter
    pinhole_airy_units  of a confocal; 10 and more is open
    index_sample        against an immersion of index_immersion, depth_um  behind the coverslip: aberrations
    target_fwhm_um      of a STED target's spot
    damping             of a wide-field lens at its cut-off, over the ideal one
    photons             expected in an input pixel at the 99.9th percentile of the specimen's noise-free light
    background          photons a pixel that are everywhere
    bleaching           share of the fluorophores lost from one raw frame to the next
    jitter_px           of a scanner's lines, standard deviation;  bidirectional_px  of those scanned backwards
    quantum_efficiency, gain, offset, read_noise, read_noise_spread, gain_spread, offset_spread   of the Detector
    period_um, first_direction_rad, modulation, second_modulation, modulation_loss, angle_error_rad, phase_error_rad,
    drift_um            of the SimIllumination;  directions_rad  gives all directions instead of the first
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    modality: Modality = "confocal-sted"
    size_px: int = pydantic.Field(default=128, ge=16, le=2**20)
    scale: Literal[1, 2, 4] = 2
    frames: Literal[1, 3, 9, 15] = 1
    three_beams: float = pydantic.Field(default=0.0, ge=0, le=1)
    structures: dict[str, float] = {
        "microtubules": 0.35,
        "actin": 0.2,
        "nuclei": 0.1,
        "mitochondria": 0.15,
        "vesicles": 0.2,
    }

    density: Positive = (0.5, 2.0)
    thickness: Amount = (0.5, 1.5)
    focus_um: Range = (-0.2, 0.2)
    haze: Amount = (0.0, 0.5)

    pixel_size_um: Positive = (0.054, 0.066)
    numerical_aperture: Positive = (1.1, 1.3)
    emission_nm: Positive = (590.0, 670.0)
    stokes_nm: Amount = (25.0, 45.0)
    pinhole_airy_units: Positive = (0.8, 2.0)
    index_immersion: float = pydantic.Field(default=1.515, ge=1, lt=2)
    index_sample: Positive = (1.45, 1.515)
    depth_um: Amount = (0.0, 2.0)
    target_fwhm_um: Positive = (0.11, 0.11)
    damping: Share = (0.3, 1.0)

    photons: Positive = (10.0, 1000.0)
    background: Amount = (0.2, 5.0)
    bleaching: Share = (0.0, 0.01)
    jitter_px: Amount = (0.0, 0.1)
    bidirectional_px: Range = (-0.1, 0.1)
    quantum_efficiency: Share = (0.4, 0.9)
    gain: Positive = (0.5, 8.0)
    offset: Amount = (50.0, 500.0)
    read_noise: Amount = (0.3, 3.0)
    read_noise_spread: Amount = (0.0, 0.3)
    gain_spread: Amount = (0.0, 0.01)
    offset_spread: Amount = (0.0, 1.0)

    period_um: Positive = (0.45, 0.55)
    first_direction_rad: Range = (0.0, 3.1416)
    directions_rad: tuple[float, ...] | None = None
    modulation: Share = (0.4, 0.8)
    second_modulation: Share = (0.3, 0.5)
    modulation_loss: Share = (0.0, 0.3)
    angle_error_rad: Amount = (0.0, 0.02)
    phase_error_rad: Amount = (0.0, 0.1)
    drift_um: Amount = (0.0, 0.003)

    @pydantic.field_validator("structures")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(STRUCTURES))
        if unknown or not value or min(value.values()) < 0 or sum(value.values()) <= 0:
            raise ValueError(
                f"needs weights of at least 0, not all 0, for some of {', '.join(STRUCTURES)}; got {value}"
            )
        return value

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Self:
        """Every fault that concerns several entries, told together: the corners of the ranges must be possible."""
        faults = []
        raw = self.modality == "sim-raw"
        if raw == (self.frames == 1):
            faults.append(f"frames {self.frames} must be {'15, 9 or 3' if raw else '1'} for {self.modality}")
        for name in ("quantum_efficiency", "damping"):
            if getattr(self, name)[0] <= 0:
                faults.append(f"{name} {getattr(self, name)} must start above 0")
        if self.directions_rad is not None and len(self.directions_rad) != ANGLES:
            faults.append(f"directions_rad must be {ANGLES} directions, not {len(self.directions_rad)}")
        for make in [*self._corners(), *(self._stripes() if raw and not faults else ())]:
            try:
                make()
            except pydantic.ValidationError as error:
                faults += [f"{'.'.join(map(str, e['loc']))} {_plain(e['msg'])}".strip() for e in error.errors()]
        if faults:
            raise ValueError("; ".join(dict.fromkeys(faults)))
        return self

    def _corners(self) -> list[Callable[[], object]]:
        """The most and the least of every instrument."""
        ends = [{name: getattr(self, name)[end] for name in (*OF_FAMILY, *OF_SAMPLE)} for end in (0, 1)]
        steep = ends[0] | {"numerical_aperture": self.numerical_aperture[1]}
        lenses = [partial(microscope_of, each, self.index_immersion) for each in (steep, ends[1])]
        return [*lenses, *(partial(detector_of, each) for each in ends)]

    def _stripes(self) -> list[Callable[[], object]]:
        """The finest stripes in the longest light, with every pair of contrasts."""
        least = {name: getattr(self, name)[0] for name in (*OF_FAMILY, *OF_SAMPLE)}
        least["emission_nm"] = self.emission_nm[1]
        pairs = itertools.product(self.modulation, self.second_modulation)
        corners = [least | {"modulation": first, "second_modulation": second} for first, second in pairs]
        made: list[Callable[[], object]] = [
            partial(illumination_of, each, self.beams, self.directions_rad, ()) for each in corners
        ]
        if self.three_beams and self.beams == 2:
            twice = [each | {"period_um": 2 * each["period_um"]} for each in corners]
            made += [partial(illumination_of, each, 3, self.directions_rad, ()) for each in twice]
        return made

    @property
    def beams(self) -> int:
        """That draw the stripes."""
        return 2 if self.frames == 9 else 3

    def draw_family(self, rng: np.random.Generator) -> dict[str, float]:
        """One microscope of the family."""
        return {name: draw_one(rng, getattr(self, name)) for name in OF_FAMILY}

    def draw_sample(self, rng: np.random.Generator) -> dict[str, float]:
        """What is drawn for a sample."""
        return {name: draw_one(rng, getattr(self, name)) for name in OF_SAMPLE}


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
