"""A recipe: everything that decides what a training run does, as one checked YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from fluorsr.data.simulate import SimulationConfig
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.losses import LOSSES
from fluorsr.models.architectures import ARCHITECTURES
from fluorsr.train.objectives import OBJECTIVES, USUAL
from fluorsr.train.objectives.base import Objective, Setup


class Recipe(pydantic.BaseModel):
    """What to train, on what, and how.

    name, architecture, model   of the network; `model` holds its configuration
    objective, options          how it learns, the architecture's usual way where none is named; `options` are its own
    loss                        a name, or names and their weights: {l1: 1, mse: 5}
    data                        what is simulated; the fields' size is in `data.size_px`
    modality                    what the model is for, in words; it goes into the model's spec
    steps, minutes              length; the one reached first ends the run, and the learning rate follows it
    batch, patch                patches a step and their side in input pixels
    pool, refresh               fields held in memory, and how many are replaced per step
    learning_rate               peak of a cosine that starts after `warmup` steps;  ema  decay of the averaged weights
    precision                   of the convolutions; weights are float32 in either
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    architecture: str
    model: dict[str, Any] = {}
    objective: str = ""
    options: dict[str, Any] = {}
    data: SimulationConfig = SimulationConfig()
    modality: str = ""
    seed: int = pydantic.Field(default=1, ge=0, lt=2**31)
    steps: int = pydantic.Field(default=10_000, ge=1)
    minutes: float | None = pydantic.Field(default=None, gt=0)
    batch: int = pydantic.Field(default=16, ge=1)
    patch: int = pydantic.Field(default=64, ge=8)
    pool: int = pydantic.Field(default=48, ge=1)
    refresh: float = pydantic.Field(default=0.5, gt=0)
    loss: str | dict[str, float] = "l1"
    learning_rate: float = pydantic.Field(default=5e-4, gt=0)
    warmup: int = pydantic.Field(default=200, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = pydantic.Field(default=1.0, gt=0)
    accumulate: int = pydantic.Field(default=1, ge=1)
    ema: float = pydantic.Field(default=0.998, ge=0, lt=1)
    precision: Literal["bf16", "fp32"] = "fp32"
    percentiles: tuple[float, float] = (0.1, 99.9)
    jitter: float = pydantic.Field(default=0.3, ge=0, le=1)
    validate_every: int = pydantic.Field(default=500, ge=1)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Recipe:
        """Collect the faults that concern several entries, so that they are told together."""
        faults = []
        for loss in self.losses:
            if loss not in LOSSES:
                faults.append(f"loss {loss!r} must be one of {', '.join(LOSSES)}")
        if self.patch > self.data.size_px:
            faults.append(f"patch {self.patch} must fit the field of data.size_px {self.data.size_px}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            faults.append(f"percentiles {self.percentiles} must rise and lie in 0 to 100")
        if self.architecture not in ARCHITECTURES:
            faults.append(f"architecture {self.architecture!r} must be one of {', '.join(ARCHITECTURES)}")
        else:
            try:
                config = ARCHITECTURES[self.architecture][1](**self.model)
                if getattr(config, "scale", self.data.scale) != self.data.scale:
                    faults.append(f"model.scale {config.scale} must equal data.scale {self.data.scale}")
            except pydantic.ValidationError as error:
                faults += [f"model.{fault}" for fault in _faults(error)]
        chosen = self.objective or USUAL.get(self.architecture, "regression")
        if chosen not in OBJECTIVES:
            faults.append(f"objective {chosen!r} must be one of {', '.join(OBJECTIVES)}")
        else:
            try:
                OBJECTIVES[chosen][1](**self.options)
            except pydantic.ValidationError as error:
                faults += [f"options.{fault}" for fault in _faults(error)]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def losses(self) -> dict[str, float]:
        """Name -> weight of each part of the loss."""
        return {self.loss: 1.0} if isinstance(self.loss, str) else self.loss

    def make_objective(self, setup: Setup) -> Objective:
        """What trains `setup.network` as this recipe says."""
        objective, options = OBJECTIVES[self.objective or USUAL.get(self.architecture, "regression")]
        return objective(setup, options(**self.options))


def read_recipe(path: str | Path, changes: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe; `changes` maps dotted names ("data.photons") to new values.

    Raises NotFoundError, FormatError (not YAML) or InputError (all faults in one message).
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"there is no recipe {path}; shipped ones are in fluorsr/train/recipes") from error
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
        raise InputError(f"{path} has faults:\n  " + "\n  ".join(_faults(error))) from error


def _faults(error: pydantic.ValidationError) -> list[str]:
    """One line a fault: where it is and what is wrong."""
    return [": ".join(filter(None, (".".join(map(str, f["loc"])), str(f["msg"])))) for f in error.errors()]
