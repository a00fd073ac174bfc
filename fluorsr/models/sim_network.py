"""A network that is given orders, as a Restorer of raw SIM frames: stripes are measured once a plane.

    plane  --measure_stripes-->  stripes      once, on the part of it where they are strongest
    tile   --demodulate-->  orders, each in its place  --network-->  restored

Nine frames are three phases of three beams, or all of two: which of them, the frames tell. Two beams draw the second
order of stripes of twice the period, whose first is not there.

The periods that the network was trained on narrow the search, so frames of a hundredth of the light still tell their
stripes, which they do not to a search over all periods.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fluorsr.classical.sim_autocorrelation import find_stripes, measure_stripes
from fluorsr.classical.sim_demodulate import demodulate
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import NoStripesError, SimParameters
from fluorsr.classical.sim_steps import Phases
from fluorsr.classical.sim_stripes import Stripes
from fluorsr.models.network import Network
from fluorsr.models.unet_sim import ANGLES, ORDERS, UNetSIMConfig
from fluorsr.optics.microscope import Microscope
from fluorsr.restorer import RestorerSpec

USUAL = Microscope(numerical_aperture=1.47, emission_nm=570.0)
"""The microscope that stripes are measured with: only its cut-off matters, and that only roughly."""

LEAST_FIRST = 1.5
"""Power of the first order, over what noise reaches, from which nine frames are of three beams: those have 3 and more,
two beams up to 0.7."""


class SimNetwork:
    """Restorer and MeasuringRestorer around a network of orders. Safe to call from several threads.

    network        takes what `demodulate` makes;  spec  as seen from outside: raw frames
    pixel_size_um  of the camera;  facts  of the plane, as `measure` told them; without them each tile is measured
    wave_per_um, beams   see `calibrated`
    """

    angles = ANGLES

    def __init__(
        self,
        network: Network,
        spec: RestorerSpec,
        config: UNetSIMConfig,
        pixel_size_um: float,
        facts: dict[str, Any] | None = None,
        wave_per_um: Tensor | None = None,
        beams: int | None = None,
    ) -> None:
        assert config.periods_um is not None
        self.spec, self.config, self.precision = spec, config, network.precision
        self.phases = spec.frames // ANGLES
        self._optics = SimOptics(microscope=USUAL, pixel_size_um=pixel_size_um)
        self._network, self._facts, self._waves, self._beams = network, facts, wave_per_um, beams

    @property
    def batch_limit(self) -> int | None:
        """See fluorsr.models.network.Network."""
        return self._network.batch_limit

    def calibrated(self, wave_per_um: Tensor, beams: int = ORDERS + 1) -> SimNetwork:
        """The same for a microscope whose pattern vectors [A, 2] (y, x) are known, as from brighter frames.

        beams   3, or 2 of a two-beam series of 9 frames: `wave_per_um` is then half of its vectors
        """
        size = self._optics.pixel_size_um
        return SimNetwork(self._network, self.spec, self.config, size, self._facts, wave_per_um, beams)

    def measure(self, frames: Tensor, origin: tuple[int, int]) -> dict[str, Any]:
        """See fluorsr.restorer.MeasuringRestorer."""
        found = self._measured(frames.reshape(ANGLES, self.phases, *frames.shape[-2:]))
        y, x = (-at * self._optics.pixel_size_um for at in origin)
        return {**found.moved(y, x).to_json(), "level": float(frames.double().mean())}

    def measured(self, facts: dict[str, Any]) -> SimNetwork:
        """See fluorsr.restorer.MeasuringRestorer."""
        size = self._optics.pixel_size_um
        return SimNetwork(self._network, self.spec, self.config, size, facts, self._waves, self._beams)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer. Raises InputError where a tile is to be measured and shows no stripes."""
        if self._facts is None:
            here = torch.zeros(1, 2, dtype=torch.int64)
            alone = [self.measured(self.measure(tile, (0, 0))).restore(tile[None], here, seed) for tile in tiles]
            return torch.cat(alone)
        found = SimParameters.from_json(self._facts)
        given = demodulate(
            tiles.reshape(len(tiles), ANGLES, self.phases, *tiles.shape[-2:]),
            found.wave_per_um * self._optics.pixel_size_um,
            found.orders_rad,
            found.modulation,
            found.light,
            self._facts["level"],
            origin,
        )
        return self._network.restore(given, origin, seed)

    def _measured(self, frames: Tensor) -> SimParameters:
        """The stripes of frames [A, N, Y, X], as those of three beams."""
        if self.phases == 2 * ORDERS - 1 and self._beams in (None, 2):
            two = self._two_beams(frames)
            if two is not None:
                return two
        return measure_stripes(
            frames, self._optics, beams=ORDERS + 1, period_um=self.config.periods_um, wave_per_um=self._waves
        )

    def _two_beams(self, frames: Tensor) -> SimParameters | None:
        """Stripes of two beams as the second order of stripes of twice the period; None where they are not."""
        assert self.config.periods_um is not None
        least, most = self.config.periods_um
        if self._waves is not None:
            return _as_second(measure_stripes(frames, self._optics, beams=2, wave_per_um=2 * self._waves))
        try:
            two = measure_stripes(frames, self._optics, beams=2, period_um=(least / 2, most / 2))
        except NoStripesError:
            return None
        try:
            first = find_stripes(frames, self._optics, beams=2, wave_per_um=two.wave_per_um / 2)
        except NoStripesError:
            return _as_second(two)
        return _as_second(two) if float(first.strength.square().mean()) < LEAST_FIRST else None


