"""Train a model from a recipe, from the first batch to the weights file.

FOLDER/recipe.yaml, environment.json      what is run, and on what
FOLDER/metrics.jsonl, curves.png          losses, rates, waiting, metrics; tensorboard/ where that is installed
FOLDER/validation/step-0000500.png        the held-out fields by then
FOLDER/last.pt, best.pt                   checkpoints
FOLDER/NAME.safetensors                   the best state, as a model to restore with
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from fluorsr.errors import InputError, OutputExistsError
from fluorsr.losses import combined
from fluorsr.metrics.registry import METRICS
from fluorsr.models.allocator import tune_allocator
from fluorsr.models.architectures import build
from fluorsr.models.load import load_module
from fluorsr.models.reach import measure_module
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec
from fluorsr.train.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from fluorsr.train.feed import Feed, start_workers
from fluorsr.train.log import MetricsLog, make_folder, write_facts
from fluorsr.train.loop import Ended, Progress, State, Watch, fit, interruptible
from fluorsr.train.objectives.base import Objective, Setup
from fluorsr.train.recipe import ADJUSTABLE, Recipe
from fluorsr.train.sources import Source, open_source
from fluorsr.train.validation import Validation, draw_log


@dataclass(frozen=True)
class Trained:
    """How a run ended: the weights file, where the run stood, and why it ended there."""

    weights: Path
    state: State
    ended: Ended


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    workers: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    tell: Callable[[str], None] = lambda note: None,
) -> Trained:
    """Run a recipe in `folder` and write `NAME.safetensors` there; an interrupted run writes its weights so far, too.

    workers   processes that make training data; half of the CPUs where None, 0 for none
    report    called after every step;  tell  called with warnings about the data

    Under `accelerate launch` every process calls this. Raises OutputExistsError where the folder holds a run that is
    not to be resumed, InputError for data that do not fit, ModelError where the loss stays NaN, StorageError.
    """
    folder, accelerator = Path(folder), Accelerator(mixed_precision="no")
    main, plain = accelerator.is_main_process, recipe.model_dump(mode="json")
    if (folder / LAST).exists() and not resume:
        raise OutputExistsError(f"{folder} holds a training run; resume it with --resume or choose another folder")
    kept = _checkpoint(folder, plain) if resume else None
    make_folder(folder)
    tune_allocator()
    with ExitStack() as stack:
        stopped = stack.enter_context(interruptible())
        executor = start_workers(workers)
        if executor:
            stack.callback(executor.shutdown, cancel_futures=True)
        source = open_source(recipe, (accelerator.process_index, accelerator.num_processes), executor)
        objective, state = prepare(recipe, accelerator), State()
        _try_out(objective, source, recipe)
        if kept:
            objective.load_state_dict(kept["objective"])
            state = State(**kept["state"])
        feed = Feed(source.batches, state.step)
        stack.callback(feed.close)
        accelerator.wait_for_everyone()
        outputs: dict[str, Any] = {}
        if main:
            for note in source.notes:
                tell(note)
            write_facts(folder, plain, accelerator)
            validation, log = Validation(source.fields, objective.restore, folder), MetricsLog(folder, state.step)
            stack.callback(log.close)

            def save(best: bool) -> None:
                whole = {"objective": objective.state_dict(), "state": asdict(state), "recipe": plain}
                if best and recipe.watch:
                    save_checkpoint(folder / BEST, whole)
                save_checkpoint(folder / LAST, whole)
                validation.draw()
                draw_log(log.lines, folder)

            outputs = {"validate": validation, "save": save, "log": log}
        figure = METRICS.get(recipe.watch or "")
        ended = fit(
            objective,
            feed,
            recipe.budget,
            state,
            accelerator=accelerator,
            seed=recipe.seed,
            report=report,
            watch=Watch(recipe.watch, figure.higher_is_better if figure else True, recipe.patience),
            validate_every=recipe.validate_every,
            log_every=recipe.log_every,
            stopped=stopped,
            **outputs,
        )
        path = folder / f"{recipe.name}.safetensors"
        if main:
            if (folder / BEST).exists() and state.best_step not in (0, state.step):
                objective.load_state_dict(load_checkpoint(folder / BEST)["objective"])
            _ship(path, objective, recipe, source, state)
        accelerator.wait_for_everyone()
    return Trained(path, state, ended)


def prepare(recipe: Recipe, accelerator: Accelerator) -> Objective:
    """The recipe's objective around a network with fresh weights (the same for the same seed) or those of `init`.

    Raises InputError where the network is not of the kind of `init`.
    """
    torch.manual_seed(recipe.seed)
    network = build(recipe.architecture, recipe.model)
    if recipe.init:
        module, spec = load_module(recipe.init)
        if spec.percentiles != recipe.percentiles:
            raise InputError(f"init {recipe.init} has percentiles {spec.percentiles}; set percentiles to them")
        try:
            network.load_state_dict(module.state_dict())
        except RuntimeError as error:
            raise InputError(
                f"init {recipe.init} is another network than {recipe.architecture} {recipe.model}; "
                f"set architecture and model to its own: {str(error).splitlines()[1].strip()}"
            ) from error
    return recipe.make_objective(
        Setup(
            network,
            combined(recipe.losses),
            optimiser=recipe.optimiser,
            learning_rate=recipe.learning_rate,
            betas=recipe.betas,
            clip=recipe.clip,
            ema=recipe.ema,
            accumulate=recipe.accumulate,
            bf16=recipe.precision == "bf16",
            accelerator=accelerator,
        )
    )


def _checkpoint(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The state to go on from. Raises InputError where it is of another recipe (what that lacks is the default)."""
    kept = load_checkpoint(folder / LAST)
    usual = {name: field.default for name, field in Recipe.model_fields.items()}
    differs = sorted(k for k in recipe if k not in ADJUSTABLE and recipe[k] != kept["recipe"].get(k, usual[k]))
    if differs:
        raise InputError(
            f"{folder / LAST} is of a run with other {', '.join(differs)}; resume with its recipe, "
            f"of which {', '.join(ADJUSTABLE)} may change"
        )
    return kept


def _try_out(objective: Objective, source: Source, recipe: Recipe) -> None:
    """Raise InputError where the network does not take these data, before anything is trained."""
    pixels = source.fields[0].pixels[None, :, :64, :64]
    wanted = (1, 1, *(recipe.scale * size for size in pixels.shape[2:]))
    try:
        made = str(list(objective.restore(pixels).shape))
    except RuntimeError as error:
        made = str(error).strip().splitlines()[-1]
    if made != str(list(wanted)):
        raise InputError(
            f"the data have {source.frames} frames and scale {recipe.scale}, so the network must make {list(wanted)} "
            f"of {list(pixels.shape)}; it gives: {made}. Make model and data agree"
        )


def _ship(path: Path, objective: Objective, recipe: Recipe, source: Source, state: State) -> None:
    """Write the weights with their spec: reach and grid as measured, the rest from the recipe and its data."""
    module = copy.deepcopy(objective.shipped()).cpu().eval()
    spec = RestorerSpec(
        name=recipe.name,
        **asdict(measure_module(module)),
        percentiles=recipe.percentiles,
        pixel_size_um=source.pixel_size_um,
        modality=recipe.modality,
        structures=source.structures,
    )
    notes = {
        "recipe": recipe.model_dump(mode="json"),
        "steps": state.step,
        "best_step": state.best_step,
        "seconds": round(state.seconds),
        "skipped": state.skipped,
        "validation": state.validation,
    }
    save_weights(
        path,
        module,
        architecture=recipe.architecture,
        config=recipe.model,
        spec=spec,
        notes=notes,
    )
