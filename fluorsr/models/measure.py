"""Measure a network's contract: frames, scale, halo, multiple, exactness. No gradients, no knowledge of its layers.

A tile is right where it does not matter what lies outside it. So the probe is a strip whose middle half is an image and
whose ends are something else, and the halo is how far the ends are felt:

    input     | other |       image        | other |        strips along x, then along y
    output    | other |felt|   clean  |felt| other |        halo = the wider `felt`, in input pixels

`other` is NaN, which no rounding, zero weight or ReLU hides; and, for networks that swallow NaN, large values of either
sign, compared bit by bit. The middle is also restored alone, as a tile is. The halo is the widest of these.
Convolutions computed block-wise (Winograd, FFT) would smear NaN, so the probes run on plain ones.

`multiple` is the smallest step that sizes may have and by which a shifted input gives a shifted output.
A network that feels the ends wherever they are has global statistics or attention: it is not `exact`, and its halo is
the radius that holds 99.9 % of a pixel's influence.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fluorsr.errors import ModelError
from fluorsr.restorer import MAX_FRAMES, MAX_SCALE

FRAMES = (1, 3, 9, 15, 2, *(n for n in range(4, 17) if n not in (9, 15)))
MULTIPLES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)
SIZES = (32, 64, 192, 320)  # between them, divisible by every candidate multiple
ENDS = (1, 2, 4)  # length of a strip's ends, in units of at least 64 pixels: the longest reach that counts as finite
AGREE = 1e-5  # of the output's range: two results that differ by rounding only
MIN_PRACTICAL_HALO, MAX_PRACTICAL_HALO = 16, 64

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """What was measured; the names are those of RestorerSpec."""

    frames: int
    scale: int
    halo: int
    multiple: int
    exact: bool
    stochastic: bool = False


def measure(forward: Forward, frames: int | None = None, *, device: str | torch.device = "cpu") -> Measured:
    """Measure `forward`, which maps [B, frames, Y, X] float32 to [B, 1, scale * Y, scale * X] float32.

    frames   input channels where known; otherwise the first of 1, 3, 9, 15, 2, 4, 5, ... 16 that the network takes
    device   where its input must lie
    Raises ModelError where the network takes no such input, gives another shape or dtype, NaN for finite input, or two
    results for one input.
    """
    with torch.inference_mode(), _plain_convolutions():
        return _measure(forward, frames, torch.device(device))


def _measure(forward: Forward, frames: int | None, device: torch.device) -> Measured:
    probe = _Probe(forward, *_find_frames(forward, (frames,) if frames else FRAMES, device), device)
    step = probe.size_step()
    aligned = math.lcm(64, step)  # to most multiples there may be
    reach = probe.reach(aligned)
    multiple = probe.multiple(step, reach)
    if multiple is not None and reach is not None and aligned % multiple:
        reach = probe.reach(_up(64, multiple))
    if multiple is None or reach is None:
        multiple = multiple or step
        return Measured(
            probe.frames, probe.scale, _up(probe.practical_reach(multiple), multiple), multiple, exact=False
        )
    return Measured(probe.frames, probe.scale, _up(reach, multiple), multiple, exact=True)


class _SizeError(ModelError):
    """The output's size is no whole multiple of the input's: perhaps the input's did not suit the network."""


def check_output(given: Tensor, output: object) -> Tensor:
    """Check what a network made of `given` [B, frames, Y, X] against the contract, whatever its scale.

    Raises ModelError where it is not one float32 tensor [B, 1, scale * Y, scale * X].
    """
    if not isinstance(output, Tensor):
        raise ModelError(f"the model returns a {type(output).__name__}; it must return one tensor [B, 1, sY, sX]")
    if output.dtype != torch.float32:
        raise ModelError(f"the model returns {output.dtype}; it must return torch.float32: end it with .float()")
    batch, _, height, width = given.shape
    if output.ndim != 4 or output.shape[:2] != (batch, 1):
        raise ModelError(
            f"the model makes {list(output.shape)} of {list(given.shape)}; it must make [{batch}, 1, sY, sX]: one "
            "restored channel for each image of the batch"
        )
    scale = output.shape[2] // height
    if scale < 1 or tuple(output.shape[2:]) != (scale * height, scale * width):
        ratios = f"{output.shape[2] / height:.4g} along y and {output.shape[3] / width:.4g} along x"
        raise _SizeError(
            f"the model makes {list(output.shape)} of {list(given.shape)}: {ratios}; the scale must be one whole "
            "number for both axes, so convolutions must be padded"
        )
    if scale > MAX_SCALE:
        raise ModelError(f"the model's scale is {scale}; it must be 1 to {MAX_SCALE}")
    return output


