"""A comparison: figures that can be computed by hand, what may not change them, and what is told."""

from __future__ import annotations

import csv
import json
import math
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.nearest import Nearest
from fluorsr.data.simulate import SimulationConfig, configure, simulate_pair
from fluorsr.errors import InputError, MissingWeightsError, NotFoundError, OutputExistsError
from fluorsr.evaluate.cases import Case, CaseSet, Source, open_cases, simulated_cases
from fluorsr.evaluate.compare import compare
from fluorsr.evaluate.results import ALL, INPUT, TARGET, Comparison, read_comparison
from fluorsr.evaluate.tables import claim, to_markdown, write_tables
from fluorsr.image import PlaneIndex
from fluorsr.io.open import create_image, open_image
from fluorsr.io.writer import Layout
from fluorsr.restorer import RestorerSpec

CONFIG = SimulationConfig(size_px=64, photons=(200, 200), density=(2.5, 3))


class Tripled:
    """Repeats pixels, times 3, so that only the fit can make it right."""

    spec = RestorerSpec(name="tripled", scale=2)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        return 3 * tiles.repeat_interleave(2, -1).repeat_interleave(2, -2)


def case_set(*cases: Case) -> CaseSet:
    def same(case: Case) -> Case:
        return case

    return CaseSet("by hand", tuple(Source(case.name, case.group, partial(same, case)) for case in cases))


@cache
def simulated(count: int, structure: str = "vesicles") -> CaseSet:
    fields = [simulate_pair(CONFIG, 5, index, structure) for index in range(count)]
    return case_set(
        *(
            Case(f"{i}", structure, f.degraded.reshape(1, 64, 64), f.target, 0.06, 0.03, structure, f"{i}")
            for i, f in enumerate(fields)
        )
    )


def raw_sim(photons: float) -> Case:
    config = configure("sim-3x5", size_px=128, photons=(photons, photons))
    field = simulate_pair(config, 5, 0, "microtubules")
    return Case(f"{photons:g}", "raw", field.degraded, field.target, 0.06, 0.03, "microtubules", f"{photons:g}")


def save(path: Path, pixels: np.ndarray, size_um: float | None = 0.06) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {"y": size_um, "x": size_um} if size_um else {}
    writer = create_image(path, Layout("yx", pixels.shape, pixels.dtype.name, sizes, block=pixels.shape), provenance={})
    writer.write(PlaneIndex(), 0, 0, np.ascontiguousarray(pixels))
    writer.finish()


def rules(found: Comparison) -> set[str]:
    return {one.rule for one in found.warnings}


def test_gain_and_offset_are_fitted_away_but_light_is_not() -> None:
    degraded = np.random.default_rng(1).integers(100, 900, (1, 40, 40)).astype(np.uint16)
    target = degraded[0].repeat(2, 0).repeat(2, 1).astype(np.float32)
    cases = case_set(Case("one", "all of them", degraded, target, 0.06, 0.03))
    found = compare(cases, {"tripled": Tripled()}, baselines=["input"])
    assert found.value("one", "tripled", "psnr") > 100
    assert found.value("one", "tripled", "ssim") == pytest.approx(1)
    assert found.value("one", "tripled", "frc") == pytest.approx(60)
    assert found.value("one", "tripled", "light") == pytest.approx(3)
    assert found.value("one", "input", "light") == pytest.approx(1)
    assert "light" in rules(found)
    raw = compare(cases, {"tripled": Tripled()}, baselines=["input"], intensity="raw")
    assert raw.value("one", "tripled", "psnr") < 10
    assert raw.value("one", "input", "psnr") > 130


