"""SR3 against the published size, its equations, and what a sample may depend on."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch import Tensor, nn

from fluorsr.errors import InputError
from fluorsr.models.load import load
from fluorsr.models.measure import measure
from fluorsr.models.network import SamplingNetwork
from fluorsr.models.reach import MAX_SAMPLING_HALO, measure_module
from fluorsr.models.samplers import SAMPLERS
from fluorsr.models.sr3 import CENTRE, SPREAD, SR3, Attention, Denoiser, PixelNorm, SR3Config, interpolate
from fluorsr.models.torchscript import freeze, quiet_jit, script
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec


def small(**more: object) -> SR3:
    """With weights where layers start at zero, so that every path is felt."""
    torch.manual_seed(0)
    network = SR3(SR3Config(**{"width": 8, "multipliers": (1, 2), "steps": 3, "predicts": "v", **more})).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.normal_(0, 0.1)
    return network


def test_the_paper_sized_network_has_about_the_published_parameters() -> None:
    """550 M for 16 x 16 -> 128 x 128 (Saharia et al. 2021, table in the appendix), here of one colour."""
    with torch.device("meta"):
        count = sum(p.numel() for p in Denoiser(SR3Config.paper()).parameters())
    assert count == pytest.approx(550e6, rel=0.05)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("attention", [(), (2,)])
@pytest.mark.parametrize("norm", ["pixel", "group", "none"])
def test_the_denoiser_scripts(norm: str, attention: tuple[int, ...], compact: bool) -> None:
    denoiser = small(norm=norm, attention=attention, compact=compact, frames=3).denoiser
    joined, level = torch.rand(2, 4, 8, 12), torch.tensor([0.1, 0.9])
    expected = denoiser(joined, level)
    assert expected.shape == (2, 1, 8, 12)
    torch.testing.assert_close(script(denoiser)(joined, level), expected)


def test_sampling_traces_at_any_size() -> None:
    network = small()
    program = freeze(network, torch.rand(1, 1, 16, 16))
    x = torch.rand(2, 1, 20, 12)
    with torch.inference_mode():
        assert network(x).shape == (2, 1, 40, 24)
        torch.testing.assert_close(program(x), network(x))


def test_it_starts_by_predicting_nothing() -> None:
    torch.manual_seed(0)
    assert not bool(Denoiser(SR3Config(width=8))(torch.rand(1, 2, 8, 8), torch.tensor([0.5])).any())


def test_the_noise_level_is_heard() -> None:
    denoiser = small().denoiser
    x = torch.rand(1, 2, 8, 8)
    quiet, near, far = (denoiser(x, torch.tensor([level])).detach() for level in (0.5, 0.5001, 0.9))
    assert float((quiet - far).abs().mean()) > float((quiet - near).abs().mean()) > 0


def test_norms_and_attention_by_hand() -> None:
    x = torch.randn(2, 6, 3, 4)
    by_hand = x / (x.square().sum(1, keepdim=True) / 6 + 1e-6).sqrt()
    torch.testing.assert_close(PixelNorm(6)(x), by_hand)
    layer = Attention(6, "none")
    nn.init.normal_(layer.out.weight)
    q, k, v = (part.flatten(2) for part in layer.project(x).chunk(3, 1))
    seen = nn.functional.scaled_dot_product_attention(q.mT, k.mT, v.mT).mT.reshape(x.shape)
    torch.testing.assert_close(layer(x), (x + layer.out(seen)) / math.sqrt(2))


@pytest.mark.parametrize("predicts", ["noise", "v"])
def test_the_estimate_inverts_the_noising(predicts: str) -> None:
    network = small(predicts=predicts)
    y0, noise, gamma = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4), 0.3
    y = gamma**0.5 * y0 + (1 - gamma) ** 0.5 * noise
    found = noise if predicts == "noise" else gamma**0.5 * noise - (1 - gamma) ** 0.5 * y0
    torch.testing.assert_close(network.estimate(y, found, gamma), y0)


def test_a_denoiser_that_knows_the_image_restores_it() -> None:
    """Every sampler ends on y_0 where the network finds the noise in y exactly."""
    network = small(predicts="noise")
    truth = torch.rand(1, 1, 16, 16)

    class Oracle(nn.Module):
        def forward(self, joined: Tensor, level: Tensor) -> Tensor:
            gamma = float(level[0]) ** 2
            return (joined[:, -1:] - gamma**0.5 * (truth - CENTRE) / SPREAD) / (1 - gamma) ** 0.5

    network.denoiser = Oracle()
    for sampler in SAMPLERS:
        torch.testing.assert_close(network(torch.rand(1, 1, 8, 8), steps=10, sampler=sampler), truth, atol=2e-2, rtol=0)


def test_interpolation_is_keys_cubic_and_keeps_edges() -> None:
    """Cubic convolution reproduces parabolas (Keys 1981, section IV); positions are those of scipy's grid mode."""
    x = torch.arange(16, dtype=torch.float64)
    image = (0.02 * x[:, None] ** 2 - 0.3 * x[None] + 1)[None, None]
    for scale in (2, 4):
        fine = interpolate(image, scale)[0, 0].numpy()
        expected = zoom(image[0, 0].numpy(), scale, order=3, grid_mode=True, mode="nearest")
        inner = slice(4 * scale, -4 * scale)
        np.testing.assert_allclose(fine[inner, inner], expected[inner, inner], atol=2e-3)  # splines ring at the edges
        place = (np.arange(16 * scale) + 0.5) / scale - 0.5
        exact = 0.02 * place[:, None] ** 2 - 0.3 * place[None] + 1
        np.testing.assert_allclose(fine[inner, inner], exact[inner, inner], atol=1e-12)
    assert interpolate(image, 1) is image


