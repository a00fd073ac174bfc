"""Muon: what torch's own does to single matrices, done to kernels; all other weights are Adam's."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from fluorsr.train.optimiser import Optimiser, orthogonal


def network() -> nn.Module:
    """Two kernels of one shape and one of another between head and tail, stored as the Learner stores them."""
    torch.manual_seed(5)
    layers = [nn.Conv2d(*shape) for shape in ((1, 16, 3), (16, 16, 3), (16, 16, 3), (16, 32, 1), (32, 1, 3))]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def learn(module: nn.Module, step: int) -> None:
    """Give all weights gradients, random ones: of their directions none is so weak that it drowns in rounding."""
    generator = torch.Generator().manual_seed(step)
    for weight in module.parameters():
        weight.grad = torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=generator))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon to compare with")
def test_kernels_move_as_torch_moves_matrices_and_the_rest_as_by_adam() -> None:
    ours, theirs = network(), network()
    optimiser = Optimiser(ours.parameters(), "muon", (0.9, 0.99))
    kernels = [theirs[i].weight for i in (1, 2, 3)]
    matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in kernels]
    muon = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    rest = [one for one in theirs.parameters() if all(one is not kernel for kernel in kernels)]
    adam = torch.optim.Adam(rest, lr=1e-3, betas=(0.9, 0.99))
    start = copy.deepcopy(theirs)
    for step in range(4):
        learn(ours, step)
        learn(theirs, step)
        optimiser.step(1e-3)
        for matrix, kernel in zip(matrices, kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = kernel.grad.flatten(1)
        muon.step()
        adam.step()
        with torch.no_grad():
            for matrix, kernel in zip(matrices, kernels, strict=True):
                kernel.copy_(matrix.view_as(kernel))
    for got, wanted, old in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        moved = (wanted - old).norm()
        assert moved > 0
        assert (got - wanted).norm() < 0.03 * moved  # torch iterates in bfloat16


def test_without_kernels_it_is_adam() -> None:
    ours, theirs = network(), network()
    optimiser = Optimiser(ours.parameters(), "adam", (0.8, 0.9))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, betas=(0.8, 0.9))
    for step in range(3):
        learn(ours, step)
        learn(theirs, step)
        optimiser.step(1e-2)
        adam.step()
    for got, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_step_is_as_long_as_adam_usually_makes_it() -> None:
    module = network()
    optimiser = Optimiser(module.parameters(), "muon", (0.9, 0.99))
    kernel = module[1].weight
    before = kernel.detach().clone()
    learn(module, 1)
    optimiser.step(1e-3)
    length = float((kernel.detach() - before).square().mean().sqrt())
    assert length == pytest.approx(0.2e-3, rel=0.2)  # the iteration leaves singular values at 0.7 to 1.2


@pytest.mark.parametrize("shape", [(2, 16, 144), (1, 144, 16), (3, 20, 20), (1, 1, 7)])
def test_orthogonal_leaves_directions_and_evens_lengths(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    u, lengths, v = torch.linalg.svd(matrices, full_matrices=False)
    rotated = u.mT @ orthogonal(matrices) @ v.mT
    found = torch.diagonal(rotated, dim1=1, dim2=2)
    torch.testing.assert_close(torch.diag_embed(found), rotated, rtol=0, atol=1e-9)  # same singular vectors
    small = lengths < 1e-3 * lengths.square().sum(1, keepdim=True).sqrt()
    assert bool(((found > 0.6) & (found < 1.3) | small).all())


def test_no_gradient_no_step() -> None:
    assert not orthogonal(torch.zeros(2, 3, 5)).any()
    module = network()
    optimiser = Optimiser(module.parameters(), "muon", (0.9, 0.99))
    before = copy.deepcopy(module.state_dict())
    optimiser.step(1e-2)
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, before[name])
        assert math.isfinite(float(weight.sum()))
