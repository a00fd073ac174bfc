"""The program of a SIM network: raw frames in, whose stripes it measures itself.

    frames of one image --measure--> stripes        phases, contrast, brightness: once for all tiles, on one part of it
    tile, stripes --> orders, each in its place --> network --> restored

The pattern's vectors belong to the microscope and are constants of the program; the rest drifts and is measured of
every set of frames, by the very functions that Python measures and places orders with. Nothing is raised in live use:
of frames that do not show the stripes the phases are each frame's own, as far as they tell any, and `shown` is False.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from fluorsr.classical import sim_constants as usual
from fluorsr.classical.sim_autocorrelation import known_power, known_stripes
from fluorsr.classical.sim_demodulate import place_orders
from fluorsr.classical.sim_orders import Lens, SimOptics, carrier, nominal_phases
from fluorsr.classical.sim_region import strongest_part
from fluorsr.classical.sim_steps import orders_of
from fluorsr.export.program import Options, Program
from fluorsr.models.sim_network import USUAL, as_second
from fluorsr.models.unet_sim import ANGLES, ORDERS, UNetSIMConfig
from fluorsr.restorer import RestorerSpec


class Orders(nn.Module):
    """What a network of orders is given, of raw frames; TorchScript.

    frames         how many make an image;  wave_per_um  [A, 2] (y, x) of the stripes, cycles per um
    pixel_size_um  of the camera;  beams  3, or 2 as `SimNetwork.calibrated` takes it
    """

    def __init__(self, frames: int, wave_per_um: Tensor, pixel_size_um: float, beams: int = ORDERS + 1) -> None:
        super().__init__()
        # numbers, not a tensor: casting the program to another precision must not touch them
        self.waves: list[list[float]] = wave_per_um.tolist()
        self.angles, self.orders, self.phases = ANGLES, ORDERS, frames // ANGLES
        self.pixel_size_um, self.cutoff_per_um, self.damping = SimOptics(
            microscope=USUAL, pixel_size_um=pixel_size_um
        ).lens
        self.drawn = beams - 1  # side orders that the beams draw; two beams the second alone
        self.least_power = known_power(ANGLES, self.phases, self.drawn)

    def forward(self, x: Tensor, stripes: dict[str, Tensor], origin: Tensor | None) -> Tensor:
        """Normalised tiles [B, frames, Y, X] -> orders [B, channels, Y, X] float32. See `place_orders`."""
        return place_orders(
            x.reshape([x.size(0), self.angles, self.phases, x.size(2), x.size(3)]),
            self._waves(x.device) * self.pixel_size_um,
            orders_of(stripes["phase_rad"], stripes["offset_rad"]),
            stripes["modulation"],
            stripes["light"],
            float(stripes["level"]),
            origin,
        )

    @torch.jit.export
    def at(self, frames: Tensor, y: int, x: int) -> dict[str, Tensor]:
        """The stripes of normalised frames [frames, Y, X] whose first pixel is (y, x) of the image: float64.

        phase_rad [A, N] at the image's first corner, offset_rad and modulation [A, M] (NaN where it is not measured),
        light, clarity and phase_error_rad [A, N] as in fluorsr.classical.sim_parameters; level [] mean of the frames;
        shown [] bool
        """
        series = frames.reshape([self.angles, self.phases, frames.size(-2), frames.size(-1)])
        waves = self._waves(frames.device)
        lens = Lens(self.pixel_size_um, self.cutoff_per_um, self.damping)
        part = self.orders // self.drawn
        found, shown = known_stripes(series, lens, part * waves, self.drawn, self.least_power)
        if part > 1:
            found = as_second(found)
        corner = torch.tensor([y, x], dtype=torch.float64, device=frames.device) * -self.pixel_size_um
        turn = 2 * math.pi * (waves @ corner)
        return {
            "phase_rad": found.phase_rad + turn[:, None],
            "offset_rad": found.offset_rad,
            "modulation": found.modulation,
            "light": found.light,
            "clarity": found.clarity,
            "phase_error_rad": found.phase_error_rad,
            "level": frames.double().mean(),
            "shown": torch.full([], shown, dtype=torch.bool, device=frames.device),
        }

    @torch.jit.export
    def measure(self, frames: Tensor, low: float, span: float) -> dict[str, Tensor]:
        """The stripes of an image's frames [frames, Y, X] in counts, of which low and low + span become 0 and 1."""
        y, x = strongest_part(frames[:2].to(torch.float32))
        part = (frames[:, y : y + usual.REGION, x : x + usual.REGION].to(torch.float32) - low) / span
        return self.at(torch.where(torch.isfinite(part), part, torch.zeros_like(part)), y, x)

    @torch.jit.unused
    def light(self, size: tuple[int, int], first_rad: float) -> Tensor:
        """Stripes of usual contrast and even steps, for frames to try it with: [frames, Y, X], 1 on average."""
        phase = first_rad + nominal_phases(self.phases, self.drawn)
        waving = carrier(self.orders // self.drawn * self._waves(torch.device("cpu")), size, self.pixel_size_um)
        light = torch.ones((self.angles, self.phases, *size), dtype=torch.float64)
        for m, contrast in enumerate(usual.USUAL_MODULATION[: self.drawn], 1):
            light += contrast * (waving[:, None] ** m * torch.exp(1j * phase[:, m - 1])[:, None, None]).real
        return light.flatten(0, 1).clamp(min=0)

    def _waves(self, device: torch.device) -> Tensor:
        return torch.tensor(self.waves, dtype=torch.float64, device=device)


class RawFrames(nn.Module):
    """A network of orders behind `Orders`, in Python: what its program is held against."""

    def __init__(self, network: nn.Module, config: UNetSIMConfig, orders: Orders) -> None:
        super().__init__()
        self.network, self.config, self.orders = network, config, orders

    def forward(self, x: Tensor, origin: Tensor | None = None, stripes: dict[str, Tensor] | None = None) -> Tensor:
        """Normalised tiles [B, frames, Y, X] -> [B, 1, 2 Y, 2 X]; where no stripes are given, each tile's own."""
        if stripes is None:
            return torch.cat([self(tile[None], None, self.orders.at(tile, 0, 0)) for tile in x])
        restored: Tensor = self.network(self.orders(x, stripes, origin))
        return restored


class SimProgram(Program):
    """As Program, around a network of orders; `forward` may be told the stripes that `measure` found."""

    def __init__(self, network: nn.Module, spec: RestorerSpec, orders: Orders, **options: Unpack[Options]) -> None:
        super().__init__(network, spec, **options)
        self.orders = orders

    def forward(
        self, x: Tensor, origin: Tensor | None = None, seed: int = 0, stripes: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Normalised tiles [B, frames, Y, X] float32 -> [B, 1, 2 Y, 2 X] float32.

        origin, stripes   of tiles of one image: [B, 2] int64 (y, x) of each tile's first pixel, and what `measure` told
                          of the image; where stripes are not given, those of each tile alone
        seed              has no effect
        """
        if stripes is not None:
            return self._run(self.orders(x, stripes, origin), None, seed, 0)
        alone = [self.orders(x[i : i + 1], self.orders.at(x[i], 0, 0), None) for i in range(x.size(0))]
        return self._run(torch.cat(alone), None, seed, 0)

    @torch.jit.export
    def centre(self, x: Tensor, origin: Tensor, seed: int) -> Tensor:
        """As `forward`: this network computes the whole tile."""
        return self.forward(x, origin, seed, None)

    @torch.jit.export
    def measure(self, frames: Tensor, low: float, span: float) -> dict[str, Tensor]:
        """The stripes of one image: raw frames [frames, Y, X], of which counts low and low + span become 0 and 1."""
        return self.orders.measure(frames, low, span)

    @torch.jit.export
    def stripes_at(self, frames: Tensor, y: int, x: int) -> dict[str, Tensor]:
        """The same of a part of it: normalised frames whose first pixel is (y, x) of the image."""
        return self.orders.at(frames, y, x)

    def _measure(self, pixels: Tensor, span: float) -> dict[str, Tensor]:
        return self.orders.measure(pixels, self.low, span)

    def _tile(self, tiles: Tensor, origin: Tensor, seed: int, facts: dict[str, Tensor]) -> Tensor:
        return self.forward(tiles, origin, seed, facts)
