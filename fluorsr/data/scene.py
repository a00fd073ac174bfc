"""A simulated field without end: any part of it is the same, bit for bit, whatever the field is cut into.

   lattice of tiles of TILE_PX input pixels from pixel (0, 0)         Each tile is drawn by itself, from emitters of
+---------+---------+--                                               the endless plane within the reach of its
|    .----|---------|--.   <- a block reads the tiles it touches      spots, and exposed with random numbers keyed
|    |    |         |  |                                              by its place. Light is calibrated once, on a
+----|----+---------+--|                                              few tiles that depend on the field's size.
|    '----|---------|--'
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fluorsr.data.instruments import detector_of, illumination_of, microscope_of
from fluorsr.data.render import Canvas, Light, Renderer
from fluorsr.data.simulation_config import FAMILY, SimulationConfig
from fluorsr.data.smooth import line_noise, smooth_plane
from fluorsr.data.spots import make_spots
from fluorsr.data.structures.cell import hash64
from fluorsr.data.structures.emitters import Emitters
from fluorsr.data.structures.field import emitters_in
from fluorsr.data.structures.parameters import Parameters
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.errors import InputError
from fluorsr.optics.bleaching import bleach
from fluorsr.optics.illumination import SimFrames, SimIllumination, sim_frames
from fluorsr.optics.scan import shift_lines

TILE_PX = 512
CALIBRATION_TILES = 4
KEPT_FRAMES = {3: [0, 5, 10], 9: [0, 1, 2, 5, 6, 7, 10, 11, 12], 15: list(range(15))}
"""Of 15 raw frames, where so many are wanted: the first phases of each direction."""

PLACES, PATIENCE = 32, 8
"""Places of the plane that are looked at for one with light; after so many any light will do."""

LIT_SHARE, SQUARE_UM = 0.15, 0.5
"""Share of the squares of this side that must hold light for a place to be taken: dim and half-empty ones are."""

HAZE_UM = 4.0
"""How far apart the bright and dark regions of light from far planes are."""

HAZE_SPREAD = 0.4
"""Standard deviation of its logarithm."""

IN_FOCUS_UM = 0.6
"""Light within this height of the focus counts when a place is chosen."""

FIRST_MEMBER = 1 << 63
"""Numbers of random streams from here on are the family's, below it the samples'."""

DENSITIES = {
    "Microtubules": ("density_um_per_um2",),
    "Actin": ("fibres_um_per_um2", "bundles_um_per_um2", "mesh_um_per_um2"),
    "Mitochondria": ("density_um_per_um2",),
    "Nuclei": ("per_um2",),
    "Vesicles": ("per_um2",),
    "Points": ("per_um2",),
    "Lines": ("per_um2",),
    "RingField": ("per_um2",),
}
"""What `density` multiplies, by the kind of parameters; test targets of fixed layout have none."""


class Exposed(NamedTuple):
    """A part of a field: degraded [F, Y, X] uint16 counts, target [sY, sX] float32 counts without noise."""

    degraded: NDArray[np.uint16]
    target: NDArray[np.float32]


class Scene:
    """Sample `index` of the endless set of (config, seed), with everything drawn; not yet exposed.

    structure, photons, pixel_um   as drawn;  drawn  every quantity by name
    stripes   of raw SIM frames, their phases at the corner of pixel (0, 0)

    Raises InputError for a negative seed or index, an unknown structure, or a target wider than a confocal spot.
    """

    def __init__(self, config: SimulationConfig, seed: int, index: int, structure: str | None = None) -> None:
        if seed < 0 or index < 0:
            raise InputError(f"seed {seed} and index {index} must be at least 0")
        if structure is not None and structure not in STRUCTURES:
            raise InputError(f"there is no structure {structure!r}; use one of {', '.join(STRUCTURES)}")
        rng = _philox(seed, index)
        names, weights = zip(*config.structures.items(), strict=True)
        usual = str(rng.choice(names, p=np.array(weights) / sum(weights)))
        self.config, self.structure = config, structure or usual
        member = int(rng.integers(FAMILY))
        self.drawn = config.draw_family(_philox(seed, FIRST_MEMBER + member)) | config.draw_sample(rng)
        self.photons, self.pixel_um = self.drawn["photons"], self.drawn["pixel_size_um"]
        # Two structures of one sample share their microscope, but neither their haze nor their noise.
        own = zlib.crc32(self.structure.encode())
        self._specimen_seed, self._exposure_seed, self._haze_seed = (int(n) ^ own for n in rng.integers(2**62, size=3))
        places, first_phases = rng.uniform(-1e4, 1e4, (PLACES, 2)), rng.uniform(0, 2 * math.pi, 3)

        confocal = config.modality == "confocal-sted"
        self._microscope = microscope_of(self.drawn, config.index_immersion)
        self._spots = make_spots(
            self._microscope,
            confocal,
            "sted" if config.modality.endswith("sted") else "sim",
            self.drawn["target_fwhm_um"],
            self.drawn["depth_um"],
            self.drawn["damping"],
        )
        self._detector = detector_of(self.drawn)
        jitter, late = self.drawn["jitter_px"], self.drawn["bidirectional_px"]
        self._jitters = confocal and (jitter > 0 or late != 0)
        # A line that jitters brings pixels from beside the tile.
        border = 2 + math.ceil(5 * jitter + abs(late)) if self._jitters else 0
        self._side = min(config.size_px, TILE_PX)
        self._canvas = Canvas(self._side, self._side, self.pixel_um, config.scale, self._spots.margin_um, border)
        self._renderer = Renderer(self._canvas, self._spots)
        self._illumination: SimIllumination | None = None
        self.stripes: SimFrames | None = None
        if config.modality == "sim-raw":
            beams = 3 if rng.random() < config.three_beams else config.beams
            self.drawn["period_um"] *= beams - config.beams + 1
            self._illumination = illumination_of(
                self.drawn, beams, config.directions_rad, tuple(float(phase) for phase in first_phases)
            )
            made = sim_frames(self._illumination, torch.Generator().manual_seed(self._exposure_seed))
            kept = KEPT_FRAMES[config.frames] if beams == 3 else slice(None)
            self.stripes = SimFrames(*(getattr(made, field.name)[kept] for field in dataclasses.fields(made)))

        self._points: dict[tuple[int, int], Emitters] = {}
        self._parameters = _crowded(self.structure, self.drawn["density"])
        self._origin = (0.0, 0.0)
        self._choose(places)
        self.drawn |= {"microscope": member, "y_um": self._origin[0], "x_um": self._origin[1]}
        self._held: dict[tuple[int, int], Light] = {}
        self._held = {tile: self._light(tile) for tile in self._calibration_tiles()}
        wide = torch.cat([self._inner(light.even).flatten() for light in self._held.values()])
        peak = float(np.quantile(wide.numpy(), 0.999))
        self._photons_per_light = self.photons / peak if peak > 0 else 0.0

    @property
    def fwhm_um(self) -> float:
        """Full width at half maximum of the input's spot in focus."""
        return self._spots.fwhm_um

    def read(self, y0: int, y1: int, x0: int, x1: int, *, exposure: int = 0) -> Exposed:
        """Rows y0 to y1 and columns x0 to x1 of the field, in input pixels.

        exposure   which of its endless exposures: the same specimen and camera under other noise
        Raises InputError where they are not within it.
        """
        size, scale, side = self.config.size_px, self.config.scale, self._side
        if not (0 <= y0 < y1 <= size and 0 <= x0 < x1 <= size):
            raise InputError(f"rows {y0} to {y1} and columns {x0} to {x1} must lie within the field of {size} pixels")
        degraded = np.empty((self.config.frames, y1 - y0, x1 - x0), dtype=np.uint16)
        target = np.empty((scale * (y1 - y0), scale * (x1 - x0)), dtype=np.float32)
        rows, columns = range(y0 // side, (y1 - 1) // side + 1), range(x0 // side, (x1 - 1) // side + 1)
        for row, column in itertools.product(rows, columns):
            part = self._expose((row, column), exposure)
            top, left = row * side, column * side
            below, right = max(y0, top), max(x0, left)
            bottom, end = min(y1, top + side), min(x1, left + side)
            degraded[:, below - y0 : bottom - y0, right - x0 : end - x0] = part.degraded[
                :, below - top : bottom - top, right - left : end - left
            ]
            target[scale * (below - y0) : scale * (bottom - y0), scale * (right - x0) : scale * (end - x0)] = (
                part.target[
                    scale * (below - top) : scale * (bottom - top), scale * (right - left) : scale * (end - left)
                ]
            )
        return Exposed(degraded, target)

    def _choose(self, places: NDArray[np.float64]) -> None:
        """The first place with enough light in focus, or else the one with the most of those looked at."""
        middle = self._tiles // 2
        best = -1.0
        for number, (y, x) in enumerate(places.tolist(), start=1):
            found = self._emitters((middle, middle), (y, x))
            share = self._lit_share(found)
            if share > best:
                best, self._origin, self._points = share, (y, x), {(middle, middle): found}
            if best >= LIT_SHARE or (number >= PATIENCE and best > 0):
                return

    def _lit_share(self, points: Emitters) -> float:
        """Share of the area's squares that hold light within a plane's reach of the focus."""
        edge, side = self._canvas.margin * self._canvas.step_um, self._side * self.pixel_um
        count = max(1, round(side / SQUARE_UM))
        squares = np.floor((np.stack((points.y, points.x)) - edge) * (count / side)).astype(np.int64)
        inside = ((squares >= 0) & (squares < count)).all(0) & (np.abs(points.z) < IN_FOCUS_UM)
        return np.unique(squares[0, inside] * count + squares[1, inside]).size / count**2

    @property
    def _tiles(self) -> int:
        return math.ceil(self.config.size_px / self._side)

    def _calibration_tiles(self) -> list[tuple[int, int]]:
        """All tiles of a small field, and four spread over a large one."""
        lines = range(self._tiles) if self._tiles <= 2 else (self._tiles // 4, 3 * self._tiles // 4)
        return list(itertools.product(lines, lines))

    def _emitters(self, tile: tuple[int, int], origin: tuple[float, float]) -> Emitters:
        """What a tile shows, z from the focus."""
        y, x = (start + number * self._side * self.pixel_um for start, number in zip(origin, tile, strict=True))
        points = emitters_in(self.structure, self._specimen_seed, self._canvas.area(y, x), self._parameters)
        return points._replace(z=points.z * np.float32(self.drawn["thickness"]) + np.float32(self.drawn["focus_um"]))

    def _light(self, tile: tuple[int, int]) -> Light:
        """Light of the specimen on a tile's pixels."""
        if tile in self._held:
            return self._held[tile]
        points = self._points.pop(tile) if tile in self._points else self._emitters(tile, self._origin)
        if self._illumination is None or self.stripes is None:
            return self._renderer.image(points)
        corner = torch.tensor(tile, dtype=torch.float64) * self._side * self.pixel_um
        corner = corner - self._canvas.margin * self._canvas.step_um
        turned = self.stripes.phase_rad + 2 * math.pi * (self.stripes.wave_per_um @ corner)
        here = dataclasses.replace(self.stripes, phase_rad=turned)
        return self._renderer.frames(points, self._illumination, here)

    def _expose(self, tile: tuple[int, int], exposure: int) -> Exposed:
        """A tile as the detector writes it, and its truth in the same counts."""
        light = self._light(tile)
        scale, border, drawn = self.config.scale, self._canvas.border, self.drawn
        level = self._photons_per_light
        image = light.frames * level + self._haze(tile, 1, border) * self._spots.haze[0]
        image = bleach(image, drawn["bleaching"])
        if self._jitters:
            image = shift_lines(image, self._line_shifts(tile, border))
        image = self._inner(image) + drawn["background"]
        target = light.target * (level * scale**2)
        if self._illumination is None:  # stripes leave out what is evenly bright
            target = target + self._haze(tile, scale, 0) * self._spots.haze[1] + drawn["background"]
        words = (self._exposure_seed, *tile)
        generator = torch.Generator().manual_seed(int(hash64(words, np.zeros(1, dtype=np.int64))[0] >> np.uint64(1)))
        maps = self._detector.draw_maps((self._side, self._side), generator) if self._detector.varies else None
        if exposure:  # after the maps, which are the camera's and stay
            generator.manual_seed(int(hash64((*words, exposure), np.zeros(1, dtype=np.int64))[0] >> np.uint64(1)))
        degraded = self._detector.expose(image, generator, maps)
        return Exposed(degraded.numpy(), self._detector.expected(target).numpy())

    def _inner(self, image: Tensor) -> Tensor:
        """Without its border."""
        border = self._canvas.border
        return image[..., border : border + self._side, border : border + self._side]

    def _haze(self, tile: tuple[int, int], scale: int, border: int) -> Tensor:
        """Photons per input pixel of a wide-field image from planes far out of focus: [Y, X] of `scale` pixels a pixel.

        In a wide-field image: a smooth function of the plane, whose mean is `haze` of the photons.
        """
        if not self.drawn["haze"]:
            return torch.zeros(1, 1)
        at = (np.arange(scale * (self._side + 2 * border)) + 0.5) / scale - border
        y, x = (
            (number * self._side + at) * self.pixel_um + start for number, start in zip(tile, self._origin, strict=True)
        )
        level = np.exp(HAZE_SPREAD * smooth_plane(self._haze_seed, y, x, HAZE_UM) - HAZE_SPREAD**2 / 2)
        return torch.from_numpy(level.astype(np.float32)) * (self.photons * self.drawn["haze"])

    def _line_shifts(self, tile: tuple[int, int], border: int) -> Tensor:
        """Where each line of a tile lies, in pixels along x: [side + 2 border] float64."""
        rows = tile[0] * self._side + np.arange(-border, self._side + border)
        shift = self.drawn["jitter_px"] * line_noise(self._exposure_seed, rows)
        return torch.from_numpy(shift + self.drawn["bidirectional_px"] * (rows % 2))


def _philox(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))


def _crowded(structure: str, density: float) -> Parameters:
    """The usual parameters of a structure with its densities multiplied."""
    usual = STRUCTURES[structure].parameters
    names = DENSITIES.get(type(usual).__name__, ())
    return usual.model_copy(update={name: tuple(density * end for end in getattr(usual, name)) for name in names})