def _find_frames(forward: Forward, candidates: Sequence[int], device: torch.device) -> tuple[int, int]:
    """The first channel count that the network takes, and a size that it takes."""
    refusal: str | None = None
    for size in SIZES:
        wrong: ModelError | None = None
        for frames in candidates:
            if not 1 <= frames <= MAX_FRAMES:
                raise ModelError(f"frames is {frames}; it must be 1 to {MAX_FRAMES}")
            pixels = _image(frames, size, 2 * size, device)
            try:
                check_output(pixels, forward(pixels))
            except _SizeError as error:  # a pooling may not have divided the size: try the others
                if size == SIZES[-1]:
                    raise
                wrong, candidates = error, (frames,)
                break
            except ModelError as error:  # it may have broadcast a channel count that is not its own: try the others
                wrong = wrong or error
            except Exception as error:  # noqa: BLE001 - foreign code may raise anything; it is told below
                refusal = refusal or (str(error).strip() or type(error).__name__).splitlines()[-1]
            else:
                return frames, size
        if wrong is not None and not isinstance(wrong, _SizeError):
            raise wrong
    tried = ", ".join(str(n) for n in candidates)
    raise ModelError(
        f"the model takes no float32 input [1, frames, Y, X] with frames {tried} and sides "
        f"{', '.join(str(n) for n in SIZES)}; its first error was: {refusal}"
    )


