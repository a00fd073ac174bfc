"""Objectives: each owns its networks, its optimisers and what one step does. A new one is its own file and a line here.

A recipe names its objective, or takes its architecture's; `options` in the recipe are the objective's own.
"""

from __future__ import annotations

from collections.abc import Callable

import pydantic

from fluorsr.train.objectives.adversarial import Adversarial, AdversarialOptions
from fluorsr.train.objectives.base import Objective
from fluorsr.train.objectives.diffusion import Diffusion, DiffusionOptions
from fluorsr.train.objectives.regression import Regression, RegressionOptions

OBJECTIVES: dict[str, tuple[Callable[..., Objective], type[pydantic.BaseModel]]] = {
    "adversarial": (Adversarial, AdversarialOptions),
    "diffusion": (Diffusion, DiffusionOptions),
    "regression": (Regression, RegressionOptions),
}
"""Name -> (class, made from a Setup and the options; class of its options)."""

USUAL: dict[str, str] = {
    "edsr": "regression",
    "sr3": "diffusion",
    "srgan": "adversarial",
    "unet_sim": "regression",
}
"""Architecture -> the objective that trains it where the recipe names none."""
