"""Images with their truths, to compare methods on: from folders of pairs, or simulated from one line.

    DIR                                          see fluorsr.data.listing; the split "test" where the set is split
    DIR/nuclei/input, DIR/nuclei/target, ...     one folder a structure: each is a group of its own
    simulated:images=8,photons=400+30,haze=0     fields that no recipe can have drawn

Nothing is read or drawn before it is its turn.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluorsr.data.pairs import Pair, open_pairs
from fluorsr.data.simulate import SimulationConfig, configure, simulate_pair
from fluorsr.errors import InputError, NotFoundError

SIMULATED = "simulated:"
TEST_SEED, TUNING_SEED = 2**32, 2**32 + 1
"""Recipes have seeds below 2**31, their validation has 2**31."""

DEFAULT_PRESET = "confocal-280"
PHOTONS = (400.0, 100.0, 30.0)
"""Light levels of a simulated set, unless told otherwise: bright, medium, dim."""


@dataclass(frozen=True)
class Case:
    """One image with its truth: degraded [F, Y, X], target [scale * Y, scale * X] float32.

    group   cases of one group share a table;  structure  or "";  fov  cases that share it are not independent
    pixel sizes in um, None where they are not known
    """

    name: str
    group: str
    degraded: NDArray[Any]
    target: NDArray[np.float32]
    input_pixel_size_um: float | None = None
    pixel_size_um: float | None = None
    structure: str = ""
    fov: str = ""


@dataclass(frozen=True)
class Source:
    """A case that is not yet loaded."""

    name: str
    group: str
    load: Callable[[], Case]


@dataclass(frozen=True)
class CaseSet:
    """What to compare on, and other images of the same kind that methods may be tuned on, by group.

    Of a group that `tuning` has no images of, its own cases serve, each half for the other.
    """

    description: str
    sources: tuple[Source, ...]
    tuning: tuple[Source, ...] = ()


def open_cases(data: str | Path) -> CaseSet:
    """The cases of a folder, or of a line that begins with `simulated:`.

    Raises NotFoundError, FormatError, or one InputError with all that is wrong.
    """
    text = str(data)
    return simulated_cases(text.removeprefix(SIMULATED)) if text.startswith(SIMULATED) else _folder_cases(Path(data))


def simulated_cases(spec: str) -> CaseSet:
    """Cases from `preset,key=value,key=value`; the preset may be left out.

    preset      of fluorsr.data.presets; default confocal-280
    images      a group (structure and light level); default 8
    structures  names joined by +; default all that the configuration draws
    photons     light levels joined by +; default 400+100+30
    seed        0, 1, ... draws other images; default 0
    others      of SimulationConfig, as in size_px=128 or density=1..3
    """
    given: dict[str, str] = {}
    parts = [part for part in spec.split(",") if part]
    preset = parts.pop(0).strip() if parts and "=" not in parts[0] else DEFAULT_PRESET
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key.strip() in given:
            raise InputError(f"{SIMULATED}{spec}: {part!r} must be key=value, each key once: images=4,photons=100")
        given[key.strip()] = value.strip()
    try:
        images, seed = int(given.pop("images", "8")), int(given.pop("seed", "0"))
        levels = [float(v) for v in given.pop("photons").split("+")] if "photons" in given else list(PHOTONS)
        structures = given.pop("structures").split("+") if "structures" in given else None
        values: dict[str, Any] = {key: _number(value) for key, value in given.items()}
    except ValueError as error:
        raise InputError(f"{SIMULATED}{spec}: {error}; numbers are needed, as in images=4,density=1..3") from error
    if images < 1 or seed < 0 or not levels:
        raise InputError(f"{SIMULATED}{spec}: images must be at least 1 and seed at least 0")
    configs = {photons: configure(preset, **values, photons=(photons, photons)) for photons in levels}
    names = structures or list(configs[levels[0]].structures)
    groups = list(itertools.product(names, levels))
    sources: list[Source] = []
    tuning: list[Source] = []
    for structure, photons in groups:
        group = f"{structure}, {photons:g} photons"
        for found, base, count in ((sources, TEST_SEED, images), (tuning, TUNING_SEED, max(2, images // 3))):
            for index in range(count):
                name = f"{structure}-{photons:g}-{index}"
                load = partial(simulated_case, configs[photons], base + 2 * seed, index, structure, group, name)
                found.append(Source(name, group, load))
    return CaseSet(SIMULATED + spec, tuple(sources), tuple(tuning))


def simulated_case(config: SimulationConfig, seed: int, index: int, structure: str, group: str, name: str = "") -> Case:
    """Field `index` of a seed, as a case."""
    field = simulate_pair(config, seed, index, structure)
    name, sizes = name or f"{group}-{index}", (field.pixel_size_um, field.target_pixel_size_um)
    return Case(name, group, field.degraded, field.target, *sizes, structure, name)


def with_pixel_size(cases: CaseSet, input_um: float) -> CaseSet:
    """The same cases, their inputs' pixels `input_um` wide whatever their files say. Raises InputError."""
    if not input_um > 0:
        raise InputError(f"pixel_size_um {input_um} must be above 0")

    def load(source: Source) -> Case:
        case = source.load()
        scale = case.target.shape[-1] / case.degraded.shape[-1]
        return replace(case, input_pixel_size_um=input_um, pixel_size_um=input_um / scale)

    def sized(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(replace(source, load=partial(load, source)) for source in sources)

    return replace(cases, sources=sized(cases.sources), tuning=sized(cases.tuning))


def _number(text: str) -> float | tuple[float, float]:
    low, dots, high = text.partition("..")
    return (float(low), float(high)) if dots else float(text)


def _folder_cases(path: Path) -> CaseSet:
    if not path.exists():
        raise NotFoundError(f"{path} does not exist; give a folder of pairs, or {SIMULATED}images=8")
    structures = (
        [sub for sub in sorted(path.iterdir()) if (sub / "input").is_dir() or (sub / "test" / "input").is_dir()]
        if path.is_dir() and not (path / "input").is_dir()
        else []
    )
    # train, val and test are splits of one set, not structures.
    structures = [sub for sub in structures if sub.name not in ("train", "val", "test")]
    sources: list[Source] = []
    tuning: list[Source] = []
    for structure, folder in [(sub.name, sub) for sub in structures] or [("", path)]:
        pairs = open_pairs(folder).pairs
        splits = {pair.split for pair in pairs}
        tested = next((split for split in ("test", "val") if split in splits), None)
        for pair in pairs:
            name = f"{structure}/{pair.name}" if structure else pair.name
            source = Source(name, structure or "pairs", partial(_pair_case, pair, name, structure))
            if tested is None or pair.split == tested:
                sources.append(source)
            elif tested == "val" or pair.split == "val":
                tuning.append(source)
    return CaseSet(str(path), tuple(sources), tuple(tuning))


def _pair_case(pair: Pair, name: str, structure: str) -> Case:
    own, target = pair.read()
    size = pair.pixel_size_um
    fine = size / pair.scale if size is not None else None
    return Case(name, structure or "pairs", own.numpy(), target.numpy(), size, fine, structure, pair.fov)


def file_name(name: str) -> str:
    """A case's or method's name as the name of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_.") or "_"
