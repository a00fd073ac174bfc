"""The phases of an angle's frames: each by itself, then their steps against each other, as sure as they are.

    alone     what the frame's own fit tells, each order as sure as it is, and the declared step
    finer     steps that are off by d_n leave of order m in order 0, whose weights are w_n,
                  sum_n w_n light_n i m d_n exp(i theta_nm)
              which order 0 of the other angles tells; both together, each as sure as the other shows it to be
    evened    steps as even as their errors allow

TorchScript.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import nominal_phases, unmixing

Phases = NamedTuple(  # noqa: UP014 - TorchScript does not find postponed annotations of another file's tuples
    "Phases",
    [
        ("phase_rad", Tensor),
        ("offset_rad", Tensor),
        ("modulation", Tensor),
        ("light", Tensor),
        ("clarity", Tensor),
        ("phase_error_rad", Tensor),
    ],
)
"""What is measured once the vectors are known: fields of SimParameters, of all angles or of one."""


def orders_of(phase_rad: Tensor, offset_rad: Tensor) -> Tensor:
    """Phase of every order in every frame, of the first's [A, N] and the offsets [A, M]: [A, N, M]."""
    m = torch.arange(1, offset_rad.shape[1] + 1, dtype=torch.float64, device=phase_rad.device)
    return phase_rad[:, :, None] * m + offset_rad[:, None]


def all_angles(found: list[Phases]) -> Phases:
    """What was measured of each angle, together; brightness is 1 on average."""
    light = torch.stack([each.light for each in found])
    average = light.mean()
    light = torch.where(average > 0, light / average, torch.ones_like(light))  # blank frames have no brightness
    return Phases(
        torch.stack([each.phase_rad for each in found]),
        torch.stack([each.offset_rad for each in found]),
        torch.stack([each.modulation for each in found]),
        light,
        torch.stack([each.clarity for each in found]),
        torch.stack([each.phase_error_rad for each in found]),
    )


def phases_of(light: Tensor, orders: Tensor, variance: Tensor, *, even: bool) -> Phases:
    """Phases [N], offsets [M], modulation [M], brightness [N], clarity [N] and the phases' errors [N] of one angle.

    light [N]; orders [N, M] complex; variance [N, M] of either part of them
    A frame's phase is what both orders say, each as sure as it is, and, of `even` steps, the declared step, sure to
    STEP_ERROR. TorchScript.
    """
    n, count = orders.shape[0], orders.shape[1]
    m = torch.arange(1, count + 1, dtype=torch.float64, device=orders.device)
    nominal = nominal_phases(n, count, orders.device)
    sure = 1 / usual.STEP_ERROR**2 if even else 0.0
    step = nominal[:, 0].clone() if even else torch.angle(orders[:, 0] * orders[0, 0].conj())
    base = torch.angle((orders * torch.exp(-1j * m * step[:, None])).sum(0))
    sureness = orders.abs() ** 2 / variance.clamp(min=usual.TINY)
    known = ((m**2 * sureness).sum(1) + sure).clamp(min=usual.TINY)
    for _ in range(20):
        wrong = torch.angle(orders * torch.exp(-1j * (m * step[:, None] + base)))
        correction = (m * sureness * wrong).sum(1) - (step - nominal[:, 0]) * sure
        step = step + correction / known
        base = torch.angle((orders * torch.exp(-1j * m * step[:, None])).sum(0))
    return _phases_at(light, orders, step, 1 / torch.sqrt(known))


