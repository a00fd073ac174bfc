"""Settings of a comparison: what is done to the images before any method or metric sees them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.evaluate.cases import Case
from fluorsr.evaluate.results import Protocol
from fluorsr.metrics.fit import INTENSITIES, SHORT

WANG_PX = 256

PROTOCOLS: dict[str, Protocol] = {
    "standard": Protocol(
        "standard",
        "Whole images at their own pixels. Each restored image is brought to the truth's intensity by the gain and "
        "offset of least squares, so that no method wins or loses by them; the range is the truth's.",
        "least-squares",
        0,
    ),
    "wang2019-256": Protocol(
        "wang2019-256",
        "The setting of published tables on the pairs of Wang et al. 2019 (Nat. Methods 16, 103): input and truth are "
        "both shrunk to 256 x 256 pixels before anything else, scale 1, each image mapped to 0 to 1 by its own "
        "extremes.",
        "min-max",
        0,
        (
            "Shrinking averages away the detail that a super-resolution method is for: nothing finer than two of the "
            "large pixels can be right or wrong in these figures, and noise is averaged away with it.",
            "Each image is scaled by its own extremes, so one hot pixel changes the PSNR of all the others, and errors "
            "of brightness are hidden.",
            "LPIPS was fed [0, 1] in the published table and is fed [-1, 1] here, as its authors ask: the two cannot "
            "stand beside each other.",
            "The SRGAN of the published table was trained with input and target swapped: its figures say nothing of "
            "SRGAN.",
            "The published table gives no intervals and no tests: differences of a few tenths of a decibel in it may "
            "be chance.",
        ),
    ),
}


def protocol(name: str, *, intensity: str | None = None, crop_px: int | None = None) -> Protocol:
    """A protocol by name, with another intensity scale or edge crop where they are given. Raises InputError."""
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    if intensity is not None:
        intensity = SHORT.get(intensity, intensity)
        if intensity not in INTENSITIES:
            raise InputError(f"there is no intensity {intensity!r}; there are {', '.join(INTENSITIES)}")
    own = PROTOCOLS[name]
    if name != "standard" and not (intensity is None and crop_px is None):
        raise InputError(f"the protocol {name} decides intensity and crop; leave out --intensity and --crop")
    return replace(
        own,
        intensity=own.intensity if intensity is None else intensity,
        crop_px=own.crop_px if crop_px is None else crop_px,
    )


def apply_protocol(chosen: Protocol, case: Case) -> Case:
    """The case as the protocol wants it. Raises InputError for images that are too small for it."""
    if chosen.name != "wang2019-256":
        return case
    height, width = case.degraded.shape[-2:]
    if min(height, width) < WANG_PX:
        raise InputError(
            f"{case.name}: {height} x {width} pixels cannot be shrunk to {WANG_PX} x {WANG_PX}; use larger images or "
            "--protocol standard"
        )
    frames, target = (
        functional.adaptive_avg_pool2d(torch.from_numpy(images.astype("float32"))[None], WANG_PX)[0]
        for images in (case.degraded, case.target[None])
    )
    size = None if case.input_pixel_size_um is None else case.input_pixel_size_um * width / WANG_PX
    return replace(
        case,
        degraded=_unit(frames).numpy(),
        target=_unit(target)[0].numpy(),
        input_pixel_size_um=size,
        pixel_size_um=size,
    )


def _unit(images: torch.Tensor) -> torch.Tensor:
    """To 0 to 1 by its own extremes, all frames together; what is constant becomes 0."""
    low, high = images.min(), images.max()
    return (images - low) / (high - low if high > low else 1.0)
