"""Numbers that were drawn -> the instruments of fluorsr.optics that they describe. Names as in SimulationConfig."""

from __future__ import annotations

from collections.abc import Mapping

from fluorsr.optics.detector import Detector
from fluorsr.optics.illumination import SimIllumination, even_directions
from fluorsr.optics.microscope import Microscope

DEPLETION = 1.25
"""Depleting over emitted wavelength: 660 nm to 530, 775 to 620."""

ANGLES = 3


def microscope_of(drawn: Mapping[str, float], index_immersion: float) -> Microscope:
    """The imaging system."""
    return Microscope(
        numerical_aperture=drawn["numerical_aperture"],
        emission_nm=drawn["emission_nm"],
        excitation_nm=drawn["emission_nm"] - drawn["stokes_nm"],
        depletion_nm=min(DEPLETION * drawn["emission_nm"], 2000.0),
        index_immersion=index_immersion,
        index_immersion_design=index_immersion,
        index_sample=drawn["index_sample"],
        pinhole_airy_units=drawn["pinhole_airy_units"],
    )


def detector_of(drawn: Mapping[str, float]) -> Detector:
    """The camera, or the counter of a scanner."""
    names = ("quantum_efficiency", "gain", "offset", "read_noise", "read_noise_spread", "gain_spread", "offset_spread")
    return Detector.model_validate({name: drawn[name] for name in names})


def illumination_of(
    drawn: Mapping[str, float],
    beams: int,
    directions_rad: tuple[float, ...] | None,
    first_phases_rad: tuple[float, ...],
) -> SimIllumination:
    """The stripes of a series of three beams (3 x 5 frames) or two (3 x 3)."""
    return SimIllumination(
        directions_rad=directions_rad or even_directions(ANGLES, drawn["first_direction_rad"]),
        phases=3 if beams == 2 else 5,
        period_um=drawn["period_um"],
        modulation=(drawn["modulation"], drawn["second_modulation"])[: beams - 1],
        modulation_loss=drawn["modulation_loss"],
        first_phases_rad=first_phases_rad,
        angle_error_rad=drawn["angle_error_rad"],
        phase_error_rad=drawn["phase_error_rad"],
        drift_um=drawn["drift_um"],
        wavelength_nm=drawn["emission_nm"] - drawn["stokes_nm"],
        index_sample=drawn["index_sample"],
    )
