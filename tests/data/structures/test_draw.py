"""Points to voxels: light, centres and widths against sums done by hand and against exact spots."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluorsr.data.structures.draw import draw_plane, draw_planes, draw_spots, sharing_otf
from fluorsr.data.structures.emitters import Emitters, emitters
from fluorsr.errors import InputError
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_otf


def cloud(n: int, size: tuple[float, float], seed: int = 0) -> Emitters:
    rng = np.random.default_rng(seed)
    return emitters(
        rng.uniform(-1, 1, n), rng.uniform(0.3, size[0] - 0.3, n), rng.uniform(0.3, size[1] - 0.3, n), rng.random(n)
    )


def test_one_point_by_hand() -> None:
    # y = 1.5 pixels is the centre of row 1; x = 2.25 pixels lies 3/4 of the way from the centre of column 1 to 2's.
    image = draw_plane(emitters(0.0, 0.15, 0.225, 8.0), (4, 4), (0.1, 0.1))
    expected = np.zeros((4, 4), dtype=np.float32)
    expected[1, 1], expected[1, 2] = 2.0, 6.0
    np.testing.assert_allclose(image, expected, atol=1e-5)


@pytest.mark.parametrize("sharing", ["linear", "quadratic"])
def test_light_and_centre_are_kept(sharing: str) -> None:
    points = cloud(200_001, (3.0, 4.0))
    image = draw_plane(points, (60, 40), (0.05, 0.1), sharing=sharing)  # type: ignore[arg-type]
    assert image.dtype == np.float32
    light = points.light.astype(np.float64)
    assert image.sum(dtype=np.float64) == pytest.approx(light.sum(), rel=1e-6)
    y = (np.arange(60) + 0.5) * 0.05
    x = (np.arange(40) + 0.5) * 0.1
    assert (image.sum(axis=1) @ y) / image.sum() == pytest.approx((light @ points.y) / light.sum(), rel=1e-6)
    assert (image.sum(axis=0) @ x) / image.sum() == pytest.approx((light @ points.x) / light.sum(), rel=1e-6)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.37, 0.5, 0.81])
def test_added_variance(part: float) -> None:
    x = np.arange(9) + 0.5
    for sharing, expected in (("linear", part * (1 - part)), ("quadratic", 0.25)):
        line = draw_plane(emitters(0.0, 0.5, 4.5 + part, 1.0), (1, 9), (1.0, 1.0), sharing=sharing)  # type: ignore[arg-type]
        line = line.sum(axis=0)
        line /= line.sum()
        assert line @ (x - 4.5 - part) ** 2 == pytest.approx(expected, abs=1e-5)


def test_quadratic_sharing_without_its_blur_is_a_spot() -> None:
    """The claim of the module: a 110 nm spot on 30 nm pixels, right to 0.7 % of its peak, and to 5 % when linear."""
    size, pixel, fwhm = 64, 0.03, 0.11
    worst = {"linear": 0.0, "quadratic": 0.0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        point = emitters(0.0, 0.96 + rng.uniform(0, pixel), 0.96 + rng.uniform(0, pixel), 1.0)
        y = (np.arange(size) + 0.5) * pixel
        sigma = fwhm / FWHM_PER_SIGMA
        line = [np.exp(-(((y - at[0]) / sigma) ** 2) / 2) for at in (point.y, point.x)]
        exact = np.outer(*line) * pixel**2 / (2 * np.pi * sigma**2)
        for sharing in ("linear", "quadratic"):
            image = torch.from_numpy(draw_plane(point, (size, size), (pixel, pixel), sharing=sharing))  # type: ignore[arg-type]
            otf = gaussian_otf((size, size), fwhm / pixel) / sharing_otf((size, size), sharing)  # type: ignore[arg-type]
            blurred = torch.fft.irfft2(torch.fft.rfft2(image) * otf, s=(size, size)).numpy()
            worst[sharing] = max(worst[sharing], np.abs(blurred - exact).max() / exact.max())
    assert worst["quadratic"] < 0.007, worst
    assert worst["linear"] < 0.05, worst


def test_spots_are_exact() -> None:
    points = emitters(0.0, [1.0, 1.31], [0.8, 1.2], [1.0, 3.0])
    image = draw_spots(points, (40, 44), (0.05, 0.05), 0.25)
    assert image.sum(dtype=np.float64) == pytest.approx(4.0, rel=1e-4)
    # One pixel, integrated by brute force.
    sigma, fine = 0.25 / FWHM_PER_SIGMA, 0.05 * (20 + (np.arange(200) + 0.5) / 200)
    y, x = np.meshgrid(fine, fine - 0.2, indexing="ij")
    light = sum(
        w * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        for a, b, w in zip(points.y, points.x, points.light, strict=True)
    )
    assert image[20, 16] == pytest.approx(light.mean() * 0.05**2, rel=1e-4)


def test_planes_share_along_z() -> None:
    points = emitters([0.0, 0.25, -3.0, 9.0], 0.5, 0.5, [1.0, 4.0, 10.0, 100.0])
    stack = draw_planes(points, (3, 1, 1), (1.0, 1.0, 1.0), first_plane_um=-1.0)
    # 0.25 lies 3/4 on the plane at 0; what lies beyond the ends counts to the ends.
    np.testing.assert_allclose(stack.ravel(), [10.0, 1.0 + 3.0, 1.0 + 100.0])
    single = draw_planes(points, (1, 1, 1), (1.0, 1.0, 1.0))
    assert single.ravel() == [115.0]
    np.testing.assert_allclose(stack.sum(axis=0), draw_plane(points, (1, 1), (1.0, 1.0)))


@pytest.mark.parametrize("sharing", ["linear", "quadratic"])
def test_parts_add_up_across_a_border(sharing: str) -> None:
    """A window on a larger image is that part of the larger image: what falls half over the edge is half there."""
    points = cloud(5000, (2.0, 2.0))
    whole = draw_plane(points, (20, 20), (0.1, 0.1), sharing=sharing)  # type: ignore[arg-type]
    moved = points._replace(y=points.y - np.float32(0.5), x=points.x - np.float32(0.8))
    part = draw_plane(moved, (10, 7), (0.1, 0.1), sharing=sharing)  # type: ignore[arg-type]
    np.testing.assert_allclose(part, whole[5:15, 8:15], atol=2e-4)


def test_nothing_and_errors() -> None:
    nothing = emitters([], [], [], [])
    assert draw_plane(nothing, (3, 4), (1.0, 1.0)).sum() == 0
    with pytest.raises(InputError, match="must have at least one voxel along each axis"):
        draw_planes(nothing, (0, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="must be finite and above 0"):
        draw_plane(nothing, (4, 4), (1.0, 0.0))
    with pytest.raises(InputError, match="sharing 'cubic' must be one of linear, quadratic"):
        draw_plane(nothing, (4, 4), (1.0, 1.0), sharing="cubic")  # type: ignore[arg-type]
