"""The first simulator: a specimen -> what a confocal shows of it, and what a STED microscope would show.

    specimen (emitters, um) -+-> spot of 240 to 300 nm -> input pixels -> camera    -> degraded   uint16 [Y, X]
                             +-> spot of 110 nm        -> target pixels, no noise   -> truth      float32 [sY, sX]

Both are in counts of the input camera per input-pixel area, so their means agree: the truth is sharper, not brighter.
Light that is out of focus is blurred as much more in the truth as in the input (see fluorsr.data.specimens).
Sample `index` of seed `seed` is always the same, whatever was drawn before: the random numbers are counter-based.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.data.specimens import MAX_DEFOCUS_UM, STRUCTURES, Emitters, haze, join
from fluorsr.errors import InputError
from fluorsr.optics.camera import Camera
from fluorsr.optics.psf import FWHM_PER_SIGMA, gaussian_otf

DEFOCUS_PLANES_UM = (0.0, 0.15, 0.35, 0.8, 1.6, MAX_DEFOCUS_UM)
"""Extra widths at which light is rendered; an emitter in between is shared out so that its variance is right."""

BLOCK_PX = 1024
"""Target pixels rendered at a time, which bounds the memory of a large field."""

Span = tuple[float, float]


class SimulationConfig(pydantic.BaseModel):
    """What is drawn for each sample; a pair of numbers is a range.

    size_px           input pixels along y and x
    structures        name -> how often
    density           of the specimen relative to its usual one, log-uniform
    pixel_size_um     of the input; drawn within +- pixel_size_jitter of it
    fwhm_um           width of the input's spot;  target_fwhm_um of the truth's
    photons           in an input pixel at the 99.9th percentile of the noise-free specimen, log-uniform
    depth             stretches how far the specimen lies out of focus; 0 puts all of it in focus
    haze              light of far planes relative to the specimen's mean;  dark  flat background in photons
    offset, gain, read_noise   of the camera; the gain log-uniform
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    size_px: int = pydantic.Field(default=256, ge=8, le=65536)
    scale: Literal[1, 2, 4] = 2
    structures: dict[str, float] = {"microtubules": 0.6, "vesicles": 0.25, "nuclei": 0.15}
    density: Span = (0.15, 3.0)
    depth: float = pydantic.Field(default=1.0, ge=0, le=10)
    pixel_size_um: float = pydantic.Field(default=0.06, gt=0, le=1)
    pixel_size_jitter: float = pydantic.Field(default=0.1, ge=0, lt=0.5)
    fwhm_um: Span = (0.24, 0.30)
    target_fwhm_um: float = pydantic.Field(default=0.11, gt=0)
    photons: Span = (20.0, 500.0)
    haze: Span = (0.0, 1.0)
    dark: Span = (0.2, 5.0)
    offset: Span = (50.0, 500.0)
    gain: Span = (0.5, 8.0)
    read_noise: Span = (0.5, 3.0)

    @pydantic.field_validator("structures")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(STRUCTURES))
        if unknown or not value or min(value.values()) < 0 or sum(value.values()) <= 0:
            raise ValueError(
                f"needs weights of at least 0, not all 0, for some of {', '.join(STRUCTURES)}; got {value}"
            )
        return value

    @pydantic.field_validator("density", "fwhm_um", "photons", "gain")
    @classmethod
    def _positive(cls, value: Span) -> Span:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"a range must rise and start above 0; got {value}")
        return value

    @pydantic.field_validator("haze", "dark", "offset", "read_noise")
    @classmethod
    def _not_negative(cls, value: Span) -> Span:
        if not 0 <= value[0] <= value[1]:
            raise ValueError(f"a range must rise and start at 0 or above; got {value}")
        return value


@dataclass(frozen=True)
class Field:
    """One simulated field.

    degraded    [Y, X] uint16 counts;  target  [scale * Y, scale * X] float32 counts, free of noise
    pixel_size_um, target_pixel_size_um   of the two;  photons and structure as drawn;  camera that exposed it
    """

    degraded: NDArray[np.uint16]
    target: NDArray[np.float32]
    pixel_size_um: float
    target_pixel_size_um: float
    structure: str
    photons: float
    camera: Camera


