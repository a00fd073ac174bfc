"""What is done to two images before they are compared, in words that can stand beside the figure."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.metrics.check import check_pair
from fluorsr.metrics.fit import INTENSITIES, SHORT


@dataclass(frozen=True)
class Prepared:
    """A pair ready for any metric.

    prediction, target   [Y, X]
    data_range           the prepared target's largest value minus its smallest
    how                  the crop and the intensity scale, to be printed with the number
    """

    prediction: Tensor
    target: Tensor
    data_range: float
    how: str


def prepare(prediction: Tensor, target: Tensor, *, intensity: str = "least-squares", crop_px: int = 0) -> Prepared:
    """Cut `crop_px` off each edge of two images [Y, X], then bring them to one intensity scale.

    The crop comes first, so that what is cut off does not decide the scale.
    Raises InputError where the crop leaves nothing, the target is constant, or the way is none of INTENSITIES.
    """
    check_pair(prediction, target, 1.0)
    if target.ndim != 2:
        raise InputError(f"one image [Y, X] is prepared at a time, not {tuple(target.shape)}")
    intensity = SHORT.get(intensity, intensity)
    if intensity not in INTENSITIES:
        raise InputError(f"there is no intensity {intensity!r}; there are {', '.join(INTENSITIES)}")
    if crop_px < 0 or 2 * crop_px >= min(target.shape):
        raise InputError(
            f"a crop of {crop_px} pixels off each edge leaves nothing of {target.shape[0]} x {target.shape[1]}; "
            f"it must be 0 to {(min(target.shape) - 1) // 2}"
        )
    inner = tuple(slice(crop_px, size - crop_px) for size in target.shape)
    scaled, truth = INTENSITIES[intensity](prediction[inner], target[inner])
    data_range = float(truth.max() - truth.min())
    if data_range == 0:
        raise InputError("the target is constant: no restoration of it can be told from another")
    return Prepared(scaled, truth, data_range, f"intensity {intensity}, edges {crop_px} px cropped")
