"""The shipped SIM networks: on real frames that no simulator made, and on thick specimens whose truth is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

import fluorsr
from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_autocorrelation import measure_stripes
from fluorsr.classical.sim_parameters import NoStripesError
from fluorsr.classical.sim_support import sim_support
from fluorsr.data.scene import KEPT_FRAMES
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.image import Image
from fluorsr.metrics.fit import fit_intensity
from fluorsr.metrics.psnr import psnr
from fluorsr.metrics.ssim import ssim
from fluorsr.models.load import load
from fluorsr.models.sim_network import SimNetwork
from fluorsr.models.zoo_index import describe, find

DATA = Path(os.environ.get("FLUORSR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sim_microtubules"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real SIM frames are not in {DATA}; set FLUORSR_DATA")
NAMES = {15: "unet-sim15-x2", 9: "unet-sim9-x2", 3: "unet-sim3-x2"}
SEED = 2**32 + 7
THICK = {"thickness": 3.0, "density": 2.5, "haze": 0.5, "structures": {"microtubules": 1}, "size_px": 128}


def read(name: str) -> np.ndarray:
    return tifffile.imread(DATA / name).astype(np.float32)


def camera(name: str) -> np.ndarray:
    frames = read(name)
    return frames.reshape(len(frames), 128, 2, 128, 2).mean((2, 4))


def network(frames: int) -> SimNetwork:
    inside = load(NAMES[frames], precision="fp32", pixel_size_um=0.06).network
    assert isinstance(inside, SimNetwork)
    return inside


def restored(frames: int, raw: np.ndarray, waves: Tensor | None = None) -> Tensor:
    """What the network of so many frames makes of 15, which are checked before; `waves` where it is calibrated."""
    model = network(frames)
    some = f"{','.join(map(str, KEPT_FRAMES[frames]))} of 15"
    image = Image(raw, "qyx", {"y": 0.06, "x": 0.06})
    model = model if waves is None else model.calibrated(waves)
    made = fluorsr.restore(image, model, frames_axis="q", frames=some, dtype="float32")
    return torch.from_numpy(made.to_numpy())


def judged(image: Tensor, target: Tensor, edge: int = 8) -> tuple[float, float]:
    inner = (slice(edge, -edge), slice(edge, -edge))
    truth = target[inner].double()
    fitted, span = fit_intensity(image[inner].double(), truth), float(truth.max() - truth.min())
    return float(psnr(fitted, truth, data_range=span)), float(ssim(fitted, truth, data_range=span))


@pytest.mark.parametrize("frames", NAMES)
def test_recipe_figures_and_card_travel_with_it(frames: int) -> None:
    card = describe(NAMES[frames])
    assert card.notes["recipe"]["name"] == NAMES[frames]
    assert card.notes["recipe"]["seed"] < 2**31 < SEED
    assert set(card.notes["heldout"]) >= {"thin, 1000 photons", "thick, 10 photons"}
    assert (card.spec.frames, card.spec.scale, card.spec.exact) == (frames, 2, True)
    text = find(NAMES[frames]).with_suffix(".md").read_text(encoding="utf-8")
    for word in ("What for, and what not", "Known failures", "fluorsr train", "docs/sim.md"):
        assert word in text


@needs_data
@pytest.mark.parametrize(
    ("frames", "name", "db", "similar"),
    [
        (15, "fov1_high_light", 25.9, 0.80),
        (15, "fov2_high_light", 21.9, 0.67),
        (15, "fov3_high_light", 26.0, 0.80),
        (15, "fov1_low_light", 22.4, 0.68),
        (9, "fov1_high_light", 24.8, 0.77),
        (3, "fov1_high_light", 23.7, 0.74),
        (3, "fov3_high_light", 23.5, 0.73),
    ],
)
def test_on_real_frames_it_stays_as_good_as_it_was(frames: int, name: str, db: float, similar: float) -> None:
    raw = camera(f"{name}_raw.tif")
    found = judged(restored(frames, raw), reference(name))
    assert found[0] > db
    assert found[1] > similar
    wide = torch.nn.functional.interpolate(torch.from_numpy(raw.mean(0))[None, None], scale_factor=2, mode="bicubic")
    assert found[0] > judged(wide[0, 0], reference(name))[0] + 2.9


def reference(name: str) -> Tensor:
    """The bright reconstruction, 0 to 1: for dark frames too."""
    pixels = torch.from_numpy(read(name.replace("low", "high") + "_sim.tif"))
    return pixels / pixels.max()


@needs_data
@pytest.mark.parametrize(("field", "most"), [("fov1", 0.09), ("fov2", 0.13)])
def test_on_real_haze_it_invents_no_mesh(field: str, most: float) -> None:
    """Of the crude trial's image of field 1 14 % had no support in the frames, of field 2 22 %."""
    raw = camera(f"{field}_high_light_raw.tif")
    assert unsupported(restored(15, raw), raw, make_optics(1.49, 600.0, 0.06)) < most


def unsupported(image: Tensor, frames: np.ndarray, optics) -> float:
    split = torch.from_numpy(frames.astype(np.float64)).reshape(3, 5, *frames.shape[-2:])
    return sim_support(image, split, measure_stripes(split, optics), optics).unsupported


@pytest.fixture(scope="module", params=[0, 1])
def thick(request) -> Field:
    config = configure("sim-3x5", fixed=True, **THICK, photons=1000.0, pixel_size_um=0.06)
    return simulate_pair(config, SEED, request.param)


@pytest.mark.parametrize(("frames", "most"), [(15, 0.10), (9, 0.14), (3, 0.20)])
def test_out_of_focus_light_of_a_thick_specimen_does_not_become_structure(thick, frames: int, most: float) -> None:
    optics = make_optics(thick.drawn["numerical_aperture"], thick.drawn["emission_nm"], 0.06, thick.drawn["damping"])
    # One frame a direction does not show its stripes under so much haze: the microscope is calibrated.
    image = restored(frames, thick.degraded, thick.stripes.wave_per_um[::5])
    assert unsupported(image, thick.degraded, optics) < most
    # Against the truth: where nothing is in focus, nothing is drawn.
    truth = torch.from_numpy(thick.target) - thick.drawn["offset"]
    fitted = fit_intensity(image.double(), truth.double())
    empty = torch.nn.functional.max_pool2d((truth > 0.05 * truth.max()).float()[None], 9, 1, 4)[0] == 0
    assert int(empty.sum()) > 500
    assert float(fitted[empty].std()) < 0.03 * float(truth.max())
    wide = torch.from_numpy(thick.degraded.mean(0)).float()[None, None]
    wide = torch.nn.functional.interpolate(wide, scale_factor=2, mode="bicubic")[0, 0]
    assert judged(image, truth, 16)[0] > judged(wide, truth, 16)[0] + 1.5


def test_frames_that_are_empty_are_refused_and_not_filled() -> None:
    noise = np.random.default_rng(1).poisson(100, (15, 96, 96)).astype(np.uint16)
    with pytest.raises(NoStripesError, match="stripes"):
        restored(15, noise)
