"""Line jitter: what shifts a line, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluorsr.errors import InputError
from fluorsr.optics.scan import draw_jitter, shift_lines


def test_lines_move_to_the_right_by_their_shift() -> None:
    """Whole pixels exactly; fractions to 0.2 % of a smooth line."""
    x = torch.arange(40, dtype=torch.float64)
    shift = torch.tensor([0.0, 3.0, -2.0, 0.37, -1.81], dtype=torch.float64)
    line = torch.exp(-0.5 * ((x - 20) / 3) ** 2)
    image = line.expand(2, 5, 40)
    moved = shift_lines(image, shift)
    assert torch.equal(moved[0, 0], line)
    assert torch.equal(moved[1, 1, 3:], line[:-3])
    assert torch.equal(moved[1, 2, :-2], line[2:])
    np.testing.assert_allclose(moved[0], torch.exp(-0.5 * ((x - 20 - shift[:, None]) / 3) ** 2), atol=2e-3)


def test_edges_repeat_and_nothing_gets_dark() -> None:
    image = torch.tensor([[5.0, 0, 0, 0, 9.0]])
    assert shift_lines(image, torch.tensor([2.0])).tolist() == [[5.0, 5.0, 5.0, 0.0, 0.0]]
    assert float(shift_lines(image, torch.tensor([0.5])).min()) >= 0


def test_jitter_has_the_spread_that_was_asked_for() -> None:
    shift = draw_jitter(4000, torch.Generator().manual_seed(1), jitter_px=0.3, bidirectional_px=1.5)
    assert float(shift[::2].std()) == pytest.approx(0.3, rel=0.05)
    assert float(shift[1::2].mean() - shift[::2].mean()) == pytest.approx(1.5, abs=0.03)


def test_gradients_pass() -> None:
    generator = torch.Generator().manual_seed(1)
    image = 1 + torch.rand(3, 8, dtype=torch.float64, generator=generator).requires_grad_()
    shift = torch.tensor([0.3, -1.2, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shift_lines, (image.detach().requires_grad_(), shift))


def test_misuse_is_refused() -> None:
    with pytest.raises(InputError, match=r"an image of 3 lines needs as many shifts, not \(4,\)"):
        shift_lines(torch.zeros(3, 5), torch.zeros(4))
    with pytest.raises(InputError, match=r"jitter_px -1 is a standard deviation"):
        draw_jitter(3, torch.Generator(), jitter_px=-1)
