"""Stripes measured once, kept in a small file, and handed to recordings that are too dark or too few to show theirs.

    bright recording  --measure-->  scope.json  --> dark or few-frame recordings of the same microscope

Of the file the vectors are used. Phases, contrast and brightness, which drift from series to series, are measured in
each recording; what was measured of the bright one stands beside the vectors, to tell how good they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from torch import Tensor

from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SHORTEST, SimParameters
from fluorsr.errors import FormatError, InputError
from fluorsr.io.disk import write_json

MEASURE = "fluorsr info BRIGHT --frames-axis AXIS --save-stripes FILE measures and writes them"
SAME_SIZE = 0.01
"""Relative difference of pixel sizes that is taken for rounding."""

SAME_PERIOD, SAME_ANGLE_DEG = 1e-3, 0.1
"""By how much an angle's own period and direction may differ from its vector's: more, and the file was edited."""

Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class _Entry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class AngleStripes(_Entry):
    """The stripes of one angle.

    angle_deg, period_nm   direction against the x axis, towards y, and period of the first order
    wave_per_um            (y, x) of the first order, cycles per um: what is used
    modulation             contrast of each order; empty where phases were too few to tell it
    phases_deg             of each frame at the first pixel's corner;  phase_error_deg  their standard error
    clarity                of the stripes over what chance reaches
    """

    angle_deg: Finite
    period_nm: Positive
    wave_per_um: tuple[Finite, Finite]
    modulation: tuple[Finite, ...] = ()
    phases_deg: tuple[Finite, ...] = ()
    phase_error_deg: Finite | None = None
    clarity: Finite | None = None

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> AngleStripes:
        y, x = self.wave_per_um
        length = math.hypot(y, x)
        if length == 0:
            raise ValueError("wave_per_um is (0, 0), which is no stripes")
        period, angle = 1000 / length, math.degrees(math.atan2(y, x))
        turned = abs((angle - self.angle_deg + 180) % 360 - 180)
        if abs(period / self.period_nm - 1) > SAME_PERIOD or turned > SAME_ANGLE_DEG:
            raise ValueError(
                f"wave_per_um says {period:.1f} nm at {angle:.2f} degrees, period_nm and angle_deg say "
                f"{self.period_nm:.1f} nm at {self.angle_deg:.2f}; make them agree, or measure again"
            )
        return self


class Stripes(_Entry):
    """The stripes of a microscope, as its file holds them.

    source          the recording that they were measured in;  pixel_size_um  of its camera
    beams, phases   of that recording; those that the vectors are handed to may have fewer phases
    """

    format: Literal["fluorsr stripes 1"] = "fluorsr stripes 1"
    source: str = ""
    pixel_size_um: Positive
    beams: Literal[2, 3]
    phases: int = pydantic.Field(ge=1)
    angles: tuple[AngleStripes, ...] = pydantic.Field(min_length=2)

    @classmethod
    def measured(cls, found: SimParameters, optics: SimOptics, source: str = "") -> Stripes:
        """What was measured of a recording, rounded to what a reader can take in: vectors to 1e-6 cycles per um."""
        wave = [[round(value, 6) for value in each] for each in found.wave_per_um.tolist()]
        return cls(
            source=source,
            pixel_size_um=optics.pixel_size_um,
            beams=3 if found.modulation.shape[1] == 2 else 2,
            phases=found.phase_rad.shape[1],
            angles=tuple(
                AngleStripes(
                    angle_deg=round(float(found.angle_deg[a]), 3),
                    period_nm=round(float(found.period_nm[a]), 2),
                    wave_per_um=(wave[a][0], wave[a][1]),
                    modulation=tuple(round(m, 3) for m in found.modulation[a].tolist() if math.isfinite(m)),
                    phases_deg=tuple(round(p, 1) for p in torch.rad2deg(found.phase_rad[a]).remainder(360).tolist()),
                    phase_error_deg=round(math.degrees(float(found.phase_error_rad[a].mean())), 2),
                    clarity=round(float(found.strength[a]), 2) if bool(found.strength[a].isfinite()) else None,
                )
                for a in range(len(found.wave_per_um))
            ),
        )

    @classmethod
    def read(cls, path: str | Path) -> Stripes:
        """Read a file. Raises FormatError, with all that is wrong, where it cannot be read or is not one."""
        path = Path(path).expanduser()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FormatError(f"{path} cannot be read for its stripes: {error.strerror or error}; {MEASURE}") from error
        except ValueError as error:
            raise FormatError(f"{path} is not a file of stripes: it is not JSON ({error}); {MEASURE}") from error
        return cls.from_json(values, str(path))

    @classmethod
    def from_json(cls, values: object, name: str = "the stripes") -> Stripes:
        """Rebuild from what a file holds. Raises FormatError with everything that is wrong with it."""
        if not isinstance(values, Mapping):
            raise FormatError(f"{name} is not a file of stripes: it holds no keys and values; {MEASURE}")
        try:
            return cls.model_validate_json(json.dumps(values))
        except pydantic.ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'together'}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors()
            )
            raise FormatError(f"{name} is not a file of stripes: {faults}; {MEASURE}") from None

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values; `from_json` inverts it."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises StorageError where it cannot be written."""
        write_json(Path(path), self.to_json())

    def vectors(self, name: str, *, angles: int, beams: int, pixel_size_um: float, cutoff_per_um: float) -> Tensor:
        """The pattern vectors [A, 2] (y, x), cycles per um, for the method `name` and images that take these.

        Raises InputError, with all that does not fit, where they are another microscope's.
        """
        wave = torch.tensor([each.wave_per_um for each in self.angles], dtype=torch.float64)
        highest = (self.beams - 1) * wave.norm(dim=1)
        faults = []
        if len(wave) != angles:
            faults.append(f"they have {len(wave)} angles, and {name} takes {angles}")
        if self.beams != beams:
            faults.append(f"they are of {self.beams} beams, and {name} takes {beams}")
        if abs(pixel_size_um / self.pixel_size_um - 1) > SAME_SIZE:
            faults.append(
                f"they were measured with camera pixels of {1000 * self.pixel_size_um:.4g} nm, and these are "
                f"{1000 * pixel_size_um:.4g} nm, which differs by more than {100 * SAME_SIZE:.0f} %"
            )
        faults += [
            f"the highest order of angle {a + 1} has {float(k):.2f} cycles per um, and the microscope passes "
            f"{cutoff_per_um:.2f}"
            for a, k in enumerate(highest)
            if k > SHORTEST * cutoff_per_um
        ]
        if faults:
            raise InputError(
                f"the stripes handed over{f' ({self.source})' if self.source else ''} do not fit: {'; '.join(faults)}; "
                f"hand over those of this microscope: {MEASURE}"
            )
        return wave


def settled(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Options with the file of stripes that they name read: what a run records, and any worker can use.

    Raises FormatError where it is no such file.
    """
    if not options or options.get("stripes") is None:
        return dict(options) if options is not None else None
    given = options["stripes"]
    if not isinstance(given, Stripes):
        given = Stripes.read(given) if isinstance(given, str | Path) else Stripes.from_json(given)
    return {**options, "stripes": given.to_json()}