class _Probe:
    """A network whose frames are known, and the questions put to it."""

    def __init__(self, forward: Forward, frames: int, base: int, device: torch.device) -> None:
        self.forward, self.frames, self.base, self.device = forward, frames, base, device
        pixels = self.image(base, 2 * base)
        output = self(pixels)
        self.scale = output.shape[2] // base
        again = self(pixels)
        if not bool(torch.isfinite(output).all()):
            raise ModelError("the model gives NaN or inf for finite input in 0 to 1; its weights may be damaged")
        if float((output - again).abs().max()) > AGREE * _range(output):
            raise ModelError(
                "the model gives two results for one input, so tiles would not fit together; "
                "was it exported in training mode (dropout)? Export it after .eval()"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        return check_output(pixels, self.forward(pixels))

    def image(self, height: int, width: int) -> Tensor:
        return _image(self.frames, height, width, self.device)

    def size_step(self) -> int:
        """The smallest candidate by which a size may grow."""
        for step in MULTIPLES:
            pixels = self.image(self.base + step, self.base + step)
            try:
                output = self.forward(pixels)
            except Exception:  # noqa: BLE001 - any refusal of a size is an answer
                continue
            if isinstance(output, Tensor) and output.shape[2:] == tuple(self.scale * n for n in pixels.shape[2:]):
                return step
        raise ModelError(
            f"the model takes {self.base} x {self.base} pixels but no size a little larger; it must take any whose "
            f"sides are multiples of one of {', '.join(str(n) for n in MULTIPLES)}"
        )

    def reach(self, unit: int) -> int | None:
        """How far, in input pixels, a tile's outside is felt; None where everywhere. Tiles start at k * unit."""
        for ends in ENDS:
            try:
                felt = [self._felt(ends * unit, turned) for turned in (False, True)]
            except RuntimeError:  # attention over so many pixels does not fit into memory
                return None
            if all(depth is not None for depth in felt):
                return max(depth for depth in felt if depth is not None)
            if ends == ENDS[0] and self._felt_everywhere(4 * unit):
                return None
        return None

    def _felt_everywhere(self, length: int) -> bool:
        """Whether one pixel in a corner of a strip is felt at its far end: attention over longer ones takes minutes."""
        strip = self.image(self.base, length)
        strip[..., 0, 0] = math.nan
        return bool(torch.isnan(self(strip)[..., -self.scale :]).all())

    def _felt(self, end: int, turned: bool) -> int | None:
        """How far the ends of a strip 4 `end` pixels long are felt; None where its middle is not clean."""

        def restore(strip: Tensor) -> Tensor:
            return self(strip.mT.contiguous()).mT if turned else self(strip)

        strip = self.image(self.base, 4 * end)
        outside = torch.ones(4 * end, dtype=torch.bool, device=self.device)
        outside[end : 3 * end] = False
        inner = slice(self.scale * end, self.scale * 3 * end)
        whole = restore(strip)[..., inner]
        felt = (whole - restore(strip[..., end : 3 * end].contiguous())).abs() > AGREE * _range(whole)
        for other in (torch.full_like(strip, math.nan), 1e3 * (1 + strip), -1e3 * (1 + strip)):
            felt |= restore(torch.where(outside, other, strip))[..., inner] != whole
        columns = felt.flatten(0, -2).any(dim=0)
        half = columns.shape[0] // 2
        left, right = columns[:half].nonzero(), columns.flip(0)[:half].nonzero()
        depth = max(int(side.max()) + 1 if side.numel() else 0 for side in (left, right))
        return None if depth > half - self.scale else -(-depth // self.scale)

    def multiple(self, step: int, reach: int | None) -> int | None:
        """The smallest candidate, and multiple of `step`, by which a shifted input shifts the output; or None."""
        for shift in (n for n in MULTIPLES if n % step == 0):
            if all(self._shifts(shift, step, reach, turned) for turned in (False, True)):
                return shift
        return None

    def _shifts(self, shift: int, step: int, reach: int | None, turned: bool) -> bool:
        """Whether an image put `shift` further on in a plain strip gives the same, as much further on.

        A NaN in its middle shows the reach of a pixel, which a pooling changes however small its weights are. The plain
        surroundings keep global statistics as they are, so that networks that feel everything can be judged too.
        """
        around = MIN_PRACTICAL_HALO if reach is None else reach
        margin = _up(2 * around + shift, step)  # neither window sees the border, which does not move
        image = self.image(self.base, 64)
        if reach is not None:
            image[..., self.base // 2, 32] = math.nan
        window = slice(self.scale * (margin - around), self.scale * (margin + 64 + around))
        results = []
        for offset in (0, shift):
            scene = torch.full((*image.shape[:-1], _up(2 * margin + 64, step)), 0.25, device=self.device)
            scene[..., margin + offset : margin + offset + 64] = image
            output = self(scene.mT.contiguous()).mT if turned else self(scene)
            results.append(output.roll(-self.scale * offset, dims=-1)[..., window])
        still, moved = results
        if not torch.equal(torch.isnan(still), torch.isnan(moved)):
            return False
        return float((still - moved).nan_to_num(0.0).abs().max()) <= AGREE * _range(still)

    def practical_reach(self, multiple: int) -> int:
        """Radius, in input pixels, that holds 99.9 % of the squared influence of the pixel in the middle."""
        side = _up(max(self.base, 2 * MAX_PRACTICAL_HALO), multiple)
        pixels = self.image(side, side)
        still = self(pixels)
        axis = (torch.arange(side * self.scale, device=self.device) // self.scale - side // 2).abs()
        radius = torch.maximum(axis[:, None], axis[None, :]).flatten()
        widest = MIN_PRACTICAL_HALO
        for change in (0.5, -0.5):
            other = pixels.clone()
            other[..., side // 2, side // 2] += change
            influence = (self(other) - still).double().square().flatten()
            held = torch.bincount(radius, influence).cumsum(0)
            widest = max(widest, int((held < 0.999 * held[-1]).sum()))
        return min(widest, MAX_PRACTICAL_HALO)


def _image(frames: int, height: int, width: int, device: torch.device) -> Tensor:
    """A random image [1, frames, height, width] in 0 to 1, always the same for one shape."""
    generator = torch.Generator().manual_seed(height * 10_007 + width)
    return torch.rand(1, frames, height, width, generator=generator).to(device)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _range(output: Tensor) -> float:
    finite = output[torch.isfinite(output)]
    return float(finite.max() - finite.min()) if finite.numel() else 0.0


@contextmanager
def _plain_convolutions() -> Iterator[None]:
    """Within it, convolutions are matrix products in float32, so that NaN goes exactly where a pixel is used.

    The switches are the whole process's, so one thread at a time: two would each put back what the other had set.
    """
    backends = torch.backends
    with _SWITCHES:
        before = backends.mkldnn.enabled, backends.cudnn.enabled
        backends.mkldnn.enabled, backends.cudnn.enabled = False, False  # type: ignore[assignment]
        try:
            yield
        finally:
            backends.mkldnn.enabled, backends.cudnn.enabled = before


_SWITCHES = threading.RLock()
