"""Fourier ring correlation of one image with itself, by splitting it into two whose noise is independent.

    checkerboard    a B a B      a with b, and B with A: every other pixel along y and x, half a new pixel apart
    (Koho et al.    A b A b      along the diagonal. The shift is known and taken back, so nothing need be calibrated.
    2019, Nat.      a B a B      Sees detail down to four pixels only.
    Commun. 10)
    binomial        each photon is thrown into one image or the other: n1 ~ B(n, 1/2), n2 = n - n1. Exact for
    (Rieger et al.  photon counts, and down to two pixels; meaningless for anything but photons.
    2024, Opt. Express 32, 21767)

Either needs noise that is independent from pixel to pixel, as a camera's is. A restored or interpolated image has none:
its halves agree whatever it shows, so the figure is for raw images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_images, check_pixel_size, check_range
from fluorsr.metrics.frc import Curve, check_threshold, crossing, frc_curve

SPLITS = ("checkerboard", "binomial")


def frc_single(
    images: Tensor,
    *,
    data_range: float = 1.0,
    pixel_size_um: float,
    split: str = "checkerboard",
    threshold: str = "1/7",
    seed: int = 0,
) -> Tensor:
    """Resolution in nanometres of each image: [..., Y, X] -> [...] float64, by the criteria of `frc`.

    split   one of SPLITS; "binomial" takes photons, which are rounded, and draws from `seed`
    Raises InputError below 32 x 32 pixels for the checkerboard, 16 x 16 for the binomial split, or photons below 0.
    """
    check_images(images)
    check_range(data_range)
    check_pixel_size(pixel_size_um)
    check_threshold(threshold)
    size = pixel_size_um * (2 if split == "checkerboard" else 1)
    cutoffs = [
        crossing(frc_single_curve(image, split=split, seed=seed), threshold)
        for image in images.reshape(-1, *images.shape[-2:])
    ]
    return (1000 * size / torch.tensor(cutoffs, dtype=torch.float64)).reshape(images.shape[:-2])


def frc_single_curve(image: Tensor, *, split: str = "checkerboard", seed: int = 0) -> Curve:
    """The correlation of the halves of [Y, X]; the frequency is in cycles a pixel of the halves (2 px or 1 px wide)."""
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}; there are {', '.join(SPLITS)}")
    if split == "binomial":
        return frc_curve(*_binomial(image, seed))
    curves = [frc_curve(*halves) for halves in _checkerboard(image)]
    first, second = curves
    return Curve(first.frequency, (first.correlation + second.correlation) / 2, first.members + second.members)


def _checkerboard(image: Tensor) -> Iterator[tuple[Tensor, Tensor, tuple[float, float]]]:
    """Both pairs of quarters, and where the second of a pair lies from the first, in pixels of the quarters."""
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    yield even[0::2, 0::2], even[1::2, 1::2], (0.5, 0.5)
    yield even[0::2, 1::2], even[1::2, 0::2], (0.5, -0.5)


def _binomial(photons: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    counts = photons.double().round()
    if bool((counts < 0).any()):
        raise InputError(
            f"a binomial split takes photons, and {float(photons.min()):g} is below 0: "
            "take off the camera's offset and divide by its gain, or use split='checkerboard'"
        )
    generator = torch.Generator().manual_seed(seed)
    finite = torch.nan_to_num(counts, nan=0.0).cpu()
    half = torch.binomial(finite, torch.full_like(finite, 0.5), generator=generator).to(counts.device)
    half = torch.where(counts.isnan(), torch.nan, half)
    return half, counts - half
