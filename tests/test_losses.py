"""Losses against their definitions, hand-made cases, and their gradients where they are delicate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from fluorsr.errors import InputError
from fluorsr.losses import LOSSES, combined


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 1.5),
        ("mse", 2.5),
        ("charbonnier", (math.sqrt(1 + 1e-6) + math.sqrt(4 + 1e-6)) / 2),
        ("gradient", 3.0),
    ],
)
def test_losses_by_hand(name: str, expected: float) -> None:
    """Differences of 1 and -2 in each of two rows: a step of 3 along x, none along y."""
    restored, target = torch.tensor([[3.0, 1.0]] * 2), torch.tensor([[2.0, 3.0]] * 2)
    assert LOSSES[name](restored, target).item() == pytest.approx(expected, rel=1e-6)


def images(seed: int) -> torch.Tensor:
    return torch.rand(2, 1, 32, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LOSSES)
def test_equal_images_lose_nothing_and_others_do(name: str) -> None:
    loss = LOSSES[name]
    floor = 1e-3 if name in ("charbonnier", "frc") else 1e-6  # charbonnier's bottom; frc's guard against 0 / 0
    assert 0 <= loss(images(1), images(1)).item() + 1e-6 <= floor + 2e-6
    assert loss(images(1), images(2)).item() > 0.05


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_gradients_are_finite_for_constant_images(name: str, value: float) -> None:
    for target in (torch.full((2, 1, 32, 32), value), torch.full((2, 1, 32, 32), 0.2), images(3)[..., :32]):
        restored = torch.full((2, 1, 32, 32), value, requires_grad=True)
        loss = LOSSES[name](restored, target)
        loss.backward()
        assert math.isfinite(loss.item())
        assert bool(torch.isfinite(restored.grad).all())


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_down_the_gradient_brings_the_images_closer(name: str) -> None:
    restored = images(1).requires_grad_()
    loss = LOSSES[name](restored, images(2))
    (grad,) = torch.autograd.grad(loss, restored)
    moved = restored.detach() - 1e-2 * grad / grad.abs().max()
    assert LOSSES[name](moved, images(2)).item() < loss.item()


def test_the_ssim_loss_is_scikit_images() -> None:
    a, b = images(1), images(2)
    expected = np.mean([
        structural_similarity(
            x[0].double().numpy(), y[0].double().numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True,
        )[1][5:-5, 5:-5].mean()
        for x, y in zip(a, b, strict=True)
    ])  # fmt: skip
    assert 1 - LOSSES["ssim"](a, b).item() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="at least 11 x 11 output pixels, not \\[10, 10\\]"):
        LOSSES["ssim"](a[..., :10, :10], b[..., :10, :10])


def test_the_fourier_loss_of_one_wave_by_hand() -> None:
    """A cosine of amplitude 1 that misses: its two peaks hold 16 * 16 / 2 each, over 16 (orthonormal): 8 each."""
    x = torch.arange(16.0)
    wave = torch.cos(2 * torch.pi * 3 * x / 16).expand(1, 1, 16, 16)
    # one of the two peaks lies in the half plane of 16 x 9 frequencies
    assert LOSSES["fourier"](wave, torch.zeros_like(wave)).item() == pytest.approx(8 / (16 * 9), rel=1e-5)
    assert LOSSES["fourier"](wave, wave).item() == 0


def test_the_frc_loss_hears_what_is_not_in_the_target_and_not_how_loud() -> None:
    a, noise = images(1), images(2)
    low = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(a, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    assert LOSSES["frc"](3 * a + 1, a).item() < 0.01  # gain and offset do not matter
    assert LOSSES["frc"](low + noise, a).item() > LOSSES["frc"](low, a).item()
    assert LOSSES["frc"](noise, a).item() == pytest.approx(1, abs=0.15)  # noise: no ring correlates
    assert LOSSES["frc"](-a, a).item() == pytest.approx(2, abs=0.01)
    with pytest.raises(InputError, match="the frc loss needs at least 16 x 16"):
        LOSSES["frc"](a[..., :8, :8], a[..., :8, :8])


def test_losses_combine_by_weight() -> None:
    a, b = images(1), images(2)
    by_hand = LOSSES["l1"](a, b) + 5 * LOSSES["mse"](a, b)
    torch.testing.assert_close(combined({"l1": 1, "mse": 5, "ssim": 0})(a, b), by_hand)
    with pytest.raises(InputError, match=r"loss 'l3' is not one of l1, mse.*; the weight of mse is -1; it must be 0"):
        combined({"l3": 1, "mse": -1})
    with pytest.raises(InputError, match="no loss has a weight above 0; name at least one"):
        combined({})
