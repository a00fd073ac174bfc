"""A network that is given orders, as a Restorer of raw SIM frames: stripes are measured once a plane.

    plane  --estimate_parameters-->  stripes      once, on the part of it where they are strongest
    tile   --demodulate-->  orders, each in its place  --network-->  restored

The periods that the network was trained on narrow the search, so frames of a hundredth of the light still tell their
stripes, which they do not to a search over all periods.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fluorsr.classical.sim_demodulate import demodulate
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.models.network import Network
from fluorsr.models.unet_sim import ANGLES, UNetSIMConfig
from fluorsr.optics.microscope import Microscope
from fluorsr.restorer import RestorerSpec

USUAL = Microscope(numerical_aperture=1.47, emission_nm=570.0)
"""The microscope that stripes are measured with: only its cut-off matters, and that only roughly."""


class SimNetwork:
    """Restorer and MeasuringRestorer around a network of orders. Safe to call from several threads.

    network        takes what `demodulate` makes;  spec  as seen from outside: raw frames
    pixel_size_um  of the camera;  facts  of the plane, as `measure` told them; without them each tile is measured
    """

    angles = ANGLES

    def __init__(
        self,
        network: Network,
        spec: RestorerSpec,
        config: UNetSIMConfig,
        pixel_size_um: float,
        facts: dict[str, Any] | None = None,
    ) -> None:
        assert config.periods_um is not None
        self.spec, self.config, self.precision = spec, config, network.precision
        self.phases, self.beams = spec.frames // ANGLES, config.orders + 1
        self.optics = SimOptics(microscope=USUAL, pixel_size_um=pixel_size_um)
        self._network, self._facts = network, facts

    def measure(self, frames: Tensor, origin: tuple[int, int]) -> dict[str, Any]:
        """See fluorsr.restorer.MeasuringRestorer."""
        found = estimate_parameters(
            frames.reshape(ANGLES, self.phases, *frames.shape[-2:]),
            self.optics,
            beams=self.beams,
            period_um=self.config.periods_um,
        )
        y, x = (-at * self.optics.pixel_size_um for at in origin)
        return {**found.moved(y, x).to_json(), "level": float(frames.double().mean())}

    def measured(self, facts: dict[str, Any]) -> SimNetwork:
        """See fluorsr.restorer.MeasuringRestorer."""
        return SimNetwork(self._network, self.spec, self.config, self.optics.pixel_size_um, facts)

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer. Raises InputError where a tile is to be measured and shows no stripes."""
        if self._facts is None:
            here = torch.zeros(1, 2, dtype=torch.int64)
            alone = [self.measured(self.measure(tile, (0, 0))).restore(tile[None], here, seed) for tile in tiles]
            return torch.cat(alone)
        found = SimParameters.from_json({k: v for k, v in self._facts.items() if k != "level"})
        given = demodulate(
            tiles.reshape(len(tiles), ANGLES, self.phases, *tiles.shape[-2:]),
            found.wave_per_um * self.optics.pixel_size_um,
            found.orders_rad,
            found.modulation,
            found.light,
            self._facts["level"],
            origin,
        )
        return self._network.restore(given, origin, seed)


def inner_spec(spec: RestorerSpec, config: UNetSIMConfig) -> RestorerSpec:
    """The spec of the network alone."""
    return replace(spec, frames=config.inputs)
