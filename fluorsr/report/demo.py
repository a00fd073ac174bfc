"""The demo: simulate a field whose truth is known, restore it, compare both with the truth in numbers and in a picture.

    simulate --> input.ome.zarr ---------> infer --> restored.ome.zarr --+
            `--> input_truth.ome.zarr -----------------------------------+--> scores.json, comparison.png

Requirements it meets
- The restoration is the ordinary `fluorsr.infer`, from store to store; nothing is prepared for the demo.
- Bounded memory and time at any size: one channel is simulated at a time, and scores are taken over at most nine
  regions, spread evenly.
- One contrast window for input, restored image and truth, and their light in the table, so that a brighter image cannot
  pass for a sharper one.
- What is shown is found by a rule that does not look at the restored image.
- A second run reuses the simulated data, and nothing but the demo's own output is ever replaced.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fluorsr.classical.bicubic import upsample
from fluorsr.data.simulate import configure
from fluorsr.data.store import simulate_store, truth_path
from fluorsr.errors import InputError, OutputExistsError, StorageError
from fluorsr.evaluate.restore import score
from fluorsr.image import Image, PlaneIndex
from fluorsr.io.open import open_image
from fluorsr.metrics.registry import METRICS
from fluorsr.pipeline.run import DEFAULT_MODEL, infer
from fluorsr.pipeline.summary import Progress, Summary
from fluorsr.report.comparison import Crop, draw_comparison

STRUCTURES = ("microtubules", "vesicles")
SCALE: Final = 2
MIN_SIZE_PX, MAX_SIZE_PX = 64, 16384
REGION_PX = 256
CROP_PX = 128
MADE_BY = "fluorsr demo"
FOOTER = (
    "Within a row all images share the truth's contrast window. The crop was chosen by the detail in the truth alone.\n"
    "Numbers: means over evenly spread regions, the input interpolated. PSNR and SSIM: after a linear fit of "
    "intensity. Detail: Fourier ring correlation with the truth, 1/7.\n"
    "Light: above the background, over the truth's; 1 where an image is no brighter."
)


class Images(NamedTuple):
    """The same field three times, channels along c."""

    source: Image
    restored: Image
    truth: Image


@dataclass(frozen=True)
class Score:
    """One image of one channel against the truth, as means over regions.

    figures   of each metric (fluorsr.metrics.registry), after a least-squares fit of intensity (a x + b) to the truth
    light     the image's mean above the background over the truth's, not fitted: 1 where it is no brighter
    """

    channel: str
    image: str
    figures: dict[str, float]
    light: float


@dataclass(frozen=True)
class DemoResult:
    """What the demo made; `seconds` by stage, in order."""

    folder: Path
    picture: Path
    scores: tuple[Score, ...]
    summary: Summary
    seconds: dict[str, float]


def run_demo(
    output: str | Path,
    *,
    size: int = 4096,
    seed: int = 0,
    model: str | Path = DEFAULT_MODEL,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DemoResult:
    """Simulate, restore and compare a two-channel confocal field of `size` x `size` pixels of 60 nm.

    output   a folder of the demo's own: new, empty, or made by an earlier demo
    tell     is given a line about each stage as it begins; progress follows the restoration

    Raises InputError for a size out of range, OutputExistsError where `output` holds anything else, StorageError where
    it cannot be written.
    """
    if not MIN_SIZE_PX <= size <= MAX_SIZE_PX:
        raise InputError(f"the demo's field is {MIN_SIZE_PX} to {MAX_SIZE_PX} pixels wide, not {size}; try 1024")
    if seed < 0:
        raise InputError(f"the seed {seed} must be at least 0")
    say = tell or (lambda _: None)
    folder = Path(output)
    seconds: dict[str, float] = {}
    source, restored = folder / "input.ome.zarr", folder / "restored.ome.zarr"
    truth = truth_path(source)

    began = time.perf_counter()
    wanted = {"made_by": MADE_BY, "version": importlib.metadata.version("fluorsr"), "size_px": size, "seed": seed}
    if _claim(folder) == wanted and source.exists() and truth.exists():
        say(f"using the field simulated earlier, {source}")
    else:
        say(f"simulating {' and '.join(STRUCTURES)}, {size} x {size} pixels each")
        _write_json(folder / "demo.json", {"made_by": MADE_BY})
        for path in (source, truth):
            shutil.rmtree(path, ignore_errors=True)  # what a killed demo leaves need not be an image yet
        simulate_store(source, configure("confocal-280", fixed=True, size_px=size, scale=SCALE), STRUCTURES, seed)
        _write_json(folder / "demo.json", wanted)
    seconds["simulate"] = time.perf_counter() - began

    began = time.perf_counter()
    say(f"restoring: fluorsr-infer {source} {restored} --model {model}")
    summary = infer(source, restored, model=model, overwrite=True, tell=say, progress=progress)
    seconds["restore"] = time.perf_counter() - began

    began = time.perf_counter()
    say("comparing both with the truth")
    images = Images(*(open_image(path) for path in (source, restored, truth)))
    scores: list[Score] = []
    crops: list[Crop] = []
    for c, structure in enumerate(STRUCTURES):
        background = summary.normalization[structure][0]
        of_channel = _score_channel(images, c, structure, size, background)
        crops.append(_crop(images, c, of_channel, size))
        scores += of_channel
    picture = folder / "comparison.png"
    draw_comparison(crops, picture, title=f"A simulated confocal field, restored by {summary.model}", footer=FOOTER)
    seconds["compare"] = time.perf_counter() - began
    result = {"scores": [asdict(each) for each in scores], "seconds": seconds, "restoration": summary.to_json()}
    _write_json(folder / "scores.json", result)
    return DemoResult(folder, picture, tuple(scores), summary, seconds)


def _claim(folder: Path) -> dict[str, Any]:
    """Make the folder, or return what an earlier demo wrote into demo.json; refuse a folder that is not the demo's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            return {}
        found = json.loads((folder / "demo.json").read_text("utf-8"))
    except FileNotFoundError:
        found = None
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputExistsError(f"{folder} is not a folder; choose another with --out") from error
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}; choose another with --out") from error
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("made_by") != MADE_BY:
        raise OutputExistsError(f"{folder} holds files that the demo did not make; choose another folder with --out")
    return found


