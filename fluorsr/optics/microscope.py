"""The microscope: what its light passes through, as the models of this package need it.

    emitter in the sample | coverslip | immersion | objective          light travels to the right
       index_sample         coverslip_um              numerical_aperture
       depth_um -->|        index_coverslip | working_distance_um, index_immersion

An objective is corrected for its design values only. Where the real ones differ, a point looks blurred (Gibson and
Lanni 1991); the defaults are the design values with a matched sample.
"""

from __future__ import annotations

import pydantic


class Microscope(pydantic.BaseModel):
    """The imaging system, checked as a whole. Lengths are in sample space.

    numerical_aperture       of the objective, below the indices of immersion and coverslip
    emission_nm              vacuum wavelength of the detected light
    excitation_nm            of the exciting light; depletion_nm  of the light that a STED microscope depletes with
    index_*                  refractive indices; index_*_design  those that the objective was made for
    coverslip_um             thickness of the coverslip, coverslip_design_um  the one the objective was made for
    working_distance_um      thickness of the immersion at the design values
    pinhole_airy_units       diameter of the confocal pinhole over 1.22 emission / NA; 0 closed, inf open
    saturation               peak of the depleting light over that which halves the fluorescence; 0 is no STED
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    numerical_aperture: float = pydantic.Field(default=1.4, gt=0, lt=2)
    emission_nm: float = pydantic.Field(default=520.0, ge=200, le=2000)
    excitation_nm: float = pydantic.Field(default=488.0, ge=200, le=2000)
    depletion_nm: float = pydantic.Field(default=592.0, ge=200, le=2000)
    index_sample: float = pydantic.Field(default=1.515, ge=1, lt=2)
    index_coverslip: float = pydantic.Field(default=1.515, ge=1, lt=2)
    index_coverslip_design: float = pydantic.Field(default=1.515, ge=1, lt=2)
    index_immersion: float = pydantic.Field(default=1.515, ge=1, lt=2)
    index_immersion_design: float = pydantic.Field(default=1.515, ge=1, lt=2)
    coverslip_um: float = pydantic.Field(default=170.0, ge=0, le=2000)
    coverslip_design_um: float = pydantic.Field(default=170.0, ge=0, le=2000)
    working_distance_um: float = pydantic.Field(default=150.0, ge=0, le=20000)
    pinhole_airy_units: float = pydantic.Field(default=1.0, ge=0)
    saturation: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Microscope:
        names = ("index_immersion", "index_immersion_design", "index_coverslip", "index_coverslip_design")
        name = min(names, key=lambda each: getattr(self, each))
        if self.numerical_aperture >= getattr(self, name):
            raise ValueError(
                f"numerical_aperture {self.numerical_aperture} must be below {name} {getattr(self, name)}: "
                "no light enters at a steeper angle; lower the one or raise the other"
            )
        if self.excitation_nm > self.emission_nm:
            raise ValueError(
                f"excitation_nm {self.excitation_nm} must not exceed emission_nm {self.emission_nm}; are they swapped?"
            )
        return self

    @property
    def aperture(self) -> float:
        """The aperture in use: light that is steeper than the sample's index allows is not counted.

        Emitters that touch the coverslip do send light there; give them index_sample = index_immersion.
        """
        return min(self.numerical_aperture, self.index_sample)

    @property
    def airy_unit_um(self) -> float:
        """Diameter of the Airy disc of the emission, first zero to first zero: 1.22 emission / NA."""
        return 1.22e-3 * self.emission_nm / self.aperture