def finer(
    alone: Phases, before: Phases, left: Tensor, covariance: Tensor, turned: Tensor, modulation: Tensor
) -> Phases:
    """All angles' steps by what wrong ones leave in order 0, and by the frames alone; their means by `turned`.

    before            phases and brightness that the orders were taken apart with
    left, covariance  [A, 2 M] and [A, 2 M, 2 M] of what they hold in order 0: real, imaginary share of each
    turned            [A, M] phases of the orders so taken apart;  modulation  [A, M]
    """
    theta = orders_of(before.phase_rad, before.offset_rad)
    leaves = torch.stack([leaving(theta[a], before.light[a]) for a in range(len(theta))])
    least = usual.LEAST_LEFT**2 * torch.eye(left.shape[1], dtype=torch.float64, device=left.device)
    covariance = usual.LEFT_LOOSE * covariance + least
    off = torch.angle(torch.exp(1j * (alone.phase_rad - theta[..., 0])))
    # How far both disagree beyond their errors is the frames' chance likeness, alike in all angles.
    told = (leaves @ off[..., None])[..., 0] - left
    by_error = covariance.diagonal(0, 1, 2).sum() + (leaves.square() * alone.phase_error_rad.square()[:, None]).sum()
    likeness = (told.square().sum() - by_error) / leaves.square().sum().clamp(min=usual.TINY)
    known = torch.diag_embed(1 / (alone.phase_error_rad.square() + likeness.clamp(min=usual.LIKENESS**2)))
    sureness = leaves.mT @ torch.linalg.inv_ex(covariance)[0]
    inverse = torch.linalg.inv_ex(sureness @ leaves + known)[0]
    off = (inverse @ (sureness @ left[..., None] + known @ off[..., None]))[..., 0]
    # Of steps against each other: their mean is measured apart.
    inverse = (
        inverse - inverse.mean(1, keepdim=True) - inverse.mean(2, keepdim=True) + inverse.mean((1, 2), keepdim=True)
    )
    m = torch.arange(1, theta.shape[2] + 1, dtype=torch.float64, device=theta.device)
    return Phases(
        theta[..., 0] + off - off.mean(1, keepdim=True) + turned[:, :1],
        theta[:, 0] - m * theta[:, 0, :1] + turned - m * turned[:, :1],
        modulation,
        alone.light,
        alone.clarity,
        torch.sqrt(inverse.diagonal(0, 1, 2)),
    )


def leaving(theta: Tensor, light: Tensor) -> Tensor:
    """What steps [N] leave of orders with phases [N, M] in order 0: [2 M, N]."""
    weights = unmixing(theta, light)[0] * light
    rows: list[Tensor] = []
    for m in range(1, theta.shape[1] + 1):
        row = 1j * m * weights * torch.exp(1j * theta[:, m - 1])
        rows += [row.real, row.imag]
    return torch.stack(rows)


def evened(found: Phases) -> Phases:
    """Steps as even as their errors allow: shrunk as by Efron and Morris, J. Am. Stat. Assoc. 68, 117 (1973)."""
    n = found.phase_rad.shape[1]
    even = nominal_phases(n, 1, found.phase_rad.device)[:, 0]
    turn = torch.exp(1j * (found.phase_rad - even))
    mean = turn.mean(1, keepdim=True)
    off, variance = torch.angle(turn * mean.conj()), found.phase_error_rad**2
    uneven = ((off**2).mean() * n / (n - 1) - variance.mean()).clamp(min=0)
    kept = uneven / (uneven + variance).clamp(min=usual.TINY)
    return Phases(
        even + torch.angle(mean) + kept * off,
        found.offset_rad,
        found.modulation,
        found.light,
        found.clarity,
        torch.sqrt(variance * kept),
    )


def _phases_at(light: Tensor, orders: Tensor, step: Tensor, error: Tensor) -> Phases:
    """What is measured of one angle, where its phase steps [N] are known to their `error` [N]."""
    m = torch.arange(1, orders.shape[1] + 1, dtype=torch.float64, device=orders.device)
    base = torch.angle((orders * torch.exp(-1j * m * step[:, None])).sum(0))
    modulation = 2 * (orders * torch.exp(-1j * (m * step[:, None] + base))).real.mean(0) / (2 * light.mean())
    phase = step + base[0]
    contrast = torch.where(light > 0, orders.abs().sum(1) / light, torch.zeros_like(light))
    clarity = contrast / contrast.median().clamp(min=usual.TINY)
    return Phases(phase, base - m * base[0], modulation.clamp(0, 2), light, clarity, error)
