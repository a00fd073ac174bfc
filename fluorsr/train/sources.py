"""What a recipe is trained on and judged by: batches by step, and a few whole fields that are never trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor

from fluorsr.data.augment import AnySimFrames, Augmentation
from fluorsr.data.check import check_pairs
from fluorsr.data.instruments import ANGLES
from fluorsr.data.pair_patches import PairPatches
from fluorsr.data.pairs import PairSet, open_pairs
from fluorsr.data.patches import Patches, make_field
from fluorsr.data.sim_orders import FLICKER
from fluorsr.data.simulate import SimulationConfig
from fluorsr.data.splits import split_pairs
from fluorsr.errors import InputError
from fluorsr.train.feed import Batch
from fluorsr.train.recipe import PairsConfig, Recipe

VALIDATION_SEED = 2**31
"""Seeds from here on are never trained on: a recipe's seed is smaller."""

FIELDS, FIELD_PX = 3, 160
"""Validation fields of each structure (of all pairs: four times as many), and their side in input pixels."""


@dataclass(frozen=True)
class HeldOut:
    """A field to validate on, normalised: input [F, Y, X], target [sY, sX], the target's pixel size (None: unknown)."""

    group: str
    pixels: Tensor
    target: Tensor
    pixel_size_um: float | None


@dataclass(frozen=True)
class Source:
    """Where a run's data come from.

    batches   step -> input [B, F, P, P], target [B, 1, sP, sP]
    fields    to validate on;  structures, pixel_size_um  of what is shown, for the model's spec
    notes     warnings about the data
    """

    batches: Callable[[int], Batch]
    fields: list[HeldOut]
    frames: int
    pixel_size_um: float | None
    structures: tuple[str, ...]
    notes: tuple[str, ...] = ()


def open_source(recipe: Recipe, share: tuple[int, int], executor: Executor | None) -> Source:
    """Get ready what `recipe.data` describes; `share` as in Patches.

    Raises InputError where pairs are at fault (all told), too few, or not of the recipe's scale.
    """
    if isinstance(recipe.data, PairsConfig):
        return _pairs(recipe, recipe.data, share)
    return _simulated(recipe, recipe.data, share, executor)


def _augmentation(config: SimulationConfig, jitter: float, *, orders: bool) -> Augmentation:
    if config.frames == 1:
        return Augmentation(gain=jitter, offset=jitter / 7)
    # The target of raw frames has no background, so theirs is not varied.
    if orders:
        return Augmentation(gain=jitter, packed=config.scale)
    frames = AnySimFrames(ANGLES, config.frames // ANGLES, whole=config.three_beams == 0)
    return Augmentation(frames, gain=jitter, flicker=FLICKER)


def _simulated(recipe: Recipe, config: SimulationConfig, share: tuple[int, int], executor: Executor | None) -> Source:
    orders = recipe.model.get("periods_um") is not None
    batches = Patches(
        config,
        recipe.seed,
        recipe.batch,
        recipe.patch,
        recipe.pool,
        recipe.refresh,
        recipe.percentiles,
        _augmentation(config, recipe.jitter, orders=orders),
        share,
        executor,
        orders,
    )
    full = {"size_px": min(FIELD_PX, config.size_px)}
    asked = [(config.model_copy(update=full), VALIDATION_SEED, i, recipe.percentiles, name)
             for name in config.structures for i in range(FIELDS)]  # fmt: skip
    make = partial(make_field, orders=orders)
    made = (executor.map if executor else map)(make, *zip(*asked, strict=True))
    pixel_um = float(np.mean(config.pixel_size_um))
    fields = [
        HeldOut(each[-1], torch.from_numpy(pixels), torch.from_numpy(target[0]), pixel_um / config.scale)
        for each, (pixels, target) in zip(asked, made, strict=True)
    ]
    return Source(batches, fields, len(fields[0].pixels), pixel_um, tuple(config.structures))


def _pairs(recipe: Recipe, config: PairsConfig, share: tuple[int, int]) -> Source:
    report = check_pairs(config.pairs, scale=recipe.scale)
    report.raise_if_faulty()
    pairs = open_pairs(config.pairs, scale=recipe.scale)
    if not any(pair.split for pair in pairs):
        pairs = split_pairs(pairs, recipe.seed, {"train": 1 - config.val, "val": config.val})
    training, held_out = pairs.split("train"), pairs.split("val")
    augmentation = config.augmentation(recipe.jitter)
    batches = PairPatches(
        training,
        recipe.batch,
        recipe.patch,
        recipe.seed,
        percentiles=recipe.percentiles,
        augmentation=augmentation,
        uniform=config.uniform,
        share=share,
    )
    known = [pair.pixel_size_um for pair in pairs if pair.pixel_size_um]
    return Source(
        batches,
        _fields(held_out, recipe),
        pairs.frames,
        median(known) if known else None,
        (),
        tuple(f"{finding.rule}: {finding.message}" for finding in report.warnings),
    )


def _fields(pairs: PairSet, recipe: Recipe) -> list[HeldOut]:
    """One square of each of the first pairs, normalised as patches are: where its target varies most."""
    chosen = PairSet(pairs.pairs[: 4 * FIELDS], pairs.scale, pairs.frames)
    fields = []
    for pair in chosen:
        side = min(*pair.size, FIELD_PX) // 16 * 16  # a size that every network takes
        if not side:
            raise InputError(f"pair {pair.name} of {pair.size} pixels is too small to validate on; it needs 16 x 16")
        one = PairPatches(
            PairSet((pair,), pairs.scale, pairs.frames), 1, side, 0, percentiles=recipe.percentiles, uniform=0
        )
        # Without an augmentation but for the orientation, which does not matter here.
        pixels, target = one(0)
        size = pair.pixel_size_um
        fields.append(HeldOut("pairs", pixels[0], target[0, 0], size / pairs.scale if size else None))
    return fields
