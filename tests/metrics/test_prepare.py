"""Intensity scales and the edge crop, against numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluorsr.errors import InputError
from fluorsr.metrics.fit import INTENSITIES, percentiles
from fluorsr.metrics.prepare import prepare


def test_percentiles_are_numpys() -> None:
    images = torch.rand(3, 17, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = (0.0, 0.1, 37.3, 99.9, 100.0)
    expected = np.percentile(images.numpy().reshape(3, -1), wanted, axis=1)
    for ours, theirs in zip(percentiles(images, wanted), expected, strict=True):
        assert ours.shape == (3, 1, 1)
        np.testing.assert_allclose(ours.flatten().numpy(), theirs, rtol=1e-12)


def test_scales_by_hand() -> None:
    target = torch.tensor([[0.0, 10.0], [20.0, 40.0]])
    prediction = 3 * target + 7
    expected = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    raw = prepare(prediction, target, intensity="raw")
    assert torch.equal(raw.prediction, prediction)
    assert raw.data_range == 40
    fitted = prepare(prediction, target, intensity="least-squares")
    torch.testing.assert_close(fitted.prediction, target)
    for name in ("min-max", "percentile"):
        scaled = prepare(prediction, target, intensity=name)
        torch.testing.assert_close(scaled.prediction, scaled.target)
        torch.testing.assert_close(scaled.prediction, expected, atol=0.01, rtol=0)
        assert scaled.data_range == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", INTENSITIES)
def test_a_constant_prediction_stays_finite(name: str) -> None:
    prepared = prepare(torch.full((4, 4), 5.0), torch.arange(16.0).reshape(4, 4), intensity=name)
    assert prepared.prediction.isfinite().all()
    assert prepared.prediction.unique().numel() == 1


def test_the_crop_comes_first_and_is_said() -> None:
    target = torch.arange(36.0).reshape(6, 6)
    prediction = target.clone()
    prediction[0, 0] = 1e6
    prepared = prepare(prediction, target, intensity="min-max", crop_px=1)
    torch.testing.assert_close(prepared.prediction, prepared.target)
    assert prepared.target.shape == (4, 4)
    assert prepared.how == "intensity min-max, edges 1 px cropped"
    with pytest.raises(InputError, match="a crop of 3 pixels off each edge leaves nothing of 6 x 6; it must be 0 to 2"):
        prepare(prediction, target, crop_px=3)


def test_what_cannot_be_prepared_is_refused() -> None:
    image = torch.rand(4, 4)
    with pytest.raises(InputError, match="there is no intensity 'none'; there are raw, min-max, percentile, least"):
        prepare(image, image, intensity="none")
    with pytest.raises(InputError, match="the target is constant"):
        prepare(image, torch.ones(4, 4), intensity="min-max")
    with pytest.raises(InputError, match=r"one image \[Y, X\] is prepared at a time, not \(2, 4, 4\)"):
        prepare(image.expand(2, 4, 4), image.expand(2, 4, 4))
