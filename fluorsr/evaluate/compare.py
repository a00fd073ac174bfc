"""Methods x images x metrics -> a Comparison: who is better, by how much, how surely, and at what cost.

    cases --protocol--> every method (tuned on other images where it is tunable) --> measured, scored --> summaries
                                                                                                      --> paired tests

Figures are of whole images, restored as `fluorsr infer` would restore them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fluorsr.classical.sim_parameters import NoStripesError
from fluorsr.data.sharpness import Sharpness
from fluorsr.errors import InputError, MissingDependencyError, MissingWeightsError
from fluorsr.evaluate.cases import Case, CaseSet, open_cases, with_pixel_size
from fluorsr.evaluate.cautions import judge_pair, judge_result, judge_set, judge_use
from fluorsr.evaluate.cost import Cost, measured
from fluorsr.evaluate.methods import BASELINES, Contestant, contestants, tune
from fluorsr.evaluate.pictures import cases_to_show, keep_pictures
from fluorsr.evaluate.protocol import apply_protocol, protocol
from fluorsr.evaluate.restore import LIGHT, light_kept, measure, on_grid, restore_field
from fluorsr.evaluate.results import CaseInfo, Caution, Comparison, Method, Picture, Protocol, Score
from fluorsr.evaluate.summarise import describe, paired_tests, summaries
from fluorsr.metrics.lpips import load_lpips
from fluorsr.metrics.prepare import prepare
from fluorsr.metrics.registry import ALL_METRICS, METRICS
from fluorsr.restorer import Restorer

DEFAULT_RANK = "psnr"
LEARNED = {"lpips": "alex", "lpips_vgg": "vgg"}

Progress = Callable[[str, int, int], None]


def compare(
    data: str | Path | CaseSet,
    models: Sequence[str | Path] | Mapping[str, Restorer],
    *,
    baselines: Sequence[str] = BASELINES,
    metrics: Sequence[str] = tuple(METRICS),
    rank: str | None = None,
    protocol_name: str = "standard",
    intensity: str | None = None,
    crop_px: int | None = None,
    pixel_size_um: float | None = None,
    spot_um: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
    pictures: int = 4,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare models and baselines on every case of `data`.

    data         a folder, `simulated:...` (see fluorsr.evaluate.cases), or a CaseSet
    models       names of shipped models, files and classical methods, or restorers by name
    metrics      of fluorsr.metrics.registry.ALL_METRICS; that of `rank` is added
    rank         the metric that orders the methods, default PSNR; LPIPS only with its weights
    pixel_size_um   of the inputs, where the files do not tell or are wrong
    spot_um      the microscope's spot (FWHM) for Richardson-Lucy; tried out on other images where None
    pictures     so many cases, of different groups as far as there are, are kept as images under out/pictures
    out          folder for pictures; none are kept where None
    progress     called with what is done, how many cases are done, and of how many

    A case whose truth is constant is left out, and told. Raises InputError, with all that is wrong with the request,
    MissingWeightsError where LPIPS is asked for without weights, and what loading models and data raises.
    """
    cases = data if isinstance(data, CaseSet) else open_cases(data)
    setting = protocol(protocol_name, intensity=intensity, crop_px=crop_px)
    chosen = check_metrics(metrics, rank)
    tell = progress or (lambda what, done, total: None)
    total = len(cases.sources)
    prepared = partial(apply_protocol, setting)
    if pixel_size_um is not None:
        cases = with_pixel_size(cases, pixel_size_um)
    first = prepared(cases.sources[0].load())
    scale = first.target.shape[-1] // first.degraded.shape[-1]
    methods = contestants(models, baselines, scale, spot_um, first.input_pixel_size_um, device, precision)
    tuned = tune(methods, cases, prepared, lambda what: tell(what, 0, total))
    gathered = _Gathered(methods, setting, chosen, threads)
    shown = cases_to_show(cases.sources, pictures if out else 0)
    kept: list[Picture] = []
    seen: dict[str, int] = {}
    for number, source in enumerate(cases.sources):
        tell(source.name, number, total)
        half = seen.get(source.group, 0) % 2
        seen[source.group] = seen.get(source.group, 0) + 1
        restorers = {one.name: tuned.get((one.name, source.group, half), one.restorer) for one in methods}
        case = source.load()
        images = gathered.add(case, prepared(case), restorers)
        if images and out and source.name in shown:
            kept += keep_pictures(prepared(case), images, out)
    tell("", total, total)
    if not gathered.infos:
        raise InputError(f"{cases.description}: every truth is constant; there is nothing to compare on")
    infos, scores, names, described = gathered.infos, gathered.scores, [one.name for one in methods], describe(chosen)
    return Comparison(
        data=cases.description,
        rank=rank or DEFAULT_RANK,
        protocol=setting,
        metrics=described,
        methods=tuple(_method(one, gathered.costs[one.name]) for one in methods),
        cases=tuple(infos),
        scores=tuple(scores),
        summaries=summaries(infos, names, described, scores),
        tests=paired_tests(infos, names, described, scores),
        warnings=(*judge_set(infos, gathered.sharpness, gathered.cautions), *gathered.cautions),
        pictures=tuple(kept),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=f"{platform.machine()}, threads: {threads}, torch {torch.__version__}",
        version=importlib.metadata.version("fluorsr"),
    )


