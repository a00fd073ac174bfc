"""What a comparison found: plain facts, kept as JSON, from which every table and report is made.

Comparison
  methods    what was compared, and what it costs
  cases      what it was compared on
  scores     case x method -> metric -> figure
  summaries  group x method x metric -> mean and its interval        group ALL is every case
  tests      metric x two methods -> difference and its probability by chance
  pictures   case x method -> a file beside the JSON
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.io.disk import write_json

FORMAT = "fluorsr-comparison-1"
ALL = "all"
"""The group that every case is in."""

INPUT, TARGET = "input", "target"
"""Names of the two pictures of a case that no method made."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric as tables need it: its key, heading, digits after the point, and which direction is better.

    higher_is_better   None where neither is: "light", the restored light over the truth's, is best at 1
    """

    name: str
    heading: str
    digits: int
    higher_is_better: bool | None


@dataclass(frozen=True)
class Method:
    """One of the restorers.

    kind                "model" or "baseline";  source  the file or shipped name of a model, with its SHA-256
    scale               of the restorer itself; it may be above that of the data, and is then binned to their pixels
    seconds_per_mp      wall time per million input pixels, the median over the cases; None where not measured
    memory_mib_per_mp   peak memory above what was there before, per million input pixels; None where not measured
    notes               how it was set up, and what is odd about it
    """

    name: str
    kind: str
    scale: int
    device: str = "cpu"
    precision: str = "fp32"
    source: str = ""
    sha256: str = ""
    pixel_size_um: float | None = None
    structures: tuple[str, ...] = ()
    seconds_per_mp: float | None = None
    memory_mib_per_mp: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseInfo:
    """One image with its truth.

    group           cases of one group share a table, as in "microtubules, dim"
    structure       or "" where it is not known;  fov  the field of view: cases that share it are not independent
    input_shape     [frames, Y, X];  target_shape [sY, sX];  pixel sizes None where not known
    data_range      the target's largest value minus its smallest, cropped, in its own counts
    """

    name: str
    group: str
    structure: str
    fov: str
    input_shape: tuple[int, int, int]
    target_shape: tuple[int, int]
    input_pixel_size_um: float | None
    pixel_size_um: float | None
    data_range: float


@dataclass(frozen=True)
class Score:
    """Metric -> figure of one method on one case."""

    case: str
    method: str
    values: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """The mean over a group's cases and its bootstrap 95 % interval (low, high); NaN for an interval of one case."""

    group: str
    method: str
    metric: str
    cases: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Whether two methods differ, case by case, over all cases.

    difference      mean of first minus second, and its bootstrap 95 % interval; of a resolution, in its own unit
    p               two-sided, Wilcoxon's signed-rank test, exact;  p_holm  corrected for all tests of this metric
    better          the name of the better one where p_holm < 0.05, else ""
    """

    metric: str
    first: str
    second: str
    cases: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    better: str


@dataclass(frozen=True)
class Caution:
    """Something that makes the figures less than they seem. case and method are "" where all are meant."""

    rule: str
    message: str
    case: str = ""
    method: str = ""


@dataclass(frozen=True)
class Picture:
    """A float32 OME-TIFF of one case, in counts as the metrics saw it before the intensity was fitted.

    method   a method's name, INPUT (the mean of its frames, its own pixels) or TARGET
    path     relative to the folder of the JSON
    """

    case: str
    method: str
    path: str


@dataclass(frozen=True)
class Protocol:
    """How the images were brought to what the metrics saw.

    intensity   one of fluorsr.metrics.fit.INTENSITIES;  crop_px  taken off each edge, in target pixels
    faults      what is wrong with this setting, in words; empty for the usual one
    """

    name: str
    description: str
    intensity: str
    crop_px: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison found; see the drawing above.

    data       what was asked for: a folder, or simulated:...;  rank  the metric the methods are ordered by, best first
    created    UTC, ISO 8601;  machine and version  where, and by which fluorsr
    """

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings", extra="forbid")

    data: str
    rank: str
    protocol: Protocol
    metrics: tuple[MetricInfo, ...]
    methods: tuple[Method, ...]
    cases: tuple[CaseInfo, ...]
    scores: tuple[Score, ...]
    summaries: tuple[Summary, ...]
    tests: tuple[PairedTest, ...]
    warnings: tuple[Caution, ...] = ()
    pictures: tuple[Picture, ...] = ()
    created: str = ""
    machine: str = ""
    version: str = ""
    format: str = FORMAT

    @property
    def groups(self) -> tuple[str, ...]:
        """ALL, then the groups in the order in which their first case comes."""
        return (ALL, *dict.fromkeys(case.group for case in self.cases))

    def metric(self, name: str) -> MetricInfo:
        """Raises InputError where it was not taken."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise InputError(f"this comparison has no metric {name!r}; it has {', '.join(m.name for m in self.metrics)}")

    def summary(self, group: str, method: str, metric: str) -> Summary:
        """Raises InputError where there is none."""
        for one in self.summaries:
            if (one.group, one.method, one.metric) == (group, method, metric):
                return one
        raise InputError(f"this comparison has no {metric} of {method!r} over {group!r}")

    def value(self, case: str, method: str, metric: str) -> float:
        """One figure. Raises InputError where there is none."""
        for one in self.scores:
            if (one.case, one.method) == (case, method) and metric in one.values:
                return one.values[metric]
        raise InputError(f"this comparison has no {metric} of {method!r} on {case!r}")

    def ranked(self, group: str = ALL) -> tuple[Method, ...]:
        """The methods, best first by the mean of the metric they are ranked by; NaN last."""
        sign = -1.0 if self.metric(self.rank).higher_is_better else 1.0

        def key(method: Method) -> tuple[bool, float]:
            mean = self.summary(group, method.name, self.rank).mean
            return math.isnan(mean), sign * mean

        return tuple(sorted(self.methods, key=key))

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values; what is not finite is a string, "NaN", "Infinity" or "-Infinity"."""
        values: dict[str, Any] = json.loads(_ADAPTER.dump_json(self))
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Comparison:
        """Rebuild from `to_json`'s dict. Raises FormatError where it is not one."""
        if values.get("format") != FORMAT:
            raise FormatError(
                f"this is no comparison that this fluorsr reads (format {values.get('format')!r}, not {FORMAT!r}); "
                "make it anew with fluorsr compare"
            )
        try:
            return _ADAPTER.validate_json(json.dumps(values))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
            raise FormatError(f"this comparison is damaged: {faults}; make it anew with fluorsr compare") from error

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises StorageError."""
        write_json(path, self.to_json())


_ADAPTER = TypeAdapter(Comparison)


def read_comparison(path: str | Path) -> Comparison:
    """Read what `Comparison.save` wrote. Raises NotFoundError, FormatError."""
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist; fluorsr compare writes a comparison.json into its --out folder")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path} is not JSON: {error}; make it anew with fluorsr compare") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path} holds a {type(values).__name__}, not a comparison; make it anew")
    return Comparison.from_json(values)