def test_means_intervals_and_tests_over_images() -> None:
    found = compare(simulated(6), {"b": Bicubic(2)}, baselines=["input"])
    values = [found.value(str(i), "b", "psnr") for i in range(6)]
    summary = found.summary(ALL, "b", "psnr")
    assert summary.mean == pytest.approx(np.mean(values))
    assert min(values) < summary.low < summary.mean < summary.high < max(values)
    inverse = np.mean([1 / found.value(str(i), "b", "frc") for i in range(6)])
    resolution = found.summary("vesicles", "b", "frc")
    assert resolution.mean == pytest.approx(1 / inverse)
    assert resolution.low < resolution.mean < resolution.high
    test = next(t for t in found.tests if t.metric == "psnr")
    assert (test.first, test.second, test.better) == ("input", "b", "b")
    assert test.p == pytest.approx(2 / 2**6)
    assert test.difference == pytest.approx(found.summary(ALL, "input", "psnr").mean - summary.mean)
    assert test.low <= test.difference <= test.high < 0
    assert [m.name for m in found.ranked()] == ["b", "input"]
    assert {t.metric for t in found.tests} == {"psnr", "ssim", "frc"}


def test_a_swapped_pair_is_told() -> None:
    """The sharp image as input and its blurred partner as truth."""
    field = simulate_pair(CONFIG.model_copy(update={"size_px": 128}), 5, 0, "microtubules")
    sharp = torch.nn.functional.avg_pool2d(torch.from_numpy(field.target)[None], 2).numpy()
    blurred = field.degraded.reshape(128, 128)
    case = Case("one", "swapped", sharp, blurred.astype(np.float32), 0.06, 0.06)
    found = compare(case_set(case), {}, baselines=["input"])
    assert "swapped" in rules(found)
    assert "best figures go to whoever blurs most" in to_markdown(found)
    right = Case("one", "right", blurred[None], sharp[0], 0.06, 0.06)
    assert "swapped" not in rules(compare(case_set(right), {}, baselines=["input"]))


def test_what_makes_figures_less_than_they_seem_is_told() -> None:
    cases = simulated(2)
    same = [source.load() for source in cases.sources]
    constant = Case("flat", "vesicles", same[0].degraded, np.ones_like(same[0].target), 0.06, 0.03)
    unsized = Case("unsized", "vesicles", same[0].degraded, same[0].target, fov="0")

    class Picky(Nearest):
        @property
        def spec(self) -> RestorerSpec:
            return RestorerSpec(name="picky", scale=2, pixel_size_um=0.1, structures=("nuclei",))

    class Broken(Nearest):
        def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
            return super().restore(tiles, origin, seed) * math.nan

    found = compare(case_set(*same, constant, unsized), {"picky": Picky(), "broken": Broken()}, baselines=[])
    assert rules(found) >= {"few", "left-out", "no-pixel-size", "dependent", "pixel-size", "structure", "not-finite"}
    assert len(found.cases) == 3
    assert math.isnan(found.value("unsized", "picky", "frc"))
    assert [m.name for m in found.ranked()] == ["picky", "broken"]
    text = to_markdown(found)
    assert "picky: pixels of 60 nm; trained at 100 nm" in text
    assert "trained on nuclei, never on vesicles" in text
    sized = compare(case_set(unsized), {"picky": Picky()}, baselines=[], pixel_size_um=0.06)
    assert sized.value("unsized", "picky", "frc") > 60


def test_richardson_lucy_is_tuned_on_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluorsr.evaluate.methods.ITERATIONS", (2, 4))
    seen: list[tuple[str, ...]] = []
    real = simulated(3)

    def best(cases: list[Case], scale: int, spot_um: float | None) -> Nearest:
        seen.append(tuple(case.name for case in cases))
        chosen = Nearest(scale)
        chosen.fwhm_px, chosen.iterations = 4.5, len(seen)  # type: ignore[attr-defined]
        return chosen

    monkeypatch.setattr("fluorsr.evaluate.methods.best_richardson_lucy", best)
    found = compare(real, {}, baselines=["richardson-lucy"])
    assert seen == [("1",), ("0", "2")]
    assert "1 iterations with a spot of 270 nm, chosen on other images: vesicles" in found.methods[0].notes
    seen.clear()
    compare(CaseSet("", real.sources[:2], real.sources[2:]), {}, baselines=["richardson-lucy"])
    assert seen == [("2",)]


