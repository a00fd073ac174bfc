"""What orders 0 and m both hold of the specimen: an order's vector, phase and contrast.

    order 0                A(q) = S(q) H(q)                                      mean of all angles
    order m, put back      B(q) = C_m(q + m p) = c exp(i phi) h(q) A(q)
                           h(q) = H(q + m p) / H(q) exp(b (|q + m p| - |q|) / cut-off)

             .--..--.
            ( q=0()-m p)     Both are known where the two discs overlap. On its middle line |q + m p| = |q|, and h is 1,
             '--''--'        whatever the lens, for light in focus and out of it: there c needs no transfer function.

The slope b is how the lens differs from the one assumed, and light out of focus with it. Weights are those of greatest
likelihood where specimen and noise are Gaussian (Hannan and Thomson, Biometrika 60, 469 (1973)); TorchScript.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_orders import carrier, centres_um, mixed, power_of, transfer
from fluorsr.classical.sim_scene import Scene
from fluorsr.optics.otf import attenuation

Overlap = NamedTuple(  # noqa: UP014 - TorchScript does not find postponed annotations of another file's tuples
    "Overlap", [("density", Tensor), ("contrast", Tensor)]
)
"""density [Y, X] complex: its sum's phase is the order's, and it turns where the vector is wrong;  contrast  c, []."""


def overlaps(scene: Scene, unmix: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
    """Densities [A, M, Y, X] of the orders whose first lie at vectors [A, 2], and contrasts [A, M]."""
    densities: list[Tensor] = []
    contrasts: list[Tensor] = []
    orders = mixed(unmix[:, 1:], scene.frames)
    noise = power_of(unmix).sum(-1)
    for a in range(scene.angles):
        for m in range(1, scene.orders + 1):
            density, contrast = _overlap(scene, orders[a, m - 1], float(noise[a, m] / noise[a, 0]), m * waves[a])
            densities.append(density)
            contrasts.append(contrast)
    size = [scene.angles, scene.orders]
    return torch.stack(densities).reshape(size + list(scene.shape)), torch.stack(contrasts).reshape(size)


def _overlap(scene: Scene, order: Tensor, noise: float, wave: Tensor) -> Overlap:
    """Hold one order of one angle against order 0.

    order  [Y, X] complex, as taken apart;  noise  of it over that of the same angle's order 0, variances
    wave   [2] (y, x) of this order, m p, in cycles per um
    """
    distance = torch.hypot(scene.fy + wave[0], scene.fx + wave[1])
    here, there = scene.transfer, transfer(scene.lens, distance)
    both = (here > usual.LEAST_TRANSFER) & (there > usual.LEAST_TRANSFER)
    some = torch.nonzero(both.flatten())[:, 0]
    unlike = (distance - scene.frequency) / scene.lens.cutoff_per_um
    apart = attenuation(scene.frequency, 1.0, usual.NOTCH_PER_UM) * attenuation(distance, 1.0, usual.NOTCH_PER_UM)
    apart = apart.flatten()[some]
    ring = scene.rings(scene.frequency)[0].flatten()[some]
    signal, level = scene.power.signal[ring], scene.power.noise[ring]
    leaked = noise * level + usual.LEAK**2 * scene.power.signal[scene.rings(distance)[0].flatten()[some]]
    power = (signal + level / scene.angles).clamp(min=usual.TINY)
    found = torch.fft.fft2(order * scene.window * carrier(-wave, scene.shape, scene.pixel_um)).flatten()[some]

    slope = torch.zeros([], dtype=torch.float64, device=wave.device)
    contrast = torch.full_like(slope, usual.USUAL_CONTRAST)
    near, like, weight = found, power, power
    for _ in range(usual.LENSES):
        # Made alike before the window cuts it: after that, its edges would pass for a longer vector.
        ratio = there / here.clamp(min=usual.LEAST_TRANSFER) * torch.exp(slope * unlike) * both
        near = torch.fft.fft2(torch.fft.ifft2(scene.endless * ratio) * scene.window).flatten()[some]
        like, lean = ratio.flatten()[some], unlike.flatten()[some]
        product, own = near.conj() * found / like, power_of(near / like) - level / scene.angles
        made = slope
        for _ in range(usual.FITS):
            now = like * torch.exp((slope - made) * lean)
            theirs = (contrast * now) ** 2 * signal
            total = power * (theirs + leaked).clamp(min=usual.TINY)
            coherence = usual.COHERENT * signal * theirs / total
            weight = apart * torch.sqrt(coherence / total) / (1 - coherence)
            turn = torch.exp(-1j * torch.angle((weight * product).sum()))
            sure = apart * now * signal / total / (1 - coherence)
            off, steep = (product * turn).real - contrast * now * own, contrast * lean
            straight, crossed = (sure * now * own).sum(), (sure * now * own * steep).sum()
            curved = (sure * now * own * steep**2).sum() + 0.5 / usual.LENS_SLOPE**2
            normal = torch.stack([straight, crossed, crossed, curved]).reshape(2, 2)
            right = torch.stack([(sure * off).sum(), (sure * off * steep).sum() - 0.5 * slope / usual.LENS_SLOPE**2])
            change = torch.linalg.solve_ex(normal, right)[0].nan_to_num()
            contrast = (contrast + change[0]).clamp(usual.LEAST_CONTRAST, 1.0)
            slope = slope + change[1].clamp(-1, 1)
        near, like = near * torch.exp((slope - made) * lean), like * torch.exp((slope - made) * lean)
    root = torch.sqrt(weight / like)
    pair = torch.zeros([2, scene.frequency.numel()], dtype=torch.complex128, device=wave.device)
    pair[:, some] = torch.stack([near, found]) * root
    pair = torch.fft.ifft2(pair.reshape([2, scene.shape[0], scene.shape[1]]))
    return Overlap(pair[0].conj() * pair[1], contrast)


def turns(scene: Scene, densities: Tensor, apart: Tensor) -> Tensor:
    """Phases [A, M] of the orders of those densities, whose vectors are [A, 2] from where these were made."""
    return torch.stack(
        [torch.angle(_summed(scene, densities[a], apart[a, :, None]).flatten()) for a in range(len(apart))]
    )


def refine(scene: Scene, density: Tensor, near: Tensor) -> Tensor:
    """The peak [2] of the orders' sums, each as likely as it is high, by ever finer steps around the vector `near`."""
    step = 1 / (scene.pixel_um * max(scene.shape[0], scene.shape[1]))
    for factor in usual.ZOOM:
        grid = near[:, None] + factor * step * torch.arange(-5, 6, dtype=torch.float64, device=near.device)
        total = _summed(scene, density, grid).abs().sum(0)
        row, column = divmod(int(total.argmax()), grid.shape[1])
        near = torch.stack([grid[0, row], grid[1, column]])
    return near


def _summed(scene: Scene, density: Tensor, grid: Tensor) -> Tensor:
    """sum density_m exp(-2 pi i m q.r) of [M, Y, X] at a grid of vectors q, [2, K] along y and x: [M, K, K]."""
    y, x = centres_um(scene.shape, scene.pixel_um, grid.device)
    sums: list[Tensor] = []
    for m in range(1, len(density) + 1):
        along_y = torch.exp(-2j * math.pi * m * grid[0][:, None] * y[:, 0])
        along_x = torch.exp(-2j * math.pi * m * grid[1][:, None] * x)
        sums.append(along_y @ density[m - 1] @ along_x.T)
    return torch.stack(sums)
