"""What the checks of a set of pairs found: all of it, told at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fluorsr.data.pairs import Pair
from fluorsr.data.registration import Shift
from fluorsr.data.sharpness import Sharpness
from fluorsr.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One fault, or one warning, of one pair.

    pair     its name;  files   those at fault
    rule     one word, as in "missing", "swapped", "shifted";  fault   False for a warning
    message  the rule, the value that broke it, and what to do
    """

    pair: str
    files: tuple[Path, ...]
    rule: str
    fault: bool
    message: str


@dataclass(frozen=True)
class Measured:
    """What was measured on one pair.

    saturated   share of the pixels at the detector's upper end, input and target
    shift       of the target against the input, in input pixels; None where an image has nothing to register
    sharpness   None likewise
    """

    pair: Pair
    saturated: tuple[float, float]
    shift: Shift | None
    sharpness: Sharpness | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        pair, shift, sharp = self.pair, self.shift, self.sharpness
        um = shift.um(pair.pixel_size_um) if shift and pair.pixel_size_um else None
        return {
            "name": pair.name,
            "split": pair.split,
            "fov": pair.fov,
            "input": str(pair.input_path),
            "target": str(pair.target_path),
            "scale": pair.scale,
            "frames": pair.frames,
            "size": list(pair.size),
            "dtypes": [pair.input.dtype.name, pair.target.dtype.name],
            "pixel_size_um": pair.pixel_size_um,
            "saturated": list(self.saturated),
            "shift_px": [shift.y, shift.x] if shift else None,
            "shift_um": list(um) if um else None,
            "shift_error_px": shift.error if shift and math.isfinite(shift.error) else None,
            "agreement": shift.agreement if shift else None,
            "sharper": sharp.verdict if sharp else None,
            "input_blurrier_by_px": sharp.blur_px if sharp else None,
        }


@dataclass(frozen=True)
class Report:
    """All findings about the set at `path`, in the order of its pairs, and what was measured on those that open."""

    path: Path
    listed: int
    findings: tuple[Finding, ...]
    measured: tuple[Measured, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.fault)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.fault)

    @property
    def shifts(self) -> Mapping[str, Shift]:
        """Pair -> its shift, where one was measured."""
        return {one.pair.name: one.shift for one in self.measured if one.shift is not None}

    def raise_if_faulty(self) -> None:
        """Raise one InputError that names every file at fault; nothing happens where there is none."""
        if self.faults:
            pairs = len({finding.pair for finding in self.faults})
            lines = [f"[{finding.rule}] {finding.message}" for finding in self.faults]
            raise InputError(f"{self.path}: {pairs} of {self.listed} pairs cannot be used:\n  " + "\n  ".join(lines))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        findings = [asdict(finding) | {"files": [str(file) for file in finding.files]} for finding in self.findings]
        return {
            "path": str(self.path),
            "pairs": self.listed,
            "usable": not self.faults,
            "findings": findings,
            "measured": [one.to_json() for one in self.measured],
        }