def _as_second(two: SimParameters) -> SimParameters:
    found = as_second(Phases(*(getattr(two, name) for name in Phases._fields)))
    return SimParameters(two.wave_per_um / 2, *found, two.strength)


def as_second(two: Phases) -> Phases:
    """Of two beams -> of three, the first order not there. TorchScript."""
    unknown = torch.full_like(two.phase_rad[:, :2], math.nan)
    return Phases(
        two.phase_rad / 2, torch.zeros_like(unknown), unknown, two.light, two.clarity, two.phase_error_rad / 2
    )


class SimScript(Network):
    """Restorer and MeasuringRestorer around a program of raw frames (fluorsr.export.sim_program), in its precision.

    It measures as it was exported: the vectors and the pixel size are its own.
    """

    angles = ANGLES

    def __init__(
        self,
        program: torch.jit.ScriptModule,
        spec: RestorerSpec,
        device: torch.device,
        stripes: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__(program, spec, device=device, ordered=False)
        self._program, self._stripes = program, stripes

    def measure(self, frames: Tensor, origin: tuple[int, int]) -> dict[str, Any]:
        """See fluorsr.restorer.MeasuringRestorer. Raises NoStripesError where the frames do not show the stripes."""
        with torch.inference_mode():
            found: dict[str, Tensor] = self._program.stripes_at(frames.to(self.device), *origin)
        if not bool(found.pop("shown")):
            raise NoStripesError(
                f"the frames do not show the stripes that {self.spec.name} was exported for; take brighter frames or a "
                "larger field, and look whether the program is of this microscope, with its angles in this order"
            )
        return {name: each.tolist() if bool(each.isfinite().all()) else None for name, each in found.items()}

    def measured(self, facts: dict[str, Any]) -> SimScript:
        """See fluorsr.restorer.MeasuringRestorer."""
        unknown = torch.full_like(torch.tensor(facts["offset_rad"], dtype=torch.float64), math.nan)
        stripes = {
            name: (unknown if each is None else torch.tensor(each, dtype=torch.float64)).to(self.device)
            for name, each in facts.items()
        }
        return SimScript(self._program, self.spec, self.device, stripes)

    def _run(self, given: Tensor, origin: Tensor, seed: int) -> Tensor:
        return self._forward(given, origin.to(self.device), seed, self._stripes)


def known_waves(
    stripes: Stripes, spec: RestorerSpec, config: UNetSIMConfig, pixel_size_um: float
) -> tuple[Tensor, list[str]]:
    """The vectors [A, 2] (y, x) that `calibrated` takes, of stripes that were handed over, and notes for the user.

    Raises InputError where they do not fit the network or the image.
    """
    halved = stripes.beams == ORDERS and spec.frames == ANGLES * (2 * ORDERS - 1)
    optics = SimOptics(microscope=USUAL, pixel_size_um=pixel_size_um)
    waves = stripes.vectors(
        spec.name,
        angles=ANGLES,
        beams=ORDERS if halved else ORDERS + 1,
        pixel_size_um=pixel_size_um,
        cutoff_per_um=optics.cutoff_per_um,
    ) / (2 if halved else 1)
    assert config.periods_um is not None
    least, most = config.periods_um
    strange = [1 / k for k in waves.norm(dim=1).tolist() if not least <= 1 / k <= most]
    if not strange:
        return waves, []
    return waves, [
        f"{spec.name} was trained on periods of {1000 * least:.0f} to {1000 * most:.0f} nm, and the stripes handed "
        f"over have {', '.join(f'{1000 * each:.0f}' for each in strange)} nm: look at what it makes of them with care"
    ]


def inner_spec(spec: RestorerSpec, config: UNetSIMConfig) -> RestorerSpec:
    """The spec of the network alone."""
    return replace(spec, frames=config.inputs)
