"""Export a model as a BioImage.IO package (spec 0.5): what Fiji, QuPath, napari and the BioImage Model Zoo open.

    NAME.zip
        bioimageio.yaml        axes, pixel sizes, halo, normalisation, where everything is
        model.pt, model.onnx   the same network twice: `fluorsr export --to torchscript` and `--to onnx`
        test_*.npy             an input and what must come out of it;  sample_*.tif  the same to look at
        cover.png, README.md   input and restored image side by side; the model's card

The spec can say `scale_range`, which maps an image's percentiles to 0 and 1 on the way in; nothing in it can undo that
on the way out. So a package exported with `frame` gives out normalised intensities; one with fixed counts LOW,HIGH
scales by them in and back out, and gives the camera's counts. The spec interpolates percentiles
between two pixels' values, where fluorsr takes a pixel's own.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
import yaml

from fluorsr.errors import InputError
from fluorsr.export.bioimageio_samples import Sample, make_sample, readme
from fluorsr.export.onnx import OPSET, onnx_bytes
from fluorsr.export.source import TAKES, Sampling, Source, noise_fixed, open_source
from fluorsr.export.torchscript import read_normalise, torchscript_bytes
from fluorsr.models.load import locate
from fluorsr.models.trust import remember
from fluorsr.models.weights import Card, read_card, write_atomically
from fluorsr.models.zoo_index import zoo
from fluorsr.restorer import RestorerSpec

SPEC_VERSION = "0.5.4"  # the oldest that says all this: more programs read it
TORCHSCRIPT, ONNX = "model.pt", "model.onnx"
EPSILON = 1e-6
"""What the spec's scale_range adds to the span."""

PAPERS = {
    "edsr": ("Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution", "10.1109/CVPRW.2017.151"),
    "srgan": (
        "Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        "10.1109/CVPR.2017.19",
    ),
    "sr3": ("Saharia et al., Image Super-Resolution via Iterative Refinement", "10.1109/TPAMI.2022.3204461"),
    "unet_sim": (
        "Jin et al., Deep learning enables structured illumination microscopy with low light levels and enhanced speed",
        "10.1038/s41467-020-15784-x",
    ),
}
"""Architecture -> the article to cite, and its DOI."""


def export_bioimageio(
    model: str | Path,
    path: str | Path,
    *,
    normalise: str = "frame",
    author: Sequence[str] = (),
    licence: str | None = None,
    **sampling: Unpack[Sampling],
) -> None:
    """Write the shipped model or weights file `model` as a BioImage.IO package. It appears whole or not at all.

    normalise   `frame`: each image's percentiles become 0 and 1, and the output stays in that scale; or fixed counts
                LOW,HIGH, by which input and output are scaled
    author, licence   names, and an SPDX identifier; a shipped model has its own, others have none unless given

    A diffusion model gets the noise of seed 0 in every tile. Raises what export_torchscript and export_onnx raise, and
    InputError for `running`, which the spec cannot say.
    """
    memory, low, high = read_normalise(normalise)
    if memory > 1:
        raise InputError("bioimage.io's spec has no running normalisation; use --normalise frame or LOW,HIGH")
    source = open_source(model, **sampling)
    if TAKES in source.notes:
        raise InputError(
            f"{source.spec.name} takes {source.notes[TAKES]}, which no BioImage.IO host can make; a program of raw "
            "frames is --to torchscript --stripes FILE"
        )
    card = read_card(locate(model))
    shipped = str(model) in zoo()
    span = (low, high) if memory == 0 else None
    sample = make_sample(source, card, span)
    program = torchscript_bytes(source, tile=None, precision="fp32", normalise=normalise)
    files = {
        TORCHSCRIPT: program,
        ONNX: onnx_bytes(noise_fixed(source)),
        **sample.files,
        "README.md": readme(source.spec, card, span).encode(),
    }
    sha256 = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
    described = describe(source, card, sample, span, sha256)
    described["authors"] = [{"name": name} for name in author or (["The fluorsr developers"] if shipped else [])]
    described["license"] = licence or ("BSD-3-Clause" if shipped else None)
    files["bioimageio.yaml"] = yaml.safe_dump(described, sort_keys=False, allow_unicode=True).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for name, file in files.items():
            package.writestr(name, file)
    write_atomically(Path(path), archive.getvalue())
    remember(Path(path) / TORCHSCRIPT, hashlib.sha256(program).hexdigest())