class _Gathered:
    """What is known of the cases so far."""

    def __init__(self, methods: Sequence[Contestant], setting: Protocol, metrics: Sequence[str], threads: int) -> None:
        self.methods, self.setting, self.threads = methods, setting, threads
        self.metrics = {name: ALL_METRICS[name] for name in metrics}
        self.infos: list[CaseInfo] = []
        self.scores: list[Score] = []
        self.cautions: list[Caution] = []
        self.sharpness: list[Sharpness] = []
        self.costs: dict[str, list[tuple[float, Cost]]] = {one.name: [] for one in methods}

    def add(self, raw: Case, case: Case, restorers: Mapping[str, Restorer]) -> dict[str, Tensor]:
        """Restore and score one case, as it is after the protocol: method -> image, none where it is left out."""
        if float(case.target.max()) == float(case.target.min()):
            message = "the truth is constant: no restoration of it can be judged"
            self.cautions.append(Caution("left-out", message, case.name))
            return {}
        cautions, sharpness = judge_pair(raw)
        self.cautions += cautions
        self.sharpness += [sharpness] if sharpness else []
        target, images, data_range = torch.from_numpy(case.target), {}, 0.0
        for one in self.methods:
            images[one.name] = restored = self._restore(one, case, restorers[one.name])
            ready = prepare(restored, target, intensity=self.setting.intensity, crop_px=self.setting.crop_px)
            values = measure(ready, self.metrics, case.pixel_size_um)
            values[LIGHT] = light_kept(restored, case.degraded)
            self.scores.append(Score(case.name, one.name, values))
            self.cautions += judge_result(one.name, restored, values[LIGHT], case.name)
            data_range = ready.data_range
        info = _info(case, data_range)
        self.infos.append(info)
        for one in self.methods:
            self.cautions += judge_use(one.name, one.restorer.spec, info)
        return images

    def _restore(self, one: Contestant, case: Case, restorer: Restorer) -> Tensor:
        """The restored case; all NaN, and told, where the method finds no stripes in it."""
        shape = (case.target.shape[0], case.target.shape[1])
        call = partial(restore_field, restorer, case.degraded, threads=self.threads)
        try:
            if not self.costs[one.name]:
                call()  # the first call sets things up: not timed
            restored, cost = measured(call, one.device)
        except NoStripesError as error:
            self.cautions.append(Caution("not-restored", str(error), case.name, one.name))
            return torch.full(shape, math.nan)
        self.costs[one.name].append((case.degraded[0].size / 1e6, cost))
        return on_grid(restored, shape)


def check_metrics(metrics: Sequence[str], rank: str | None = None) -> tuple[str, ...]:
    """The metrics to take, that of the ranking among them. Raises InputError, MissingWeightsError."""
    chosen = tuple(dict.fromkeys((*metrics, rank or DEFAULT_RANK)))
    unknown = [name for name in chosen if name not in ALL_METRICS]
    if unknown:
        raise InputError(f"there is no metric {', '.join(map(repr, unknown))}; there are {', '.join(ALL_METRICS)}")
    for name in chosen:
        if name in LEARNED:
            try:
                load_lpips(LEARNED[name])
            except (MissingWeightsError, MissingDependencyError) as error:
                others = ", ".join(each for each in ALL_METRICS if each not in LEARNED)
                what = "the methods cannot be ranked by it" if name == rank else "it cannot be taken"
                raise MissingWeightsError(f"{error}. Without them {what}; there are {others}") from error
    return chosen


def _info(case: Case, data_range: float) -> CaseInfo:
    frames, height, width = case.degraded.shape
    return CaseInfo(
        case.name,
        case.group,
        case.structure,
        case.fov,
        (frames, height, width),
        (case.target.shape[0], case.target.shape[1]),
        case.input_pixel_size_um,
        case.pixel_size_um,
        data_range,
    )


def _method(one: Contestant, costs: Sequence[tuple[float, Cost]]) -> Method:
    spec = one.restorer.spec
    memory = [cost.memory_mib / size for size, cost in costs if cost.memory_mib is not None]
    return Method(
        name=one.name,
        kind=one.kind,
        scale=spec.scale,
        device=one.device,
        precision=getattr(one.restorer, "precision", "fp32"),
        source=one.source,
        sha256=getattr(one.restorer, "sha256", ""),
        pixel_size_um=spec.pixel_size_um,
        structures=spec.structures,
        seconds_per_mp=statistics.median(cost.seconds / size for size, cost in costs) if costs else None,
        memory_mib_per_mp=statistics.median(memory) if memory else None,
        notes=tuple(one.notes),
    )