def _write_json(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(_finite(content), indent=1) + "\n", "utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}; choose another folder with --out") from error


def _finite(value: Any) -> Any:
    """JSON has no infinity (the PSNR of equal images, a resolution where nothing agrees); null stands for it."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(image: Image, c: int, y: int, x: int, size: int) -> Tensor:
    """A square of one channel: [size, size] float32."""
    pixels = image.read(PlaneIndex(c=c), slice(y, y + size), slice(x, x + size))
    return torch.from_numpy(pixels.astype(np.float32))


def _regions(size: int) -> list[tuple[int, int, int]]:
    """(y, x, side) in input pixels: up to three by three squares spread evenly over the field."""
    side = min(REGION_PX, size)
    count = min(3, size // side)
    starts = [i * (size - side) // max(count - 1, 1) for i in range(count)]
    return [(y, x, side) for y, x in itertools.product(starts, starts)]


def _score_channel(images: Images, c: int, structure: str, size: int, background: float) -> list[Score]:
    """Scores of the input (interpolated) and the restored image, each the mean over the regions."""
    pixel_um = images.truth.pixel_size_um["x"]
    figures: dict[str, list[dict[str, float]]] = {"input": [], "restored": []}
    means: dict[str, list[tuple[float, float]]] = {"input": [], "restored": []}
    for y, x, side in _regions(size):
        target = _read(images.truth, c, SCALE * y, SCALE * x, SCALE * side)
        restored = _read(images.restored, c, SCALE * y, SCALE * x, SCALE * side)
        enlarged = upsample(_read(images.source, c, y, x, side)[None, None], SCALE)[0, 0]
        for name, image in (("input", enlarged), ("restored", restored)):
            figures[name].append(score(image, target, pixel_um))
            means[name].append((float(image.mean()) - background, float(target.mean()) - background))
    scores = []
    for name, of_regions in figures.items():
        averaged = {key: metric.mean([each[key] for each in of_regions]) for key, metric in METRICS.items()}
        own, truth = np.mean(means[name], axis=0)
        scores.append(Score(structure, name, averaged, float(own / truth)))
    return scores


def _crop(images: Images, c: int, scores: list[Score], size: int) -> Crop:
    """The crop to show: of 25 places, the one whose truth is the seventh most detailed. Only the truth is looked at."""
    side = min(CROP_PX, size)
    starts = sorted({i * (size - side) // 4 for i in range(5)})
    places = list(itertools.product(starts, starts))
    ranked = sorted(places, key=lambda at: -_detail(_read(images.truth, c, SCALE * at[0], SCALE * at[1], SCALE * side)))
    y, x = ranked[len(ranked) // 4]
    captions = [
        f"PSNR {each.figures['psnr']:.1f} dB    SSIM {each.figures['ssim']:.3f}\n"
        f"detail down to {each.figures['frc']:.0f} nm    light {each.light:.2f}"
        for each in scores
    ]
    extent = side * images.source.pixel_size_um["x"]
    return Crop(
        scores[0].channel,
        (
            _read(images.source, c, y, x, side).numpy(),
            _read(images.restored, c, SCALE * y, SCALE * x, SCALE * side).numpy(),
            _read(images.truth, c, SCALE * y, SCALE * x, SCALE * side).numpy(),
        ),
        (extent, extent),
        (captions[0], captions[1], "a spot of 110 nm, no noise"),
    )


def _detail(image: Tensor) -> float:
    """How much an image changes from pixel to pixel; the square root keeps one bright spot from deciding."""
    return float((image.sqrt().diff(dim=0) ** 2).mean() + (image.sqrt().diff(dim=1) ** 2).mean())