def describe(
    source: Source, card: Card, sample: Sample, span: tuple[float, float] | None, sha256: dict[str, str]
) -> dict[str, Any]:
    """The package's bioimageio.yaml as plain values. `span`: the fixed counts that become 0 and 1, or None."""
    spec = source.spec

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": sha256[name]}

    paper, doi = PAPERS[card.architecture]
    trained = f" Trained on {spec.modality}." if spec.modality else ""
    return {
        "format_version": SPEC_VERSION,
        "type": "model",
        "name": f"{spec.name} (fluorsr)",
        "description": f"Super-resolution for fluorescence microscopy, {spec.scale} times the pixels.{trained}",
        "covers": ["cover.png"],
        "documentation": "README.md",
        "cite": [{"text": paper, "doi": doi}],
        "tags": ["2d", "pytorch", "fluorescence-light-microscopy", "super-resolution", "image-restoration", "fluorsr"],
        "inputs": [
            {
                "id": "frames",
                "description": "the camera's counts",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [f"frame{i}" for i in range(spec.frames)]},
                    *(_space(spec, axis, smallest(spec)) for axis in "yx"),
                ],
                "data": {"type": "float32"},
                "preprocessing": [_scaling(spec, span)],
                "test_tensor": file("test_input.npy"),
                "sample_tensor": file("sample_input.tif"),
            }
        ],
        "outputs": [
            {
                "id": "restored",
                "description": "the camera's counts" if span else "0 and 1 are the input's percentiles",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["restored"]},
                    *(_restored_space(spec, axis) for axis in "yx"),
                ],
                "data": {"type": "float32"},
                "postprocessing": [_unscaling(span)] if span else [],
                "test_tensor": file("test_output.npy"),
                "sample_tensor": file("sample_output.tif"),
            }
        ],
        "weights": {
            "torchscript": file(TORCHSCRIPT) | {"pytorch_version": torch.__version__.partition("+")[0]},
            "onnx": file(ONNX) | {"opset_version": OPSET, "parent": "torchscript"},
        },
        "config": {
            "bioimageio": {
                "reproducibility_tolerance": [
                    {"relative_tolerance": 1e-3, "absolute_tolerance": round(1e-4 * sample.range, 9)}
                ]
            },
            "fluorsr": {"spec": spec.to_json(), **source.notes},
        },
    }


def smallest(spec: RestorerSpec) -> int:
    """Pixels of the smallest input along an axis: two halos and at least 16 pixels between them."""
    return 2 * spec.halo + -(-16 // spec.multiple) * spec.multiple


def _space(spec: RestorerSpec, axis: str, least: int) -> dict[str, Any]:
    return {
        "type": "space",
        "id": axis,
        "size": {"min": least, "step": spec.multiple},
        "concatenable": True,
        **_pixel(spec.pixel_size_um, 1),
    }


def _restored_space(spec: RestorerSpec, axis: str) -> dict[str, Any]:
    halo = {"halo": spec.halo * spec.scale} if spec.halo else {}
    size = {"tensor_id": "frames", "axis_id": axis}
    return {"type": "space", "id": axis, "size": size, **halo, **_pixel(spec.pixel_size_um, spec.scale)}


def _pixel(size_um: float | None, scale: int) -> dict[str, Any]:
    return {"scale": (size_um or 1.0) / scale} | ({"unit": "micrometer"} if size_um else {})


def _scaling(spec: RestorerSpec, span: tuple[float, float] | None) -> dict[str, Any]:
    if span:
        low, high = span
        return {"id": "scale_linear", "kwargs": {"gain": 1 / (high - low), "offset": -low / (high - low)}}
    low, high = spec.percentiles
    percentiles = {"min_percentile": low, "max_percentile": high, "eps": EPSILON}
    return {"id": "scale_range", "kwargs": {"axes": ["channel", "y", "x"], **percentiles}}


def _unscaling(span: tuple[float, float]) -> dict[str, Any]:
    low, high = span
    return {"id": "scale_linear", "kwargs": {"gain": high - low, "offset": low}}
