"""What every Restorer promises, whatever is inside it. A new one is one line in CASES."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from fluorsr.classical.bicubic import Bicubic
from fluorsr.classical.nearest import Nearest
from fluorsr.classical.richardson_lucy import RichardsonLucy
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SimParameters
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.load import load
from fluorsr.models.measure import Measured, measure
from fluorsr.models.network import Network, SamplingNetwork, prepare
from fluorsr.models.reach import measure_module
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.srgan import SRGAN, SRGANConfig
from fluorsr.models.torchscript import freeze, quiet_jit
from fluorsr.models.unet_sim import UNetSIM, UNetSIMConfig
from fluorsr.restorer import Restorer, RestorerSpec


class UNet(nn.Module):
    """Two poolings, strided on one level and by maximum on the other; transposed convolution on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 6, 3, padding=1)
        self.strided = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.deepest = nn.Conv2d(6, 6, 3, padding=1)
        self.transposed = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.tail = nn.Conv2d(12, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        full = torch.relu(self.head(x))
        half = torch.relu(self.strided(full))
        quarter = torch.relu(self.deepest(nn.functional.max_pool2d(half, 2)))
        half = half + nn.functional.interpolate(quarter, scale_factor=2.0)
        return self.tail(torch.cat([full, torch.relu(self.transposed(half))], dim=1))


def edsr(scale: int) -> Callable[[], nn.Module]:
    return lambda: EDSR(EDSRConfig(blocks=2, width=6, scale=scale))


def srgan(scale: int) -> Callable[[], nn.Module]:
    return lambda: SRGAN(SRGANConfig(blocks=1, width=4, scale=scale))


def unet_sim(frames: int, scale: int, *, cascade: bool = False) -> Callable[[], nn.Module]:
    return lambda: UNetSIM(UNetSIMConfig(frames=frames, widths=(3, 4, 5), scale=scale, cascade=cascade))


@dataclass
class Case:
    """A restorer and, where it is a network, its module with integer weights in float64: its sums have no rounding.

    A stochastic restorer has its own way of being measured, since its noise stays when its input moves.
    """

    restorer: Restorer
    integers: Callable[[Tensor], Tensor] | None = None
    measured: Callable[[], Measured] | None = None


def network(make: Callable[[], nn.Module], precision: str = "fp32", *, script: bool = False) -> Callable[..., Case]:
    def build(tmp_path) -> Case:
        torch.manual_seed(0)
        module = make().eval()
        integers = make().double().eval()
        with torch.no_grad():
            for parameter in integers.parameters():
                parameter.copy_(torch.randint(-3, 4, parameter.shape))
        if not script:
            spec = RestorerSpec("network", **vars(measure(module)))
            return Case(
                Network(prepare(module, device="cpu", precision=precision), spec, precision=precision), integers
            )
        path = tmp_path / "network.pt"
        with quiet_jit():
            torch.jit.save(freeze(module, torch.rand(1, 1, 32, 32)), path)
        exact = freeze(integers, torch.rand(1, 1, 32, 32).double())
        return Case(load(path, trust=True, device="cpu", precision=precision), exact)

    return build


def sr3(sampler: str) -> Callable[..., Case]:
    """Two evaluations: noise, and the image of the first. Layers that start at zero are given weights."""

    def build(_) -> Case:
        torch.manual_seed(0)
        module = SR3(SR3Config(width=8, multipliers=(1, 2), predicts="v", steps=2)).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if not bool(parameter.any()):
                    parameter.normal_(0, 0.1)
        spec = RestorerSpec("sr3", **vars(measure_module(module)))
        network = SamplingNetwork(prepare(module, device="cpu", precision="fp32"), spec, 2, sampler)
        return Case(network, measured=lambda: measure_module(module))

    return build


def wiener_sim() -> WienerSim:
    """Nine frames with given stripes, so that any tile will do."""
    phase = 2 * math.pi / 3 * torch.arange(3.0, dtype=torch.float64).expand(3, 3)
    directions = torch.tensor([0.2, 1.2, 2.2], dtype=torch.float64)
    ones = torch.ones(3, 3, dtype=torch.float64)
    parameters = SimParameters(
        wave_per_um=torch.stack([torch.sin(directions), torch.cos(directions)], 1) / 0.24,
        phase_rad=phase,
        offset_rad=torch.zeros(3, 1, dtype=torch.float64),
        modulation=0.8 * ones[:, :1],
        light=ones,
        clarity=ones,
        phase_error_rad=0 * ones,
        strength=ones[0],
    )
    return WienerSim(SimOptics(pixel_size_um=0.06), phases=3, beams=2, parameters=parameters)


CASES: dict[str, Callable[..., Case]] = {
    "EDSR x1": network(edsr(1)),
    "EDSR x2": network(edsr(2)),
    "EDSR x4": network(edsr(4)),
    "EDSR x2 bf16": network(edsr(2), "bf16"),
    "EDSR x2 TorchScript": network(edsr(2), script=True),
    "EDSR x2 TorchScript bf16": network(edsr(2), "bf16", script=True),
    "U-Net": network(UNet),
    "U-Net TorchScript": network(UNet, script=True),
    "SRGAN x1": network(srgan(1)),
    "SRGAN x2": network(srgan(2)),
    "SRGAN x4": network(srgan(4)),
    "U-Net SIM 1 frame": network(unet_sim(1, 1)),
    "U-Net SIM 9 frames x2": network(unet_sim(9, 2)),
    "U-Net SIM 15 frames x2": network(unet_sim(15, 2)),
    "U-Net SIM 3 frames, cascade": network(unet_sim(3, 1, cascade=True)),
    "SR3 ancestral": sr3("ddpm"),
    "SR3 DDIM": sr3("ddim"),
    "SR3 DPM-Solver++": sr3("dpm_solver_pp_2m"),
    "SR3 SDE-DPM-Solver++": sr3("sde_dpm_solver_pp_2m"),
    "bicubic x2": lambda _: Case(Bicubic(2)),
    "nearest x2": lambda _: Case(Nearest(2)),
    "Richardson-Lucy x1": lambda _: Case(RichardsonLucy(fwhm_px=2.0, iterations=2, scale=1)),
    "Wiener SIM": lambda _: Case(wiener_sim()),
    "Richardson-Lucy x2": lambda _: Case(RichardsonLucy(fwhm_px=1.5, iterations=2, scale=2)),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a run
    yield CASES[request.param](tmp_path_factory.mktemp("case"))
    torch.set_num_threads(before)


def sides(spec: RestorerSpec) -> tuple[int, int]:
    height = 2 * spec.halo + 4 * spec.multiple
    return height, height + spec.multiple


def restore(restorer: Restorer, tiles: Tensor, y: int = 0, x: int = 0, seed: int = 0) -> Tensor:
    return restorer.restore(tiles, torch.tensor([[y, x]] * len(tiles)), seed)


def test_shape_and_dtype(case):
    spec = case.restorer.spec
    height, width = sides(spec)
    for batch in (1, 3):
        out = restore(case.restorer, torch.rand(batch, spec.frames, height, width))
        assert out.dtype == torch.float32
        assert out.shape == (batch, 1, spec.scale * height, spec.scale * width)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 50.0])
