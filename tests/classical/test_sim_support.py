"""Support by the frames where the truth is known: filaments in focus have it, what is drawn on haze has none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

import fluorsr
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.classical.sim_support import Support, sim_support
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.errors import InputError
from fluorsr.image import Image
from fluorsr.optics.psf import gaussian_blur

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sim_microtubules"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
LEFT, RIGHT = (slice(16, -16), slice(16, 48)), (slice(16, -16), slice(80, -16))


@dataclass(frozen=True)
class Thick:
    """In focus on the left; on the right only another specimen, far out of focus and so without stripes.

    truth and mesh   [2 Y, 2 X]: the left side's filaments, and sharp ones on the right where there are none in focus
    """

    frames: Tensor
    truth: Tensor
    mesh: Tensor
    parameters: SimParameters
    optics: SimOptics


def blurred(image: Tensor, width_px: float) -> Tensor:
    return gaussian_blur(image.double()[None, None], width_px)[0, 0]


@pytest.fixture(scope="module", params=[2000, 100])
def thick(request, simulate_sim, three_beams) -> Thick:
    focus, other = (simulate_sim(three_beams.illumination, request.param, seed) for seed in (0, 5))
    left = torch.zeros(128, 128, dtype=torch.float64)
    left[:, :64] = 1
    left = blurred(left, 6.0)
    haze = 2 * blurred(other.frames.mean((0, 1)) - 100, 1.5 / 0.06)
    noise = torch.poisson(haze.clamp(min=0).expand(3, 5, 128, 128), generator=torch.Generator().manual_seed(1))
    large = left.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return Thick(
        100 + (focus.frames - 100) * left + noise,
        blurred(focus.truth, 100 / 30) * large,
        blurred(other.truth, 100 / 30) * (1 - large),
        estimate_parameters(focus.frames, focus.optics),
        focus.optics,
    )


def judge(thick: Thick, image: Tensor) -> Support:
    return sim_support(image, thick.frames, thick.parameters, thick.optics)


def mean(found: Support, where: tuple[slice, slice]) -> float:
    """Support of what is certain there, weighted by its structure."""
    weight = (found.structure * found.certain)[where]
    return float((found.support[where] * weight).sum() / weight.sum())


def test_the_truth_is_supported_and_a_mesh_on_haze_is_not(thick) -> None:
    truth, mesh = judge(thick, thick.truth), judge(thick, thick.truth + thick.mesh)
    assert truth.unsupported < 0.05
    assert mean(truth, LEFT) == pytest.approx(1, abs=0.05)
    assert mean(mesh, LEFT) == pytest.approx(1, abs=0.15)
    assert mean(mesh, RIGHT) == pytest.approx(0, abs=0.1)
    powers = [float(each.structure.sum()) for each in (judge(thick, thick.mesh), mesh)]
    assert mesh.unsupported == pytest.approx(powers[0] / powers[1], abs=0.08)  # the mesh's share of all structure
    assert mesh.certain[RIGHT].double().mean() > 0.8
    assert judge(thick, thick.mesh).unsupported > 0.9


def test_a_fainter_mesh_is_a_smaller_share(thick) -> None:
    shares = [judge(thick, thick.truth + strength * thick.mesh).unsupported for strength in (0.0, 0.3, 0.6, 1.0)]
    assert shares == sorted(shares)
    assert shares[1] < 0.3 * shares[3]


def test_units_do_not_matter_and_a_displaced_image_loses_support(thick) -> None:
    same = judge(thick, 7 * thick.truth + 1000)
    assert same.unsupported == pytest.approx(judge(thick, thick.truth).unsupported, abs=1e-6)
    assert judge(thick, thick.truth.roll(8, 0)).unsupported > 0.5
    assert judge(thick, thick.truth.T).unsupported > 0.5


def test_wiener_draws_nothing_on_haze(thick) -> None:
    sim = WienerSim(thick.optics, parameters=thick.parameters)
    image = sim.restore(thick.frames.flatten(0, 1)[None].float(), torch.zeros(1, 2, dtype=torch.int64), 0)[0, 0]
    found = judge(thick, image)
    assert found.unsupported < 0.05
    assert found.structure[RIGHT].mean() < 0.05 * found.structure[LEFT].mean()


def test_what_cannot_be_judged_is_refused(thick) -> None:
    with pytest.raises(InputError, match=r"of \(255, 256\) pixels does not fit frames of \(128, 128\)"):
        judge(thick, thick.truth[:-1])
    with pytest.raises(InputError, match="no structure to be held against the frames: it is flat"):
        judge(thick, torch.ones(256, 256))


def test_from_images_in_one_call(thick) -> None:
    raw = Image(thick.frames.flatten(0, 1).numpy().astype(np.float32), "zyx", {"y": 0.06, "x": 0.06})
    options = {"numerical_aperture": 1.4, "emission_nm": 525.0, "damping": 0.9}
    for image, low, high in ((thick.truth, 0, 0.06), (thick.truth + thick.mesh, 0.2, 0.7)):
        restored = Image(image.numpy().astype(np.float32), "yx", {"y": 0.03, "x": 0.03})
        assert low <= fluorsr.sim_support(raw, restored, frames_axis="z", options=options).unsupported < high
    with pytest.raises(InputError, match="must be a whole multiple"):
        fluorsr.sim_support(raw, Image(np.zeros((200, 200), np.float32), "yx"), frames_axis="z", options=options)


@needs_data
def test_real_reconstructions_are_supported_and_another_field_is_not() -> None:
    raw = torch.from_numpy(tifffile.imread(DATA / "fov1_high_light_raw.tif").astype("float32"))
    camera = Image(raw.reshape(15, 128, 2, 128, 2).mean((2, 4)).numpy(), "zyx", {"y": 0.06, "x": 0.06})
    own, other = (Image(tifffile.imread(DATA / f"fov{n}_high_light_sim.tif").astype("float32"), "yx") for n in (1, 2))
    options = {"numerical_aperture": 1.49, "emission_nm": 600.0}
    wiener = fluorsr.restore(camera, "wiener-sim", frames_axis="z", options=options, dtype="float32")
    shares = [
        fluorsr.sim_support(camera, image, frames_axis="z", options=options).unsupported
        for image in (wiener, own, other)
    ]
    assert max(shares[:2]) < 0.15
    assert shares[2] > 0.8