def simulate_pair(config: SimulationConfig, seed: int, index: int, structure: str | None = None) -> Field:
    """Sample `index` of the endless set that `config` and `seed` describe; of one structure only where it is given.

    Raises InputError for a negative seed or index, or an unknown structure.
    """
    if seed < 0 or index < 0:
        raise InputError(f"seed {seed} and index {index} must be at least 0")
    if structure is not None and structure not in STRUCTURES:
        raise InputError(f"there is no structure {structure!r}; use one of {', '.join(STRUCTURES)}")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    names, weights = zip(*config.structures.items(), strict=True)
    drawn = str(rng.choice(names, p=np.array(weights) / sum(weights)))
    structure = structure or drawn
    pixel_um = config.pixel_size_um * (1 + config.pixel_size_jitter * rng.uniform(-1, 1))
    fwhm_um = rng.uniform(*config.fwhm_um)
    photons = _log_uniform(rng, config.photons)
    camera = Camera(
        offset=rng.uniform(*config.offset),
        gain=_log_uniform(rng, config.gain),
        read_noise=rng.uniform(*config.read_noise),
    )
    dark, far = rng.uniform(*config.dark), rng.uniform(*config.haze)
    density = _log_uniform(rng, config.density)
    exposure = torch.Generator().manual_seed(int(rng.integers(2**62)))

    side_um = config.size_px * pixel_um
    specimen = STRUCTURES[structure](rng, side_um, side_um, density)
    defocus = np.minimum(specimen.defocus * np.float32(config.depth), np.float32(MAX_DEFOCUS_UM))
    specimen = specimen._replace(defocus=defocus)
    background = haze(rng, side_um, side_um, 1.0)
    light = far * float(specimen.light.sum()) / max(float(background.light.sum()), 1e-30)
    background = background._replace(light=background.light * np.float32(light))

    scale = config.scale
    shape = (config.size_px * scale, config.size_px * scale)
    blurred, target = render([specimen, background], shape, pixel_um / scale, (fwhm_um, config.target_fwhm_um))
    del specimen, background
    optical = scale**2 * torch.nn.functional.avg_pool2d(blurred[None], scale)[0]
    del blurred
    brightest = float(np.quantile(optical[:: 1 + config.size_px // 2048].numpy(), 0.999))
    per_light = photons / brightest if brightest > 0 else 0.0
    counts = camera.expected(target.mul_(per_light * scale**2).add_(dark))
    degraded = camera.expose(optical.mul_(per_light).add_(dark), exposure)
    return Field(degraded.numpy(), counts.numpy(), pixel_um, pixel_um / scale, structure, photons, camera)


def simulate_field(
    size_px: int,
    structure: str,
    seed: int,
    *,
    photons: float = 200.0,
    pixel_size_um: float = 0.06,
    fwhm_um: float = 0.28,
    density: float = 1.0,
    haze: float = 0.2,
    scale: Literal[1, 2, 4] = 2,
) -> Field:
    """One field of exactly these properties, of any size: 4096 x 4096 takes some 20 seconds and under 2 GB.

    Raises InputError where a value is out of its range.
    """
    try:
        config = SimulationConfig(
            size_px=size_px,
            scale=scale,
            density=(density, density),
            pixel_size_um=pixel_size_um,
            pixel_size_jitter=0.0,
            fwhm_um=(fwhm_um, fwhm_um),
            photons=(photons, photons),
            haze=(haze, haze),
            dark=(2.0, 2.0),
            offset=(100.0, 100.0),
            gain=(2.0, 2.0),
            read_noise=(1.5, 1.5),
        )
    except pydantic.ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"cannot simulate this field: {faults}") from error
    return simulate_pair(config, seed, 0, structure)


def render(
    parts: list[Emitters], shape: tuple[int, int], pixel_um: float, widths_um: tuple[float, ...]
) -> list[Tensor]:
    """Blur a specimen, given in parts, with several Gaussian spots at once: [Y, X] float32 for each of `widths_um`.

    A pixel holds the light that falls on it; pixel (0, 0) has its corner at the specimen's (0, 0). Works block by
    block, each with a margin of three standard deviations of the widest spot, by products in Fourier space.
    """
    widest = math.hypot(MAX_DEFOCUS_UM, max(widths_um))
    margin = math.ceil(3 * widest / FWHM_PER_SIGMA / pixel_um)
    images = [torch.empty(shape) for _ in widths_um]
    planes = np.array(DEFOCUS_PLANES_UM) ** 2
    for y0 in range(0, shape[0], BLOCK_PX):
        height = min(BLOCK_PX, shape[0] - y0)
        span = (y0 - margin) * pixel_um, (y0 + height + margin) * pixel_um
        rows = join([_between(part, part.y, *span) for part in parts])
        for x0 in range(0, shape[1], BLOCK_PX):
            width = min(BLOCK_PX, shape[1] - x0)
            block = _between(rows, rows.x, (x0 - margin) * pixel_um, (x0 + width + margin) * pixel_um)
            # Multiples of 64 have only small factors or one larger prime: fast enough for an FFT.
            size = tuple(64 * math.ceil((n + 2 * margin) / 64) for n in (height, width))
            stack = _rasterise(block, planes, (y0 - margin, x0 - margin), (size[0], size[1]), pixel_um)
            spectra = torch.fft.rfft2(stack)
            for image, fwhm_um in zip(images, widths_um, strict=True):
                total = torch.zeros_like(spectra[0])
                for plane, spectrum in zip(planes, spectra, strict=True):
                    total.addcmul_(spectrum, gaussian_otf((size[0], size[1]), math.sqrt(fwhm_um**2 + plane) / pixel_um))
                blurred = torch.fft.irfft2(total, s=size)
                image[y0 : y0 + height, x0 : x0 + width] = blurred[margin : margin + height, margin : margin + width]
    return [image.clamp_(min=0) for image in images]


def _rasterise(
    emitters: Emitters, planes: NDArray[np.float64], origin: tuple[int, int], size: tuple[int, int], pixel_um: float
) -> Tensor:
    """Share each emitter among four pixels and two defocus planes, linearly: [planes, Y, X] float32."""
    y = emitters.y / pixel_um - 0.5 - origin[0]
    x = emitters.x / pixel_um - 0.5 - origin[1]
    row = np.clip(np.floor(y).astype(np.int64), 0, size[0] - 2)
    column = np.clip(np.floor(x).astype(np.int64), 0, size[1] - 2)
    fy, fx = np.clip(y - row, 0, 1), np.clip(x - column, 0, 1)
    variance = emitters.defocus.astype(np.float64) ** 2
    plane = np.clip(np.searchsorted(planes, variance, side="right") - 1, 0, len(planes) - 2)
    fz = (variance - planes[plane]) / (planes[plane + 1] - planes[plane])
    first = (plane * size[0] + row) * size[1] + column
    stack = np.zeros(len(planes) * size[0] * size[1], dtype=np.float32)
    for dz, dy, dx in itertools.product((0, 1), repeat=3):
        share = emitters.light * (fz if dz else 1 - fz) * (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
        stack += np.bincount(first + (dz * size[0] + dy) * size[1] + dx, share, stack.size)
    return torch.from_numpy(stack.reshape(len(planes), *size))


def _between(emitters: Emitters, along: NDArray[np.float32], low: float, high: float) -> Emitters:
    """The emitters whose coordinate `along` lies in [low, high)."""
    chosen = (along >= low) & (along < high)
    return Emitters(*(column[chosen] for column in emitters))


def _log_uniform(rng: np.random.Generator, span: Span) -> float:
    return math.exp(rng.uniform(math.log(span[0]), math.log(span[1])))
