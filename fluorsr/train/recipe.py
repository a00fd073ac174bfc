"""A recipe: everything that decides what a training run does, as one checked YAML file.

It may leave anything out but name and architecture. Shipped ones are in fluorsr/train/recipes and are found by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml

from fluorsr.data.augment import Augmentation, SimFrames
from fluorsr.data.simulate import SimulationConfig
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.losses import combined
from fluorsr.metrics.registry import METRICS
from fluorsr.models.architectures import ARCHITECTURES
from fluorsr.train.objectives import OBJECTIVES, USUAL
from fluorsr.train.objectives.base import Objective, Setup
from fluorsr.train.optimiser import Kind
from fluorsr.train.schedule import Budget, Schedule

ADJUSTABLE = ("steps", "minutes", "learning_rate", "clip", "precision", "patience", "validate_every", "log_every")
"""What a resumed run may change."""


class PairsConfig(pydantic.BaseModel):
    """Real pairs to train on.

    pairs      a folder or a .csv list, as `fluorsr data check` takes it; split by field of view where it is not split
    val        share of the fields of view that is kept for validation then
    uniform    share of the patches drawn without looking for something to see
    noise      largest standard deviation of white noise added to the input, in ranges of the image
    angles_deg, phases   the order of raw SIM frames; no angles where the inputs are none
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    pairs: str
    val: float = pydantic.Field(default=0.2, gt=0, lt=1)
    uniform: float = pydantic.Field(default=0.2, ge=0, le=1)
    noise: float = pydantic.Field(default=0.0, ge=0)
    angles_deg: tuple[float, ...] = ()
    phases: int = pydantic.Field(default=1, ge=1)

    def augmentation(self, jitter: float) -> Augmentation:
        """How its patches are varied; `jitter` as in the recipe."""
        frames = SimFrames(self.angles_deg, self.phases) if self.angles_deg else None
        return Augmentation(frames, gain=jitter, offset=jitter / 7, noise=self.noise)


def _kind(data: Any) -> str:
    return "pairs" if isinstance(data, PairsConfig) or (isinstance(data, dict) and "pairs" in data) else "simulated"


TAGS = ("simulated", "pairs", "named", "drops")
"""Names of the alternatives of `data` and `schedule`, of which users know nothing."""

Data = Annotated[
    Annotated[SimulationConfig, pydantic.Tag("simulated")] | Annotated[PairsConfig, pydantic.Tag("pairs")],
    pydantic.Discriminator(_kind),
]


