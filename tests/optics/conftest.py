"""What the tests of spots share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

FOCUS = torch.zeros(1, dtype=torch.float64)
SURFACE = torch.tensor(0.0, dtype=torch.float64)


def _fwhm_um(density: Callable[[Tensor], Tensor], reach_um: float = 1.0) -> float:
    """Full width at half maximum of a spot's density over the radius, by bisection: first crossing from the centre."""
    r = torch.linspace(0, reach_um, 401, dtype=torch.float64)
    for _ in range(3):
        values = density(r)
        half = float(density(torch.zeros(1, dtype=torch.float64))) / 2
        first = int(torch.nonzero(values < half)[0])
        r = torch.linspace(float(r[first - 1]), float(r[first]), 401, dtype=torch.float64)
    return 2 * float(r.mean())


@pytest.fixture
def fwhm_um() -> Callable[..., float]:
    return _fwhm_um


@pytest.fixture
def in_focus() -> dict[str, Tensor]:
    """z_um and depth_um of an emitter on the coverslip, in focus."""
    return {"z_um": FOCUS, "depth_um": SURFACE}