def test_wiener_sim_is_compared_and_a_recording_without_stripes_is_told(tmp_path: Path) -> None:
    bright, dark = raw_sim(1000), raw_sim(0.01)
    found = compare(case_set(bright, dark), ["wiener-sim"], baselines=("input",), out=tmp_path)
    wiener, wide = (
        {score.case: score.values for score in found.scores if score.method == name}
        for name in ("wiener-sim15-x2", "input")
    )
    assert wiener["1000"]["psnr"] > wide["1000"]["psnr"] + 2
    assert math.isnan(wiener["0.01"]["psnr"])
    assert math.isfinite(wide["0.01"]["psnr"])
    told = [one for one in found.warnings if one.rule == "not-restored"]
    assert [(one.case, one.method) for one in told] == [("0.01", "wiener-sim15-x2")]
    assert "stripes" in told[0].message
    write_tables(found, tmp_path)
    assert read_comparison(tmp_path / "comparison.json").methods == found.methods


def test_richardson_lucy_beats_the_input() -> None:
    found = compare(simulated(2, "microtubules"), {}, baselines=["bicubic", "richardson-lucy"], spot_um=0.27)
    assert found.value("0", "richardson-lucy", "psnr") > found.value("0", "bicubic", "psnr") + 1


def test_the_published_protocol_and_what_is_wrong_with_it() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(100, 900, (1, 512, 512)).astype(np.uint16)
    case = Case("one", "pairs", image, image[0].astype(np.float32), 0.02, 0.02)
    found = compare(case_set(case), {"x2": Nearest(2)}, baselines=["input"], protocol_name="wang2019-256")
    assert found.cases[0].target_shape == (256, 256)
    assert found.cases[0].pixel_size_um == pytest.approx(0.04)
    assert found.cases[0].data_range == 1
    assert found.value("one", "input", "psnr") > 130
    assert found.value("one", "x2", "psnr") > 100
    assert "its scale is 2, the data's 1: its pixels were averaged to theirs" in found.methods[1].notes
    text = to_markdown(found)
    assert "What is wrong with this setting" in text
    assert "input and target swapped" in text
    with pytest.raises(InputError, match="decides intensity and crop"):
        compare(case_set(case), {"x2": Nearest(2)}, protocol_name="wang2019-256", crop_px=3)
    small = Case("small", "pairs", image[:, :99], image[0, :99].astype(np.float32))
    with pytest.raises(InputError, match="small: 99 x 512 pixels cannot be shrunk to 256 x 256"):
        compare(case_set(small), {"x2": Nearest(2)}, protocol_name="wang2019-256")


def test_requests_that_cannot_be_met() -> None:
    one = simulated(1)
    with pytest.raises(InputError, match="no metric 'psnrr'; there are psnr, ssim"):
        compare(one, {"x2": Nearest(2)}, metrics=["psnrr"])
    with pytest.raises(InputError, match="no baseline 'lanczos'; there are input, bicubic"):
        compare(one, {}, baselines=["lanczos"])
    with pytest.raises(InputError, match="nothing to compare"):
        compare(one, {}, baselines=[])
    with pytest.raises(InputError, match="x1 has scale 1, the data 2; x3 has scale 3, the data 2: a method's scale"):
        compare(one, {"x1": Nearest(1), "x3": Nearest(3)}, baselines=[])
    with pytest.raises(InputError, match="no protocol 'ours'"):
        compare(one, {"x2": Nearest(2)}, protocol_name="ours")
    with pytest.raises(InputError, match="no intensity 'fitted'; there are raw, min-max"):
        compare(one, {"x2": Nearest(2)}, intensity="fitted")


