"""What every metric asks of its arguments."""

from __future__ import annotations

from torch import Tensor

from fluorsr.errors import InputError


def check_pair(prediction: Tensor, target: Tensor, data_range: float) -> None:
    """Raise InputError unless both are [..., Y, X] float images of one shape and the range is positive."""
    if prediction.shape != target.shape or target.ndim < 2:
        raise InputError(
            f"two images of one shape [..., Y, X] can be compared, "
            f"not {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if not (prediction.is_floating_point() and target.is_floating_point()):
        raise InputError(f"metrics take floating point, not {prediction.dtype} and {target.dtype}; use .float()")
    check_range(data_range)


def check_images(images: Tensor) -> None:
    """Raise InputError unless these are [..., Y, X] float images."""
    if images.ndim < 2:
        raise InputError(f"images [..., Y, X] are needed, not {tuple(images.shape)}")
    if not images.is_floating_point():
        raise InputError(f"metrics take floating point, not {images.dtype}; use .float()")


def check_range(data_range: float) -> None:
    """Raise InputError unless the range is positive."""
    if not data_range > 0:
        raise InputError(f"data_range {data_range} must be above 0: the target's largest value minus its smallest")


def check_pixel_size(pixel_size_um: float) -> None:
    """Raise InputError unless the pixel size is positive."""
    if not pixel_size_um > 0:
        raise InputError(f"pixel_size_um {pixel_size_um} must be above 0 to give a resolution in nm")
