"""What a BioImage.IO package shows of a model: an image, what the model makes of it, a cover, a text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from fluorsr.data.presets import steady
from fluorsr.data.simulate import simulate_pair
from fluorsr.data.simulation_config import SimulationConfig
from fluorsr.export.source import Source, noise_fixed
from fluorsr.models.precision import filaments
from fluorsr.models.weights import Card
from fluorsr.models.zoo_index import card_text
from fluorsr.restorer import RestorerSpec

SIDE = 192
COVER = 400


@dataclass(frozen=True)
class Sample:
    """Files of a package, by name, and the range of the restored image."""

    files: Mapping[str, bytes]
    range: float


def make_sample(source: Source, card: Card, span: tuple[float, float] | None) -> Sample:
    """An image and what the network in Python makes of it, in the scale that the package's output has."""
    spec = source.spec
    frames = sample_image(spec, card)[None]
    low, high = span or np.percentile(frames, spec.percentiles).tolist()
    x = torch.from_numpy((frames - np.float32(low)) / np.float32(high - low + (0 if span else 1e-6)))
    with torch.inference_mode():
        restored = noise_fixed(source).module(x).numpy()
    if span:
        restored = restored * np.float32(high - low) + np.float32(low)
    tiff = {"photometric": "minisblack", "metadata": {"axes": "YX"}}
    several = tiff | {"metadata": {"axes": "CYX"}} if spec.frames > 1 else tiff
    files = {
        "test_input.npy": _file(np.save, frames),
        "test_output.npy": _file(np.save, restored),
        "sample_input.tif": _file(tifffile.imwrite, frames.squeeze(), imagej=True, **several),
        "sample_output.tif": _file(tifffile.imwrite, restored.squeeze(), imagej=True, **tiff),
        "cover.png": cover(frames[0].mean(0), restored[0, 0]),
    }
    return Sample(files, float(np.ptp(restored)))


def sample_image(spec: RestorerSpec, card: Card) -> NDArray[np.float32]:
    """An image as the model was trained on, simulated from its own recipe where it has one: [frames, Y, X] counts."""
    side = -(-max(SIDE, 2 * spec.halo + 64) // spec.multiple) * spec.multiple
    settings = _simulation(card, side)
    if settings is None or settings.frames != spec.frames:
        return (100 + 1000 * filaments(spec.frames, side)[0]).round().numpy()
    commonest = max(settings.structures, key=settings.structures.__getitem__)
    return simulate_pair(steady(settings), 0, 0, commonest).degraded.astype(np.float32)


def _simulation(card: Card, side: int) -> SimulationConfig | None:
    """What it was trained on; None for one trained on real pairs, or by a recipe of another version."""
    recipe = card.notes.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    if not isinstance(data, dict):
        return None
    try:
        return SimulationConfig.model_validate(data | {"size_px": side})
    except pydantic.ValidationError:
        return None


def cover(raw: NDArray[Any], restored: NDArray[Any]) -> bytes:
    """PNG, twice as wide as high: input and restored image, each from its 1st to its 99.9th percentile."""
    halves = []
    for image in (raw, restored):
        low, high = np.percentile(image, (1, 99.9))
        grey = (255 * ((image - low) / max(high - low, 1e-9)).clip(0, 1)).astype(np.uint8)
        halves.append(np.asarray(Image.fromarray(grey).resize((COVER, COVER), Image.Resampling.NEAREST)))
    return _file(Image.fromarray(np.hstack(halves)).save, format="PNG")


def readme(spec: RestorerSpec, card: Card, span: tuple[float, float] | None) -> str:
    """The model's card, and what the package does to intensities."""
    if span:
        scaled = f"Counts {span[0]:g} and {span[1]:g} become 0 and 1 before the network, and its output is scaled back."
    else:
        scaled = (
            f"The {spec.percentiles[0]:g} and {spec.percentiles[1]:g} percentiles of the image become 0 and 1, and the "
            "output stays in that scale: the specification has no step that undoes it. For counts, export with fixed "
            "ones: `--normalise LOW,HIGH`."
        )
    noise = (
        "\n\nThe model draws samples. Here it always draws the same one, with the same noise in every tile; in tiles, "
        "neighbours do not share their noise. `fluorsr infer` does that right."
        if spec.stochastic
        else ""
    )
    halo = f"{spec.halo} input pixels on each side" + ("" if spec.exact else ", beyond which it depends on a little")
    return (
        f"{card_text(spec.name) or _plain_card(spec, card)}\n"
        f"## Intensities in this package\n\n{scaled}{noise}\n\n"
        f"## Validation\n\nA pixel depends on {halo}. `test_output.npy` is what the network makes of `test_input.npy` "
        "in Python; `bioimageio test` holds both kinds of weights against it. On images of your own, compare with a "
        "super-resolution image of the same sample, or blur the restored image back onto its input: `fluorsr check`.\n"
    )


def _plain_card(spec: RestorerSpec, card: Card) -> str:
    facts = {
        "architecture": card.architecture,
        "raw frames": spec.frames,
        "output pixels per input pixel": spec.scale,
        "input pixel size": f"{spec.pixel_size_um} µm" if spec.pixel_size_um else "not known",
        "modality": spec.modality or "not known",
        "structures": ", ".join(spec.structures) or "not known",
    }
    return f"# {spec.name}\n\n| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in facts.items())


def _file(write: Any, *given: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    write(target, *given, **options)
    return target.getvalue()
