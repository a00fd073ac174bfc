"""Flips, quarter turns, intensity and noise for training pairs, with the frame order of SIM recordings kept true.

A pair has eight orientations, and single images may be brought into any. Raw SIM frames may not: they are told apart
by their order (frame = phases * angle + phase), and a flip turns the pattern of each frame. With the pattern of angle a
and phase p

    1 + m cos(2 pi k_a . r + phi_a + 2 pi p / P)         k_a the wave vector, r = (x, y), P the number of phases

the image that is mapped by r' = M r shows wave vectors M k_a. It is a recording of the same microscope only where every
M k_a is parallel to the wave vector of some angle b; then angle a's frames belong into the places of b, and where
M k_a = -k_b their phases run backwards, since cos(-k_b . r + phi) = cos(k_b . r - phi). The offset phi_a changes, but
that is different in every patch anyway. So

    half turn              always: M k_a = -k_a; each angle keeps its place and its phases run backwards
    mirrors, quarter turns only where they carry the set of angles into itself: mirrors for angles such as 0, 60, 120
                           degrees, quarter turns for 0, 90; none for 10, 70, 130

Simulated frames are of a microscope that was drawn at random, and need not stay those of that one: in any orientation,
with the directions in any order and the phases run from any start either way, they are what another one records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fluorsr.errors import InputError

ANGLE_TOLERANCE_DEG = 2.0
"""Angles of a pattern that differ by less are taken as one."""


@dataclass(frozen=True)
class Orientation:
    """First mirrored along x (where `mirror`), then turned counter-clockwise by `turns` quarters."""

    turns: int = 0
    mirror: bool = False

    def apply(self, image: Tensor) -> Tensor:
        """[..., Y, X] -> [..., Y, X], or [..., X, Y] for an odd number of turns; a view."""
        flipped = image.flip(-1) if self.mirror else image
        return torch.rot90(flipped, self.turns, (-2, -1))

    def map_vector(self, x: float, y: float) -> tuple[float, float]:
        """Where the direction (x, y), y pointing down the rows, points afterwards."""
        if self.mirror:
            x = -x
        for _ in range(self.turns % 4):
            x, y = y, -x
        return x, y


ORIENTATIONS = tuple(Orientation(turns, mirror) for mirror in (False, True) for turns in range(4))


@dataclass(frozen=True)
class SimFrames:
    """The order of raw SIM frames: angle by angle, the phases of each in equal steps.

    angles_deg   of the patterns' wave vectors, from +x towards +y (down the rows), modulo 180
    phases       frames per angle

    Raises InputError where two angles are the same or there is no frame.
    """

    angles_deg: tuple[float, ...]
    phases: int

    def __post_init__(self) -> None:
        if not self.angles_deg or self.phases < 1:
            raise InputError(f"SIM frames need an angle and a phase, not {self.angles_deg} and {self.phases}")
        near = [
            (a, b)
            for i, a in enumerate(self.angles_deg)
            for b in self.angles_deg[:i]
            if abs(_between(a, b)) <= 2 * ANGLE_TOLERANCE_DEG
        ]
        if near:
            raise InputError(f"SIM angles {near[0]} degrees are too near to be told apart; give each angle once")

    @property
    def count(self) -> int:
        return len(self.angles_deg) * self.phases

    @cached_property
    def orders(self) -> dict[Orientation, tuple[int, ...]]:
        """The orientations that this microscope could have recorded, and where each new frame comes from."""
        found = {}
        for orientation in ORIENTATIONS:
            order = self._order(orientation)
            if order is not None:
                found[orientation] = order
        return found

    def _order(self, orientation: Orientation) -> tuple[int, ...] | None:
        source = [-1] * self.count
        for a, angle in enumerate(self.angles_deg):
            x, y = orientation.map_vector(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
            turned = math.degrees(math.atan2(y, x))
            b = min(range(len(self.angles_deg)), key=lambda i: abs(_between(turned, self.angles_deg[i])))
            if abs(_between(turned, self.angles_deg[b])) > ANGLE_TOLERANCE_DEG:
                return None
            backwards = math.cos(math.radians(turned - self.angles_deg[b])) < 0
            for p in range(self.phases):
                source[b * self.phases + (-p % self.phases if backwards else p)] = a * self.phases + p
        return tuple(source)


@dataclass(frozen=True)
class AnySimFrames:
    """Raw frames, angle by angle, of a microscope drawn at random: directions and phases known to nobody.

    whole   the phases go once around, so that any may be the first
    """

    angles: int
    phases: int
    whole: bool = True

    @property
    def count(self) -> int:
        return self.angles * self.phases

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Where each frame of another such microscope comes from."""
        p = np.arange(self.phases)
        sense, first = 1 - 2 * rng.integers(0, 2, self.angles), rng.integers(0, self.phases, self.angles)
        if not self.whole:
            first = np.where(sense > 0, 0, self.phases - 1)
        order: list[int] = [
            self.phases * int(a) + int(frame)
            for a in rng.permutation(self.angles)
            for frame in (first[a] + sense[a] * p) % self.phases
        ]
        return order


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training patch at random.

    frames   order of raw SIM frames; None where any order is as good (single images, time, channels)
    packed   n where the input's channels are the n x n pixels within each of its own, n squared for each image
    flicker  standard deviation of each frame's brightness, relative
    gain     standard deviation of the logarithm of a factor, offset  that of a summand: of input and target alike
    noise    largest standard deviation of white noise added to the input alone, drawn evenly from 0

    All in units of the normalised images. Raises InputError where a strength is negative.
    """

    frames: SimFrames | AnySimFrames | None = None
    gain: float = 0.0
    offset: float = 0.0
    noise: float = 0.0
    flicker: float = 0.0
    packed: int = 1

    def __post_init__(self) -> None:
        if min(self.gain, self.offset, self.noise, self.flicker) < 0:
            raise InputError(
                f"gain {self.gain}, offset {self.offset}, noise {self.noise} and flicker {self.flicker} must be at "
                "least 0"
            )

    @property
    def orientations(self) -> tuple[Orientation, ...]:
        return tuple(self.frames.orders) if isinstance(self.frames, SimFrames) else ORIENTATIONS

    def orient(self, pixels: Tensor, target: Tensor, orientation: Orientation) -> tuple[Tensor, Tensor]:
        """Turn a pair [F, Y, X] and [..., sY, sX] alike, and put the frames where their patterns belong.

        Raises InputError where the frames are not those of `frames`, or it cannot have been recorded so.
        """
        turned = functional.pixel_unshuffle(
            orientation.apply(functional.pixel_shuffle(pixels, self.packed)), self.packed
        )
        if self.frames is not None and pixels.shape[-3] != self.frames.count:
            raise InputError(f"the input has {pixels.shape[-3]} frames, its order describes {self.frames.count}")
        if isinstance(self.frames, SimFrames):
            if orientation not in self.frames.orders:
                raise InputError(
                    f"{orientation} turns patterns at {self.frames.angles_deg} degrees into directions that are not "
                    "among them; use one of Augmentation.orientations"
                )
            turned = turned[..., list(self.frames.orders[orientation]), :, :]
        return turned, orientation.apply(target)

    def __call__(self, pixels: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One random variant of a square normalised patch: [F, P, P] and [..., sP, sP]; the same for the same `rng`."""
        orientation = self.orientations[int(rng.integers(len(self.orientations)))]
        pixels, target = self.orient(pixels, target, orientation)
        factor, summand = math.exp(self.gain * rng.standard_normal()), self.offset * rng.standard_normal()
        strength, key = self.noise * rng.uniform(), int(rng.integers(2**62))
        if isinstance(self.frames, AnySimFrames):
            pixels = pixels[self.frames.draw(rng)]
        if self.flicker > 0:
            light = 1 + self.flicker * rng.standard_normal((len(pixels), 1, 1))
            pixels = pixels * torch.from_numpy(light).to(pixels.dtype)
        pixels, target = pixels * factor + summand, target * factor + summand
        if strength > 0:
            noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(key), dtype=pixels.dtype)
            pixels = pixels + strength * noise
        return pixels, target


def _between(first_deg: float, second_deg: float) -> float:
    """The angle between two directions without a head, -90 to 90 degrees."""
    return (first_deg - second_deg + 90) % 180 - 90
