"""Losses: (restored, target), both [B, 1, Y, X] normalised to about 0 to 1, -> a scalar to minimise.

All are finite, and so are their gradients, for constant images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError
from fluorsr.metrics.rings import rings, square_side, squares, tapered
from fluorsr.metrics.ssim import RADIUS, similarity

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(restored: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, as Lim et al. 2017 train EDSR."""
    return functional.l1_loss(restored, target)


def mse(restored: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return functional.mse_loss(restored, target)


def charbonnier(restored: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 0.001^2): the L1 loss with a smooth bottom (Charbonnier et al. 1994)."""
    return torch.sqrt((restored - target) ** 2 + 1e-6).mean()


def ssim(restored: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM, for images that span 0 to 1 (Wang et al. 2004; as a loss, Zhao et al. 2017, section III-B).

    Raises InputError for images smaller than SSIM's window of 11 x 11.
    """
    if min(target.shape[-2:]) <= 2 * RADIUS:
        raise InputError(
            f"the ssim loss needs patches of at least 11 x 11 output pixels, not {list(target.shape[-2:])}"
        )
    return (1 - similarity(restored, target, 1.0)[0].mean()).to(restored.dtype)


def gradient(restored: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, along y plus along x: edges where they belong."""
    difference = restored - target
    return difference.diff(dim=-2).abs().mean() + difference.diff(dim=-1).abs().mean()


def fourier(restored: Tensor, target: Tensor) -> Tensor:
    """Mean modulus of the difference between the two Fourier transforms (orthonormal), every frequency alike.

    A pixel loss is ruled by the few low frequencies that hold the power; here the weak high ones count as much.
    """
    difference: Tensor = torch.fft.rfft2((restored - target).float(), norm="ortho")
    return difference.abs().mean()


def frc(restored: Tensor, target: Tensor) -> Tensor:
    """1 - the mean Fourier ring correlation up to Nyquist (Nieuwenhuizen et al. 2013, equation 1), in squares.

    Blind to the brightness of each ring, so it goes with a pixel loss. Raises InputError below 16 x 16 pixels.
    """
    side = square_side(tuple(target.shape), "the frc loss")
    ring = rings(side)
    window = tapered(side, 1.0, target.device).float()
    count = ring.members.numel()
    index, times = ring.index.flatten().to(target.device), ring.times.to(target.device).float()

    def sums(product: Tensor) -> Tensor:
        flat = (product * times).flatten(1)
        return flat.new_zeros(flat.shape[0], count + 1).index_add(1, index, flat)[:, :count]

    terms = []
    for rows, columns in squares(tuple(target.shape[-2:]), side):
        a, b = (
            torch.fft.rfft2((pixels - pixels.mean((-2, -1), keepdim=True)) * window, norm="ortho")
            for pixels in (image[..., rows, columns].float().flatten(0, -3) for image in (restored, target))
        )
        together = sums((a * b.conj()).real)
        # A power of 1e-5 a frequency is noise of 0.3 %: it keeps an empty ring from dividing 0 by 0.
        guard = (1e-5 * ring.members.to(together)).square()
        apart = torch.sqrt(sums((a * a.conj()).real) * sums((b * b.conj()).real) + guard)
        terms.append((together / apart).mean())
    return 1 - torch.stack(terms).mean()


LOSSES: dict[str, Loss] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "ssim": ssim,
    "gradient": gradient,
    "fourier": fourier,
    "frc": frc,
}
"""The losses that a recipe can name."""


def combined(weights: Mapping[str, float]) -> Loss:
    """The weighted sum of named losses: {"l1": 1, "mse": 5} is the loss of Jin et al. 2020.

    Raises InputError, all faults at once, for names that are not in LOSSES, negative weights, or none above 0.
    """
    faults = [f"loss {name!r} is not one of {', '.join(LOSSES)}" for name in weights if name not in LOSSES]
    faults += [
        f"the weight of {name} is {weight}; it must be 0 or more" for name, weight in weights.items() if weight < 0
    ]
    if not faults and not any(weight > 0 for weight in weights.values()):
        faults.append("no loss has a weight above 0; name at least one, such as l1: 1")
    if faults:
        raise InputError("; ".join(faults))
    terms = [(LOSSES[name], weight) for name, weight in weights.items() if weight > 0]

    def total(restored: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * loss(restored, target) for loss, weight in terms]).sum()

    return total
