"""Train a model from a recipe, from the first batch to the weights file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.data.patches import Patches, normalised
from fluorsr.data.simulate import simulate_pair
from fluorsr.errors import OutputExistsError, StorageError
from fluorsr.losses import LOSSES
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.measure import measure
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec
from fluorsr.train.loop import Budget, Progress, fit
from fluorsr.train.objectives.base import Objective, Setup
from fluorsr.train.recipe import Recipe

VALIDATION_SEED = 2**31
"""Seeds from here on are never trained on: a recipe's seed is smaller."""


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Path, Progress]:
    """Run a recipe in `folder` (log, checkpoint) and write `NAME.safetensors` there; returns its path and the end.

    An interrupted run writes its weights so far, too. Raises OutputExistsError where the folder holds a run
    that is not to be resumed, StorageError where it cannot be written.
    """
    folder = Path(folder)
    if (folder / "checkpoint.pt").exists() and not resume:
        raise OutputExistsError(f"{folder} holds a training run; resume it with --resume or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error}") from error
    tune_allocator()
    objective = prepare(recipe)
    patches = Patches(
        recipe.data,
        recipe.seed,
        recipe.batch,
        recipe.patch,
        recipe.pool,
        recipe.refresh,
        recipe.percentiles,
        recipe.jitter,
    )
    budget = Budget(recipe.steps, recipe.minutes, recipe.warmup)
    plain = recipe.model_dump(mode="json")
    end = fit(
        objective,
        patches,
        validator(recipe),
        budget,
        folder,
        recipe=plain,
        seed=recipe.seed,
        resume=resume,
        validate_every=recipe.validate_every,
        report=report,
    )
    path = folder / f"{recipe.name}.safetensors"
    save_weights(
        path,
        objective.shipped(),
        architecture=recipe.architecture,
        config=recipe.model,
        spec=measured_spec(recipe, objective),
        notes={"recipe": plain, "steps": end.step, "seconds": round(end.seconds), "validation": end.validation},
    )
    return path, end


def prepare(recipe: Recipe) -> Objective:
    """The recipe's objective around a network with fresh weights, the same for the same seed."""
    torch.manual_seed(recipe.seed)

    def loss(restored: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * LOSSES[name](restored, target) for name, weight in recipe.losses.items()]).sum()

    setup = Setup(
        build(recipe.architecture, recipe.model),
        loss,
        learning_rate=recipe.learning_rate,
        betas=recipe.betas,
        clip=recipe.clip,
        ema=recipe.ema,
        accumulate=recipe.accumulate,
        bf16=recipe.precision == "bf16",
    )
    return recipe.make_objective(setup)


def validator(recipe: Recipe) -> Callable[[Objective], dict[str, float]]:
    """PSNR in dB of a few held-out fields of each structure, the same at every call; the range is the target's."""
    # Full enough that no field is empty.
    config = recipe.data.model_copy(update={"size_px": min(160, recipe.data.size_px), "density": (2.0, 2.0)})
    margin = min(16, config.size_px // 4)
    fields = [
        (name, normalised(simulate_pair(config, VALIDATION_SEED, index, name), recipe.percentiles))
        for name in config.structures
        for index in range(3)
    ]

    def validate(objective: Objective) -> dict[str, float]:
        figures: dict[str, list[float]] = {}
        for name, (pixels, target) in fields:
            restored = objective.restore(pixels[None, None])[0, 0]
            inner = slice(margin * config.scale, -margin * config.scale)
            truth = target[inner, inner]
            error = functional.mse_loss(restored[inner, inner], truth)
            psnr = 10 * torch.log10((truth.max() - truth.min()) ** 2 / error)
            figures.setdefault(f"psnr_{name}", []).append(float(psnr))
        return {name: sum(values) / len(values) for name, values in figures.items()}

    return validate


def measured_spec(recipe: Recipe, objective: Objective) -> RestorerSpec:
    """The spec of a trained network: reach and grid as measured, the rest from the recipe."""
    reach = measure(objective.restore)
    return RestorerSpec(
        name=recipe.name,
        frames=reach.frames,
        scale=reach.scale,
        halo=reach.halo,
        multiple=reach.multiple,
        exact=reach.exact,
        percentiles=recipe.percentiles,
        pixel_size_um=recipe.data.pixel_size_um,
        modality=recipe.modality,
        structures=tuple(recipe.data.structures),
    )