def test_ranking_by_lpips_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"Nothing else can.*cannot be ranked by it; there are psnr, ssim"):
        compare(simulated(1), {"x2": Nearest(2)}, rank="lpips")


def test_one_line_describes_simulated_images() -> None:
    cases = simulated_cases("images=2,photons=100+30,structures=nuclei,size_px=32,density=2..3")
    assert [source.name for source in cases.sources] == ["nuclei-100-0", "nuclei-100-1", "nuclei-30-0", "nuclei-30-1"]
    first = cases.sources[0].load()
    assert first.degraded.shape == (1, 32, 32)
    assert first.group == "nuclei, 100 photons"
    tuning = cases.tuning[0].load()
    assert tuning.group == first.group
    assert not np.array_equal(tuning.target, first.target)
    other = simulated_cases("images=1,photons=100,structures=nuclei,size_px=32,density=2..3,seed=1").sources[0].load()
    assert not np.array_equal(other.target, first.target)
    wide = simulated_cases("widefield-sted,images=1,photons=100,structures=vesicles,size_px=32")
    assert wide.sources[0].load().target.shape == (64, 64)
    for spec, message in (
        ("images=1,photons", "'photons' must be key=value"),
        ("sted,images=1", "there is no preset 'sted'; use one of confocal-280"),
        ("images=two", "numbers are needed"),
        ("images=0", "images must be at least 1"),
        ("colour=3", "colour: Extra inputs are not permitted"),
    ):
        with pytest.raises(InputError, match=message):
            simulated_cases(spec)


def test_folders_of_pairs_by_structure_and_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("nuclei/input/a", "nuclei/input/b", "tubes/test/input/c", "tubes/val/input/d", "tubes/train/input/e"):
        small = rng.integers(100, 900, (40, 40)).astype(np.uint16)
        save(tmp_path / f"{name}.tif", small)
        save(tmp_path / f"{name.replace('input', 'target')}.tif", small.repeat(2, 0).repeat(2, 1), 0.03)
    cases = open_cases(tmp_path)
    assert [(source.name, source.group) for source in cases.sources] == [
        ("nuclei/a", "nuclei"),
        ("nuclei/b", "nuclei"),
        ("tubes/test/c", "tubes"),
    ]
    assert [source.name for source in cases.tuning] == ["tubes/val/d"]
    found = compare(tmp_path, {"x2": Nearest(2)}, baselines=[], out=tmp_path / "out")
    assert found.groups == (ALL, "nuclei", "tubes")
    assert found.cases[0].pixel_size_um == pytest.approx(0.03)
    with pytest.raises(NotFoundError, match="give a folder of pairs, or simulated:"):
        open_cases(tmp_path / "none")


def test_tables_and_pictures_on_disk(tmp_path: Path) -> None:
    claim(tmp_path)
    found = compare(simulated(3), {"x2": Nearest(2)}, baselines=["bicubic"], pictures=2, out=tmp_path)
    write_tables(found, tmp_path)
    assert read_comparison(tmp_path / "comparison.json").to_json() == found.to_json()
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["method"]) for row in rows[:2]] == [("0", "bicubic"), ("0", "x2")]
    assert float(rows[0]["psnr"]) == found.value("0", "bicubic", "psnr")
    assert {p.case for p in found.pictures} == {"0", "1"}
    assert [p.method for p in found.pictures[:4]] == [INPUT, "bicubic", "x2", TARGET]
    shown = open_image(tmp_path / found.pictures[3].path)
    assert shown.shape == (128, 128)
    assert shown.pixel_size_um["x"] == pytest.approx(0.03)
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(OutputExistsError, match="holds a comparison"):
        claim(tmp_path)
    claim(tmp_path, overwrite=True)


def test_cost_is_measured() -> None:
    found = compare(simulated(1), {"x2": Nearest(2)}, baselines=[])
    assert found.methods[0].seconds_per_mp is not None
    assert found.methods[0].seconds_per_mp > 0
