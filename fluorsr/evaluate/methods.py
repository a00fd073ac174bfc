"""The restorers of a comparison: models by name or file, and the baselines that they have to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.nearest import Nearest
from fluorsr.classical.registry import METHODS
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.errors import InputError
from fluorsr.evaluate.cases import Case, CaseSet
from fluorsr.evaluate.restore import on_grid, restore_field, score
from fluorsr.models.load import LoadedModel, load
from fluorsr.restorer import Restorer

ITERATIONS = (4, 8, 15, 30, 60, 120)
SPOTS_UM = (0.22, 0.27, 0.33)
"""Full widths that Richardson-Lucy may choose from; for images of unknown pixel size SPOTS_PX, in input pixels."""
SPOTS_PX = (2.0, 3.0, 4.5)
TUNING_CASES = 8
"""At most so many images of a group are looked at to tune a method."""

REACH_PX = 16
"""Input pixels kept around a tile of Richardson-Lucy. Its reach is far longer; beyond these little comes."""


@dataclass
class Contestant:
    """A method in a comparison, and what is told of it.

    tune    cases -> the restorer to use where those were not, and what it is in words; None where there is nothing to
            tune
    """

    name: str
    kind: str
    restorer: Restorer
    source: str = ""
    notes: list[str] = field(default_factory=list)
    tune: Callable[[Sequence[Case]], tuple[Restorer, str]] | None = None

    @property
    def device(self) -> str:
        return self.restorer.device if isinstance(self.restorer, LoadedModel) else "cpu"


BASELINES = ("input", "bicubic", "richardson-lucy")


def baseline(name: str, scale: int, spot_um: float | None = None) -> Contestant:
    """One of BASELINES, for data of that scale. Raises InputError for another name."""
    if name == "input":
        return Contestant(name, "baseline", Nearest(scale), notes=["the input itself, its pixels repeated"])
    if name == "bicubic":
        return Contestant(name, "baseline", Bicubic(scale), notes=["the input, interpolated"])
    if name == "richardson-lucy":

        def tune(cases: Sequence[Case]) -> tuple[Restorer, str]:
            best, size = best_richardson_lucy(cases, scale, spot_um), cases[0].input_pixel_size_um
            spot = f"{best.fwhm_px:.1f} pixels" if size is None else f"{1000 * best.fwhm_px * size:.0f} nm"
            return best, f"{best.iterations} iterations with a spot of {spot}, chosen on other images"

        return Contestant(name, "baseline", RichardsonLucy(4.5, 1, scale), tune=tune)
    raise InputError(f"there is no baseline {name!r}; there are {', '.join(BASELINES)}")


def model(
    name: str | Path, *, device: str = "auto", precision: str = "auto", pixel_size_um: float | None = None
) -> Contestant:
    """A shipped model by name, a file, or a classical method by name with its usual options.

    pixel_size_um   of the inputs, which some classical methods must know

    Raises what fluorsr.models.load raises.
    """
    loaded = load(name, device=device, precision=precision, pixel_size_um=pixel_size_um)
    kind = "baseline" if name in METHODS else "model"
    return Contestant(loaded.spec.name, kind, loaded, str(name), list(loaded.notes))


def contestants(
    models: Sequence[str | Path] | Mapping[str, Restorer],
    baselines: Sequence[str],
    scale: int,
    spot_um: float | None,
    pixel_size_um: float | None,
    device: str,
    precision: str,
) -> list[Contestant]:
    """All methods, under names that differ. Raises one InputError for all that cannot be run on data of this scale."""
    if isinstance(models, Mapping):
        given = [Contestant(name, "model", restorer) for name, restorer in models.items()]
    else:
        given = [model(name, device=device, precision=precision, pixel_size_um=pixel_size_um) for name in models]
    found = [*(baseline(name, scale, spot_um) for name in dict.fromkeys(baselines)), *given]
    if not found:
        raise InputError("there is nothing to compare: name at least one model or baseline")
    faults = []
    taken: dict[str, int] = {}
    for one in found:
        taken[one.name] = taken.get(one.name, 0) + 1
        if taken[one.name] > 1:
            one.name = f"{one.name} ({taken[one.name]})"
        own = one.restorer.spec.scale
        if own % scale:
            faults.append(f"{one.name} has scale {own}, the data {scale}")
        elif own > scale:
            one.notes.append(f"its scale is {own}, the data's {scale}: its pixels were averaged to theirs")
    if faults:
        raise InputError(
            f"{'; '.join(faults)}: a method's scale must be the data's or a multiple of it; leave them out"
        )
    return found


def tune(
    methods: Sequence[Contestant], cases: CaseSet, prepared: Callable[[Case], Case], tell: Callable[[str], None]
) -> dict[tuple[str, str, int], Restorer]:
    """(method, group, half) -> the restorer for that half of the group's cases, tuned on none of them.

    prepared   what is done to every case first
    """
    tuned: dict[tuple[str, str, int], Restorer] = {}
    for one in methods:
        if one.tune is None:
            continue
        lines: dict[str, list[str]] = {}
        for group in dict.fromkeys(source.group for source in cases.sources):
            tell(f"setting up {one.name} for {group}")
            others = [source for source in cases.tuning if source.group == group]
            own = [source for source in cases.sources if source.group == group]
            for half in (0, 1):
                used = others or own[1 - half :: 2] or own
                if others and half:
                    tuned[one.name, group, 1] = tuned[one.name, group, 0]
                    continue
                loaded = [prepared(source.load()) for source in used[:TUNING_CASES]]
                tuned[one.name, group, half], line = one.tune(loaded)
                lines.setdefault(line, []).append(group)
            if not others and len(own) == 1:
                one.notes.append(f"{group}: there is one image only, and it was set up on that very image")
        one.notes += [f"{what}: {' and '.join(dict.fromkeys(groups))}" for what, groups in lines.items()]
    return tuned


def best_richardson_lucy(cases: Sequence[Case], scale: int, spot_um: float | None = None) -> RichardsonLucy:
    """The width and the iterations of the highest mean PSNR on cases that are not tested on.

    For each width, iterations are raised until the PSNR falls.
    """
    size = cases[0].input_pixel_size_um
    if size is None:
        widths: tuple[float, ...] = SPOTS_PX
    else:
        widths = tuple(um / size for um in ((spot_um,) if spot_um else SPOTS_UM))
    best, highest = RichardsonLucy(widths[0], ITERATIONS[0], scale, max_halo=REACH_PX), -math.inf
    for width in widths:
        last = -math.inf
        for iterations in ITERATIONS:
            candidate = RichardsonLucy(width, iterations, scale, max_halo=REACH_PX)
            psnr = sum(_psnr(candidate, case) for case in cases) / len(cases)
            if psnr > highest:
                best, highest = candidate, psnr
            if psnr < last:
                break
            last = psnr
    return best


def _psnr(restorer: Restorer, case: Case) -> float:
    restored = on_grid(restore_field(restorer, case.degraded), case.target.shape)
    return score(restored, torch.from_numpy(case.target), case.pixel_size_um or 1.0, metrics=("psnr",))["psnr"]