GUIDE = {"blocks": 1, "width": 8, "scale": 2}


def test_a_sample_depends_on_the_halo_and_on_no_more() -> None:
    """In float64, in tiles placed anywhere: equal to rounding with the halo, and not with half of it."""
    network = small(steps=2).double()
    spec = measure_module(small(steps=2))
    assert (spec.halo, spec.exact) == (2 * measure(small().one_evaluation).halo, True)
    size = 3 * spec.halo
    image = torch.rand(1, 1, size, size + 8, dtype=torch.float64)
    at = torch.tensor([[-3, 2**34]])
    with torch.inference_mode():
        for sampler in SAMPLERS:
            whole = network(image, at, 5, sampler=sampler)
            tile = network(image[..., 4:, 7:], at + torch.tensor([[4, 7]]), 5, sampler=sampler)
            difference = (tile - whole[..., 8:, 14:]).abs()
            inside, less = 2 * spec.halo, spec.halo
            assert float(difference[..., inside:-inside, inside:-inside].max()) < 1e-12
            assert float(difference[..., less:-less, less:-less].max()) > 1e-12


def test_a_margin_costs_less_and_changes_no_pixel_that_is_read() -> None:
    """In float64, with and without a guide; the denoiser is shown k / S of the margin less in evaluation k of S."""
    for guide in (None, GUIDE):
        network, halo = small(guide=guide).double(), measure_module(small(guide=guide)).halo
        image, at = torch.rand(1, 1, 2 * halo + 9, 2 * halo + 12, dtype=torch.float64), torch.tensor([[-3, 2**34]])
        shown: list[list[int]] = []
        hook = network.denoiser.register_forward_pre_hook(lambda _, given, to=shown: to.append([*given[0].shape[2:]]))
        with torch.inference_mode():
            for sampler in SAMPLERS:
                whole = network(image, at, 5, sampler=sampler)
                shown.clear()
                kept = network(image, at, 5, halo, sampler=sampler)
                edge = 2 * halo
                assert float((kept - whole).abs()[..., edge:-edge, edge:-edge].max()) < 1e-12
                assert float((kept - whole).abs()[..., halo:-halo, halo:-halo].max()) > 1e-12
                assert kept.shape == whole.shape
                assert bool(kept.isfinite().all())
                edges = [2 * halo * k // 3 // 2 * 2 for k in range(3)]
                assert shown == [[4 * halo + 18 - 2 * edge, 4 * halo + 24 - 2 * edge] for edge in edges]
        hook.remove()


def test_far_reaching_samples_are_not_called_exact() -> None:
    one = measure(small().one_evaluation).halo
    few, many = MAX_SAMPLING_HALO // one, MAX_SAMPLING_HALO // one + 1
    assert dataclasses.astuple(measure_module(small(), few))[2:] == (few * one, 1, True, True)
    assert dataclasses.astuple(measure_module(small(), many))[2:] == (MAX_SAMPLING_HALO, 1, False, True)
    assert not measure_module(small(norm="group")).exact


def test_the_guide_is_asked_once() -> None:
    """Its reach is added to that of all evaluations, and with their sum a sample is right in tiles."""
    network = small(steps=2, guide=GUIDE).double()
    spec = measure_module(small(steps=2, guide=GUIDE))
    alone = measure(network.guide.float()).halo
    network.double()
    assert (spec.halo, spec.exact) == (2 * measure(small().one_evaluation).halo + alone, True)
    image = torch.rand(1, 1, 3 * spec.halo, 3 * spec.halo + 8, dtype=torch.float64)
    at = torch.tensor([[10, 20]])
    with torch.inference_mode():
        whole = network(image, at, 5)
        tile = network(image[..., 4:, 7:], at + torch.tensor([[4, 7]]), 5)
    inside = slice(2 * spec.halo, -2 * spec.halo)
    assert float((tile - whole[..., 8:, 14:]).abs()[..., inside, inside].max()) < 1e-12


def test_the_guide_is_the_last_thing_shown() -> None:
    network, x = small(guide=GUIDE), torch.rand(2, 1, 12, 16)
    shown = network.condition(x)
    torch.testing.assert_close(shown[:, 1:] * SPREAD + CENTRE, network.guide(x))
    torch.testing.assert_close(shown[:, :1], small().condition(x))
    assert network.denoiser.head.in_channels == 3
    assert not any(weight.requires_grad for weight in network.guide.parameters())
    with pytest.raises(ValueError, match=r"guide has in_channels, out_channels and scale \(1, 1, 4\); .* \(1, 1, 2\)"):
        SR3Config(guide={"scale": 4})


def test_wrong_configurations_are_told_all_at_once() -> None:
    with pytest.raises(ValueError, match=r"steps 99 must be at most timesteps 50; sampler 'x' .*; attention \(3,\)"):
        SR3Config(steps=99, timesteps=50, sampler="x", attention=(3,))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    network = small()
    path = tmp_path_factory.mktemp("sr3") / "sr3.safetensors"
    spec = RestorerSpec("sr3", **vars(measure_module(network)))
    config = network.config.model_dump(mode="json")
    save_weights(path, network, architecture="sr3", config=config, spec=spec, notes={})
    return path, network


def test_a_loaded_model_samples_as_asked(stored) -> None:
    path, network = stored
    tiles, origin = torch.rand(2, 1, 12, 16), torch.tensor([[0, 0], [40, -8]])
    usual = load(path, device="cpu", precision="fp32")
    assert (usual.steps, usual.sampler, usual.spec.stochastic) == (3, "sde_dpm_solver_pp_2m", True)
    with torch.inference_mode():
        torch.testing.assert_close(usual.restore(tiles, origin, 4), network(tiles, origin, 4))
        asked = load(path, device="cpu", precision="fp32", steps=5, sampler="ddpm")
        torch.testing.assert_close(asked.restore(tiles, origin, 4), network(tiles, origin, 4, steps=5, sampler="ddpm"))
    assert asked.spec.halo == usual.spec.halo // 3 * 5


def test_a_loaded_model_leaves_the_halo_alone(stored) -> None:
    """Tiles with a centre cost less; of a model that is not exact they are restored whole, as those without are."""
    path, network = stored
    model, origin = load(path, device="cpu", precision="fp32"), torch.tensor([[40, -8]])
    halo = model.spec.halo
    tile, edge = torch.rand(1, 1, 2 * halo + 4, 2 * halo + 6), 2 * halo
    with torch.inference_mode():
        restored, whole = model.restore(tile, origin, 4), network(tile, origin, 4)
        torch.testing.assert_close(restored[..., edge:-edge, edge:-edge], whole[..., edge:-edge, edge:-edge])
        assert not torch.equal(restored, whole)
        far = SamplingNetwork(network, dataclasses.replace(model.spec, exact=False), 3, network.config.sampler)
        torch.testing.assert_close(far.restore(tile, origin, 4), whole)


def test_bf16_stays_close_and_keeps_its_state_in_float32(stored) -> None:
    path, _ = stored
    tiles, origin = torch.rand(1, 1, 32, 32), torch.zeros(1, 2, dtype=torch.int64)
    exact, fast = (load(path, device="cpu", precision=p).restore(tiles, origin, 1) for p in ("fp32", "bf16"))
    assert fast.dtype == torch.float32
    assert 0 < float((exact - fast).abs().mean() / exact.std()) < 0.05


def test_steps_and_samplers_are_refused_where_they_mean_nothing(stored, tmp_path) -> None:
    path, _ = stored
    with pytest.raises(InputError, match="steps is 3000; this model samples in 1 to 2000 steps"):
        load(path, steps=3000)
    with pytest.raises(InputError, match="sampler 'euler' is not one of ddpm, ddim, dpm_solver_pp_2m"):
        load(path, sampler="euler")
    with pytest.raises(InputError, match=r"is a edsr: it restores in one step; leave out --steps and --sampler"):
        load("edsr-confocal-sted-x2", steps=4)
    with quiet_jit():
        torch.jit.save(freeze(nn.Conv2d(1, 1, 3, padding=1), torch.rand(1, 1, 8, 8)), tmp_path / "net.pt")
    with pytest.raises(InputError, match="TorchScript, whose steps and sampler were set when it was exported"):
        load(tmp_path / "net.pt", sampler="ddim")
