"""From functions of the radius to pixels, evaluated at the radii that occur and no others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fluorsr.errors import InputError


def axis_um(count: int, step_um: float, device: torch.device | str = "cpu") -> Tensor:
    """Centres of `count` planes or pixels, 0 at index count // 2: [count] float64."""
    return (torch.arange(count, dtype=torch.float64, device=device) - count // 2) * step_um


@dataclass(frozen=True)
class PixelGrid:
    """Pixels around a spot whose centre is that of pixel (Y // 2, X // 2).

    radii_um   [R] float64, ascending, each once: what a radial function must be evaluated at
    index      [points, points, Y, X] int64: which radius each point of each pixel has
    weights    [points, points] float64: of the points of a pixel; their sum is the pixel's area in um^2
    """

    radii_um: Tensor
    index: Tensor
    weights: Tensor

    def integrate(self, radial: Tensor) -> Tensor:
        """A density per um^2 at the radii, [..., R], to what falls on each pixel, [..., Y, X]."""
        total = torch.zeros(*radial.shape[:-1], *self.index.shape[-2:], dtype=radial.dtype, device=radial.device)
        for i, row in enumerate(self.weights.tolist()):
            for j, weight in enumerate(row):
                total = total + weight * radial[..., self.index[i, j]]
        return total


def pixel_grid(
    shape: tuple[int, int], pixel_size_um: tuple[float, float], points: int, device: torch.device | str = "cpu"
) -> PixelGrid:
    """The grid of [Y, X] = `shape` pixels of `pixel_size_um` (y, x).

    points    1 samples at the centres; more integrate over the pixel by that many Gauss-Legendre points an axis
    Raises InputError for an empty shape, a pixel size that is not positive, or no points.
    """
    if min(shape) < 1 or not min(pixel_size_um) > 0 or points < 1:
        raise InputError(
            f"shape {shape}, pixel_size_um {pixel_size_um} and points {points} must all be above 0 to sample a spot"
        )
    nodes, weights = np.polynomial.legendre.leggauss(points)
    offsets, shares = torch.from_numpy(nodes / 2).to(device), torch.from_numpy(weights / 2).to(device)
    y = axis_um(shape[0], pixel_size_um[0], device) + pixel_size_um[0] * offsets[:, None]
    x = axis_um(shape[1], pixel_size_um[1], device) + pixel_size_um[1] * offsets[:, None]
    squares = y[:, None, :, None] ** 2 + x[None, :, None, :] ** 2
    unique, index = torch.unique(squares, return_inverse=True)
    area = pixel_size_um[0] * pixel_size_um[1]
    return PixelGrid(torch.sqrt(unique), index, area * shares[:, None] * shares[None, :])
