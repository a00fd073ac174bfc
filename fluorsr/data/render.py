"""A piece of specimen -> what falls on the pixels: every plane blurred by its own spot, and added up.

  area asked for, h x w input pixels            rendered on pixels of at most FINEST_UM (a whole number of them in
+---------------------------------+             each target pixel), with a margin in which every spot ends; so what
|  margin   +-----------+         |             comes out does not depend on how a field is cut into areas, save
|           |   area    |         |             for rounding
|           +-----------+         |
+---------------------------------+
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fluorsr.data.spots import FOCUS, PLANES_UM, Spots
from fluorsr.data.structures.draw import draw_planes, sharing_otf
from fluorsr.data.structures.emitters import Area, Emitters
from fluorsr.optics.illumination import SimFrames, SimIllumination, sim_patterns
from fluorsr.optics.otf import frequency_grid

FINEST_UM = 0.04
"""Pixels no larger than this are drawn on: 110 nm are then sampled three times."""


@dataclass(frozen=True)
class Canvas:
    """Geometry of areas of one size: `height` x `width` input pixels of `pixel_um`, in units of which all else is.

    scale      target pixels per input pixel;  border  input pixels around the area that the input is wanted with
    """

    height: int
    width: int
    pixel_um: float
    scale: int
    margin_um: float
    border: int

    @property
    def finer(self) -> int:
        """Drawn pixels per target pixel."""
        return math.ceil(self.pixel_um / self.scale / FINEST_UM - 1e-9)

    @property
    def step_um(self) -> float:
        """Size of a drawn pixel."""
        return self.pixel_um / (self.scale * self.finer)

    @property
    def margin(self) -> int:
        """Drawn pixels on each side: border and spot, in whole input pixels."""
        each = self.scale * self.finer
        return each * (self.border + math.ceil(self.margin_um / self.pixel_um))

    @property
    def size(self) -> tuple[int, int]:
        """Drawn pixels along y and x, enough and fit for a fast Fourier transform."""
        each = self.scale * self.finer
        return _fast(self.height * each + 2 * self.margin), _fast(self.width * each + 2 * self.margin)

    def area(self, y_um: float, x_um: float) -> Area:
        """What must be known of the specimen for the area whose corner is at (y, x)."""
        start = y_um - self.margin * self.step_um, x_um - self.margin * self.step_um
        return Area(start, (start[0] + self.size[0] * self.step_um, start[1] + self.size[1] * self.step_um))

    def input_pixels(self, drawn: Tensor) -> Tensor:
        """[..., *size] -> [..., height + 2 border, width + 2 border] input pixels: sums."""
        each = self.scale * self.finer
        skip = self.margin - each * self.border
        return _cut(drawn, skip, (self.height + 2 * self.border, self.width + 2 * self.border), each)

    def target_pixels(self, drawn: Tensor) -> Tensor:
        """[..., *size] -> [..., scale * height, scale * width]: sums."""
        return _cut(drawn, self.margin, (self.height * self.scale, self.width * self.scale), self.finer)


class Light(NamedTuple):
    """What falls on the pixels, in the specimen's unit, float32.

    frames   [F, height + 2 border, width + 2 border];  even  one frame in even light, without F
    target   [scale * height, scale * width]
    """

    frames: Tensor
    target: Tensor
    even: Tensor


class Renderer:
    """Draws areas of one canvas through one microscope; its transfer functions are spread out once."""

    def __init__(self, canvas: Canvas, spots: Spots) -> None:
        self.canvas, self.spots = canvas, spots

    @functools.cached_property
    def transfer(self) -> tuple[Tensor, Tensor]:
        """Of the input's and of the target's planes: [Z, Y, X // 2 + 1] float32."""
        size, step = self.canvas.size, self.canvas.step_um
        frequency = frequency_grid(size, (step, step))
        # Light that was shared among pixels is blurred by it already.
        shared = sharing_otf(size, "quadratic")
        image, target = (
            self.spots.spread(table, frequency) / shared for table in (self.spots.image, self.spots.target)
        )
        return image, target

    def planes(self, points: Emitters) -> tuple[list[int], Tensor]:
        """Points in the coordinates of the area, z from the focus -> planes that hold light, and their light."""
        index = np.interp(points.z, PLANES_UM, np.arange(len(PLANES_UM))).astype(np.float32)
        first, last = (int(np.floor(index.min())), int(np.ceil(index.max()))) if index.size else (FOCUS, FOCUS)
        size, step = self.canvas.size, self.canvas.step_um
        stack = draw_planes(
            points._replace(z=index),
            (last - first + 1, *size),
            (1.0, step, step),
            first_plane_um=first,
            sharing="quadratic",
        )
        return list(range(first, last + 1)), torch.from_numpy(stack)

    def image(self, points: Emitters) -> Light:
        """Evenly lit: one frame."""
        lit, planes = self.planes(points)
        even, target = self._even(lit, planes)
        return Light(even[None], target, even)

    def frames(self, points: Emitters, illumination: SimIllumination, frames: SimFrames) -> Light:
        """Lit by stripes, whose phases are those at the drawn area's corner."""
        lit, planes = self.planes(points)
        transfer = self.transfer[0][lit]
        size, step = self.canvas.size, self.canvas.step_um
        heights = torch.tensor(PLANES_UM, dtype=torch.float64)[lit]
        fy = torch.fft.fftfreq(size[0], step, dtype=torch.float64)[:, None]
        fx = torch.fft.rfftfreq(size[1], step, dtype=torch.float64)
        images = []
        for f in range(len(frames.phase_rad)):
            moved = frames.drift_um[f]
            # A specimen that moved by d under the stripes is a specimen under stripes moved by -d, and all moved by d.
            phase = frames.phase_rad[f] + 2 * math.pi * (frames.wave_per_um[f] @ moved)
            one = SimFrames(frames.wave_per_um[f, None], phase[None], frames.modulation[f, None], torch.zeros(1, 2))
            stripes = sim_patterns(illumination, one, size, (step, step), heights)[0]
            spectrum = (torch.fft.rfft2(planes * stripes.float()) * transfer).sum(0)
            if moved.any():
                turns = -2j * math.pi * (fy * moved[0] + fx * moved[1])
                spectrum = spectrum * torch.exp(turns).to(torch.complex64)
            images.append(self.canvas.input_pixels(self._back(spectrum)))
        even, target = self._even(lit, planes)
        return Light(torch.stack(images), target, even)

    def _even(self, lit: list[int], planes: Tensor) -> tuple[Tensor, Tensor]:
        """Input and target of planes in even light."""
        spectra = torch.fft.rfft2(planes)
        even, target = ((spectra * transfer[lit]).sum(0) for transfer in self.transfer)
        return self.canvas.input_pixels(self._back(even)), self.canvas.target_pixels(self._back(target))

    def _back(self, spectrum: Tensor) -> Tensor:
        # Below 0 is only what sampling makes of a single bright point.
        image: Tensor = torch.fft.irfft2(spectrum, s=self.canvas.size)
        return image.clamp_(min=0)


def _cut(drawn: Tensor, skip: int, size: tuple[int, int], each: int) -> Tensor:
    """Pixels of `each` x `each` drawn ones, from `skip` on."""
    part = drawn[..., skip : skip + size[0] * each, skip : skip + size[1] * each]
    return part.reshape(*drawn.shape[:-2], size[0], each, size[1], each).sum((-3, -1))


def _fast(n: int) -> int:
    """The next number whose only prime factors are 2, 3 and 5, and that is even."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % 2 == 0:
            return n
        n += 1
