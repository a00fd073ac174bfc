"""Bicubic and Richardson-Lucy: scikit-image's numbers, sharper but not brighter, and the halo they state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import richardson_lucy

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.errors import InputError
from fluorsr.optics.psf import gaussian_blur, gaussian_kernel, gaussian_radius
from fluorsr.restorer import Restorer

ORIGIN = torch.zeros(1, 2, dtype=torch.int64)


def test_richardson_lucy_is_scikit_images_away_from_the_edges() -> None:
    generator = torch.Generator().manual_seed(2)
    light = gaussian_blur(torch.rand(1, 1, 64, 64, generator=generator, dtype=torch.float64) ** 8, 5.0) + 0.01
    kernel = gaussian_kernel(5.0, gaussian_radius(5.0, 3.0))
    # scikit-image starts from a flat image and we from the measured one, so what must agree is where both lead.
    theirs = richardson_lucy(light[0, 0].numpy(), torch.outer(kernel, kernel).numpy(), num_iter=60, clip=False)
    ours = RichardsonLucy(5.0, iterations=60, scale=1).restore(light, ORIGIN, 0)[0, 0]
    inner = (slice(16, -16),) * 2
    blurred_ours, blurred_theirs = (gaussian_blur(torch.as_tensor(v), 5.0)[inner] for v in (ours, theirs))
    torch.testing.assert_close(blurred_ours, blurred_theirs, rtol=0.01, atol=1e-3)


def test_richardson_lucy_sharpens_a_spot_and_keeps_its_light() -> None:
    point = torch.zeros(1, 1, 65, 65, dtype=torch.float64)
    point[0, 0, 32, 32] = 100.0
    spot = gaussian_blur(point, 8.0)
    restored = RichardsonLucy(8.0, iterations=20, scale=1).restore(spot, ORIGIN, 0)
    assert restored.sum().item() == pytest.approx(100, rel=1e-3)
    assert restored.max() > 2 * spot.max()


@pytest.mark.parametrize("restorer", [Bicubic(2), Bicubic(4), RichardsonLucy(2.0, 2), RichardsonLucy(3.0, 3, scale=1)])
def test_the_stated_halo_is_the_true_one(restorer: Restorer) -> None:
    """What lies beyond the halo changes nothing; what lies at its edge does."""
    spec = restorer.spec
    assert spec.exact
    size = 2 * spec.halo + 1
    tile = torch.rand(1, 1, size + 20, size + 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    middle = size // 2 + 10
    centre = slice(spec.scale * middle, spec.scale * (middle + 1))

    def changed(distance: int) -> bool:
        other = tile.clone()
        other[:, :, middle - distance] += 1.0
        other[:, :, middle + distance] += 1.0
        before, after = (restorer.restore(t, ORIGIN, 0)[0, 0, centre, centre] for t in (tile, other))
        return not torch.equal(before, after)

    assert changed(spec.halo)
    assert not changed(spec.halo + 1)


def test_a_reach_beyond_the_cap_is_not_called_exact() -> None:
    spec = RichardsonLucy(280 / 60, iterations=20, max_halo=64).spec
    assert (spec.halo, spec.exact) == (64, False)


def test_bicubic_keeps_edges_in_place() -> None:
    """The centre of gravity of a symmetric image does not move."""
    tile = torch.zeros(1, 1, 9, 9)
    tile[0, 0, 4, 4] = 1.0
    larger = Bicubic(2).restore(tile, ORIGIN, 0)[0, 0]
    assert larger.shape == (18, 18)
    torch.testing.assert_close(larger, larger.flip(0))
    np.testing.assert_allclose(larger.sum().item(), 4.0, rtol=1e-5)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(InputError, match=r"iterations of at least 1, not 3.0, 0"):
        RichardsonLucy(3.0, iterations=0)