class Recipe(pydantic.BaseModel):
    """What to train, on what, and how.

    name, architecture, model   of the network; `model` holds its configuration
    objective, options          how it learns, the architecture's usual way where none is named; `options` are its own
    init                        a shipped model or a weights file to start from: fine-tuning
    data                        what is simulated, or {pairs: DIR}
    modality                    what the model is for, in words; it goes into the model's spec
    steps, minutes              length; the one reached first ends the run, and the learning rate follows it
    batch, patch                patches a step and process, and their side in input pixels
    accumulate                  pieces that a batch is cut into where memory is short
    pool, refresh               simulated fields held in memory, and how many are replaced per step
    loss                        a name, or names and their weights: {l1: 1, mse: 5}
    optimiser                   adam, or muon for the kernels between feature maps; see fluorsr.train.optimiser
    learning_rate, schedule     its peak after `warmup` steps; cosine, constant, or {at: [0.5], factor: 0.1}
    betas, clip, ema            of Adam;  largest norm of the gradient;  decay of the averaged weights
    precision                   of the convolutions; weights are float32 in either
    jitter                      of the intensities' range: standard deviation of its logarithm
    validate_every, log_every   steps between validations (each with a checkpoint), and between lines of the log
    watch, patience             the figure that tells the best state, null to ship the last one; the run ends early
                                after `patience` validations without a gain
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    architecture: str
    model: dict[str, Any] = {}
    objective: str = ""
    options: dict[str, Any] = {}
    init: str | None = None
    data: Data = SimulationConfig()
    modality: str = ""
    seed: int = pydantic.Field(default=1, ge=0, lt=2**31)
    steps: int = pydantic.Field(default=10_000, ge=1)
    minutes: float | None = pydantic.Field(default=None, gt=0)
    batch: int = pydantic.Field(default=16, ge=1)
    patch: int = pydantic.Field(default=64, ge=8)
    accumulate: int = pydantic.Field(default=1, ge=1)
    pool: int = pydantic.Field(default=48, ge=1)
    refresh: float = pydantic.Field(default=0.5, gt=0)
    loss: str | dict[str, float] = "l1"
    optimiser: Kind = "adam"
    learning_rate: float = pydantic.Field(default=5e-4, gt=0)
    schedule: Schedule = "cosine"
    warmup: int = pydantic.Field(default=200, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = pydantic.Field(default=1.0, gt=0)
    ema: float = pydantic.Field(default=0.998, ge=0, lt=1)
    precision: Literal["bf16", "fp32"] = "fp32"
    percentiles: tuple[float, float] = (0.1, 99.9)
    jitter: float = pydantic.Field(default=0.3, ge=0, le=1)
    validate_every: int = pydantic.Field(default=500, ge=1)
    log_every: int = pydantic.Field(default=50, ge=1)
    watch: str | None = "psnr"
    patience: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Recipe:
        """Collect the faults that concern several entries, so that they are told together."""
        size = self.data.size_px if isinstance(self.data, SimulationConfig) else self.patch
        rules = (
            (self.patch <= size, f"patch {self.patch} must fit the field of data.size_px {size}"),
            (self.accumulate <= self.batch, f"accumulate {self.accumulate} must be at most batch {self.batch}"),
            (
                0 <= self.percentiles[0] < self.percentiles[1] <= 100,
                f"percentiles {self.percentiles} must rise and lie in 0 to 100",
            ),
            (all(0 <= beta < 1 for beta in self.betas), f"betas {self.betas} must be at least 0 and below 1"),
            (
                self.watch is None or self.watch in METRICS,
                f"watch {self.watch!r} must be one of {', '.join(METRICS)}, or null",
            ),
            (
                self.patience is None or self.watch is not None,
                f"patience {self.patience} needs a figure to watch; set watch: psnr",
            ),
        )
        faults = [message for holds, message in rules if not holds]
        found = _sections(self.architecture, self.model, self.objective, self.options)
        faults += found
        scale = getattr(self.data, "scale", None)
        if not found and scale not in (None, self.scale):
            faults.append(f"model.scale {self.scale} must equal data.scale {scale}")
        try:
            combined(self.losses)
            if isinstance(self.data, PairsConfig):
                self.data.augmentation(self.jitter)
        except InputError as error:
            faults.append(str(error))
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    @property
    def losses(self) -> dict[str, float]:
        """Name -> weight of each part of the loss."""
        return {self.loss: 1.0} if isinstance(self.loss, str) else self.loss

    @property
    def scale(self) -> int:
        """Output pixels per input pixel of the network."""
        return int(getattr(ARCHITECTURES[self.architecture][1](**self.model), "scale", 1))

    @property
    def budget(self) -> Budget:
        """Its length and the course of its learning rate."""
        return Budget(self.steps, self.minutes, self.warmup, self.schedule)

    def make_objective(self, setup: Setup) -> Objective:
        """What trains `setup.network` as this recipe says."""
        objective, options = OBJECTIVES[_chosen(self.architecture, self.objective)]
        return objective(setup, options(**self.options))


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every shipped recipe."""
    folder = Path(str(resources.files("fluorsr.train"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_recipe(recipe: str | Path, changes: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe, a shipped one's name or a file; `changes` maps dotted names ("data.photons") to values.

    Raises NotFoundError, FormatError (not YAML) or InputError (all faults in one message).
    """
    path = shipped_recipes().get(str(recipe), Path(recipe))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        known = difflib.get_close_matches(str(recipe), shipped_recipes(), n=len(shipped_recipes()), cutoff=0.0)
        raise NotFoundError(f"there is no recipe {recipe}; the shipped ones are {', '.join(known)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path} is not a recipe: it must map names to values")
    for name, value in (changes or {}).items():
        *outer, last = name.split(".")
        inner = values
        for key in outer:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise InputError(f"cannot set {name}: {key} is a value, not a section")
        inner[last] = value
    try:
        return Recipe(**values)
    except pydantic.ValidationError as error:
        faults = _faults(error, Recipe)
        if any(fault["loc"] for fault in error.errors()):  # pydantic has not come to what concerns several entries
            faults += _sections(*(values.get(name) for name in ("architecture", "model", "objective", "options")))
        raise InputError(f"{path} has faults:\n  " + "\n  ".join(faults)) from error


def _chosen(architecture: Any, objective: Any) -> str:
    return str(objective or USUAL.get(architecture, "regression"))


def _sections(architecture: Any, model: Any, objective: Any, options: Any) -> list[str]:
    """The faults of the sections `model` and `options`, whose entries others define."""
    faults = []
    for what, name, kinds, where, values in (
        ("architecture", architecture, ARCHITECTURES, "model", model),
        ("objective", _chosen(architecture, objective), OBJECTIVES, "options", options),
    ):
        if name not in kinds:
            faults.append(f"{what} {name!r} must be one of {', '.join(kinds)}")
            continue
        kind = kinds[name][1]
        try:
            kind(**(values or {}))
        except pydantic.ValidationError as error:
            faults += [f"{where}.{fault}" for fault in _faults(error, kind)]
    return faults


def _faults(error: pydantic.ValidationError, kind: Any) -> list[str]:
    """One line a fault: where it is, what is wrong, and the name that may have been meant."""
    lines = []
    for fault in error.errors():
        where = [str(part) for at, part in enumerate(fault["loc"]) if at != 1 or part not in TAGS]
        message = str(fault["msg"]).removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            names = _names(kind, where[:-1])
            close = difflib.get_close_matches(where[-1], names, 1)
            known = f"it must be one of {', '.join(names)}" if names else "it has no entries"
            message = f"there is no such entry; did you mean {close[0]}?" if close else known
        elif where:
            message += f", not {fault['input']!r}" if not isinstance(fault["input"], dict) else ""
        lines.append(": ".join(filter(None, (".".join(where), message))))
    return lines


def _names(kind: Any, where: list[str]) -> list[str]:
    """The names that a section may hold."""
    models = [kind]
    for key in where:
        models = [
            one for model in models if key in model.model_fields for one in _models(model.model_fields[key].annotation)
        ]
    return [name for model in models for name in model.model_fields]


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """Every pydantic model within a type."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
