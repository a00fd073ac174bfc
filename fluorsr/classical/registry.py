"""The classical methods by name, as `--model` takes them, and the options of each.

A method is its frozen, checked options; `make` builds the Restorer for images of a pixel size.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from typing import Any

import pydantic

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_stripes import Stripes, settled
from fluorsr.classical.wiener_sim import WienerOptions, WienerSim
from fluorsr.errors import InputError
from fluorsr.optics.microscope import Microscope
from fluorsr.restorer import MAX_SCALE, Restorer

REACH_UM = 2.0
"""Context that Wiener SIM is given around a tile: its answer to a point falls off as 1 / distance^3."""


class Method(pydantic.BaseModel, ABC):
    """Options of a classical method."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def make(self, pixel_size_um: float | None) -> Restorer:
        """The Restorer for images of that pixel size. Raises InputError where it must be known and is not."""

    def digest(self, name: str) -> str:
        """A hash of name and options, as a weights file has one."""
        return hashlib.sha256(json.dumps([name, self.model_dump(mode="json")]).encode()).hexdigest()


class BicubicMethod(Method):
    """Interpolation; `scale` output pixels per input pixel."""

    scale: int = pydantic.Field(default=2, ge=1, le=MAX_SCALE)

    def make(self, pixel_size_um: float | None) -> Restorer:
        """See Method."""
        return Bicubic(self.scale)


class RichardsonLucyMethod(Method):
    """Deconvolution with a Gaussian spot of width `fwhm_nm`, or of `fwhm_px` input pixels where that is given."""

    fwhm_nm: float = pydantic.Field(default=280.0, gt=0)
    fwhm_px: float | None = pydantic.Field(default=None, gt=0)
    iterations: int = pydantic.Field(default=10, ge=1, le=1000)
    scale: int = pydantic.Field(default=2, ge=1, le=MAX_SCALE)

    def make(self, pixel_size_um: float | None) -> Restorer:
        """See Method."""
        if self.fwhm_px is None and pixel_size_um is None:
            raise InputError(
                f"the image does not tell its pixel size, so a spot of {self.fwhm_nm:g} nm has no width in pixels; "
                "give --set fwhm_px=..."
            )
        width = self.fwhm_px if self.fwhm_px is not None else self.fwhm_nm / 1000 / (pixel_size_um or math.nan)
        return RichardsonLucy(width, self.iterations, self.scale)


class WienerSimMethod(Method):
    """Structured illumination after Gustafsson: what the microscope and its series are, and how orders are joined.

    angles, phases, beams    of a series
    numerical_aperture, emission_nm, damping   see SimOptics
    pixel_size_nm            of the camera, in place of what the image tells
    period_nm                (least, most) of the first order, to narrow the search
    stripes                  a file of `fluorsr info --save-stripes`, whose vectors are taken: for dark frames
    wiener to notch_width    see WienerOptions
    """

    angles: int = pydantic.Field(default=3, ge=2, le=16)
    phases: int = pydantic.Field(default=5, ge=3, le=32)
    beams: int = pydantic.Field(default=3, ge=2, le=3)
    numerical_aperture: float = 1.4
    emission_nm: float = 520.0
    damping: float = pydantic.Field(default=0.3, gt=0, le=1)
    pixel_size_nm: float | None = pydantic.Field(default=None, gt=0)
    period_nm: tuple[float, float] | None = None
    stripes: Stripes | None = None
    wiener: float | None = pydantic.Field(default=None, gt=0)
    wiener_factor: float = pydantic.Field(default=2.0, gt=0)
    apodisation: float = pydantic.Field(default=0.7, ge=0, le=4)
    attenuation: float = pydantic.Field(default=1.0, ge=0, le=1)
    attenuation_width: float = pydantic.Field(default=0.6, gt=0)
    notch: float = pydantic.Field(default=0.0, ge=0, le=1)
    notch_width: float = pydantic.Field(default=0.1, gt=0)

    def make(self, pixel_size_um: float | None) -> Restorer:
        """See Method."""
        size = self.pixel_size_nm / 1000 if self.pixel_size_nm is not None else pixel_size_um
        if size is None and self.stripes is not None:
            size = self.stripes.pixel_size_um
        optics = make_optics(self.numerical_aperture, self.emission_nm, size, self.damping)
        waves = None
        if self.stripes is not None:
            waves = self.stripes.vectors(
                "wiener-sim",
                angles=self.angles,
                beams=self.beams,
                pixel_size_um=optics.pixel_size_um,
                cutoff_per_um=optics.cutoff_per_um,
            )
        joined = {name: getattr(self, name) for name in WienerOptions.model_fields if name != "pad"}
        return WienerSim(
            optics,
            angles=self.angles,
            phases=self.phases,
            beams=self.beams,
            options=WienerOptions(**joined, pad=min(128, max(32, math.ceil(REACH_UM / optics.pixel_size_um)))),
            period_um=(self.period_nm[0] / 1000, self.period_nm[1] / 1000) if self.period_nm else None,
            wave_per_um=waves,
        )

    @pydantic.model_validator(mode="after")
    def _possible(self) -> WienerSimMethod:
        _microscope(self.numerical_aperture, self.emission_nm)
        return self


def make_optics(
    numerical_aperture: float, emission_nm: float, pixel_size_um: float | None, damping: float = 0.3
) -> SimOptics:
    """What is known of a SIM microscope. Raises InputError where it cannot be, or where the pixel size is not known."""
    if pixel_size_um is None:
        raise InputError(
            "the image does not tell its pixel size, and stripes are looked for by the microscope's cut-off in pixels; "
            "give it: --set pixel_size_nm=... to fluorsr infer, --pixel-size-nm to fluorsr info"
        )
    try:
        microscope = _microscope(numerical_aperture, emission_nm)
    except pydantic.ValidationError as error:
        raise InputError("; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None
    return SimOptics(microscope=microscope, pixel_size_um=pixel_size_um, damping=damping)


def _microscope(numerical_aperture: float, emission_nm: float) -> Microscope:
    usual = Microscope()
    values = {"numerical_aperture": numerical_aperture, "emission_nm": emission_nm}
    return Microscope(**{**usual.model_dump(), **values, "excitation_nm": min(usual.excitation_nm, emission_nm)})


METHODS: dict[str, type[Method]] = {
    "bicubic": BicubicMethod,
    "richardson-lucy": RichardsonLucyMethod,
    "wiener-sim": WienerSimMethod,
}


def make_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """The method of that name with these options. Raises InputError with all faults and the options there are."""
    options = settled(options)
    try:
        return METHODS[name](**(options or {}))
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'together'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        known = ", ".join(f"{option}={field.default}" for option, field in METHODS[name].model_fields.items())
        raise InputError(f"{name} cannot be set so: {faults}; its options and what they usually are: {known}") from None