def test_finite_in_finite_out(case, value):
    spec = case.restorer.spec
    tiles = torch.full((1, spec.frames, *sides(spec)), value)
    assert bool(torch.isfinite(restore(case.restorer, tiles)).all())
    assert bool(torch.isfinite(restore(case.restorer, tiles * torch.rand_like(tiles))).all())


def test_its_tiles_are_left_as_they_were(case):
    tiles = torch.rand(2, case.restorer.spec.frames, *sides(case.restorer.spec))
    before = tiles.clone()
    restore(case.restorer, tiles)
    assert torch.equal(tiles, before)


def test_the_spec_is_what_is_measured(case):
    spec = case.restorer.spec
    if getattr(case.restorer, "precision", "fp32") == "bf16":
        pytest.skip("measured in fp32; bf16 is the same network")
    found = case.measured() if case.measured else measure(lambda tiles: restore(case.restorer, tiles))
    # A reach without an end has no halo to measure; it is how far tiles are faded.
    names = ("frames", "scale", "multiple", "exact", *(("halo",) if spec.exact else ()))
    assert {name: getattr(found, name) for name in names} == {name: getattr(spec, name) for name in names}


def test_neither_batch_position_nor_threads_change_a_bit(case):
    spec = case.restorer.spec
    tiles = torch.rand(4, spec.frames, *sides(spec))
    expected = restore(case.restorer, tiles)
    for shift in (1, 2, 3):
        assert torch.equal(restore(case.restorer, tiles.roll(shift, 0)), expected.roll(shift, 0))
    for threads in (1, 4):
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            results = list(pool.map(lambda shift: restore(case.restorer, tiles.roll(shift, 0)), range(8)))
        assert all(torch.equal(result, expected.roll(shift, 0)) for shift, result in enumerate(results))


def test_the_seed_matters_to_stochastic_restorers_only(case):
    tiles = torch.rand(1, case.restorer.spec.frames, *sides(case.restorer.spec))
    first, again, other = (restore(case.restorer, tiles, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != case.restorer.spec.stochastic


def tile_error(forward: Callable[[Tensor, int, int], Tensor], spec: RestorerSpec, halo: int, image: Tensor) -> float:
    """Worst difference between tiles, `halo` thrown away, and the whole image, at several places of the grid."""
    whole = forward(image, 0, 0)
    tile = 2 * spec.halo + 4 * spec.multiple
    worst = 0.0
    for y in range(0, image.shape[-2] - tile + 1, spec.multiple):
        x = (3 * y) % (image.shape[-1] - tile + 1) // spec.multiple * spec.multiple
        alone = forward(image[..., y : y + tile, x : x + tile], y, x)
        inside = slice(spec.scale * halo, spec.scale * (tile - halo))
        rows, columns = (slice(spec.scale * (at + halo), spec.scale * (at + tile - halo)) for at in (y, x))
        worst = max(worst, float((alone[..., inside, inside] - whole[..., rows, columns]).abs().max()))
    return worst


def test_tiles_equal_the_whole_exactly(case):
    if case.integers is None:
        pytest.skip("not a network with weights")
    spec = case.restorer.spec
    side = 4 * spec.halo + 8 * spec.multiple
    image = torch.randint(0, 9, (1, spec.frames, side, side + spec.multiple)).double()
    with torch.inference_mode():
        error = functools.partial(tile_error, lambda tiles, y, x: case.integers(tiles), spec, image=image)
        assert error(spec.halo) == 0
        # one step less, and the outside is felt: the halo is no larger than it must be, and this test would notice
        assert error(spec.halo - spec.multiple) > 0


def test_tiles_equal_the_whole_to_rounding(case):
    spec = case.restorer.spec
    if not spec.exact:
        pytest.skip("it says itself that it is not exact")
    side = 4 * spec.halo + 8 * spec.multiple
    image = torch.rand(1, spec.frames, side, side + spec.multiple, generator=torch.Generator().manual_seed(1))
    whole = restore(case.restorer, image)
    tolerance = 2e-2 if getattr(case.restorer, "precision", "fp32") == "bf16" else 1e-5
    error = tile_error(lambda tiles, y, x: restore(case.restorer, tiles, y, x), spec, spec.halo, image)
    assert error <= tolerance * float(whole.max() - whole.min())
