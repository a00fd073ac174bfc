"""Two lines 200 nm apart through the whole simulator: one line to a spot of 280 nm, two to one of 110 nm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fluorsr.data.scene import Scene
from fluorsr.data.simulate import configure
from fluorsr.data.structures.emitters import Area
from fluorsr.data.structures.field import cells_in, parameters_of
from fluorsr.data.structures.targets import line_pair_segments
from fluorsr.data.structures.truth import pair_profile

SPACING_UM = 0.2


def scene() -> Scene:
    """A field of line pairs, seen with a spot of 280 nm: NA 1.1, 640 nm, a pinhole of 1.8 Airy units."""
    config = configure(
        "confocal-280",
        fixed=True,
        size_px=320,
        photons=1e5,
        numerical_aperture=1.1,
        emission_nm=640.0,
        stokes_nm=40.0,
        pinhole_airy_units=1.8,
        target_fwhm_um=0.11,
        pixel_size_um=0.06,
        depth_um=0.0,
        index_sample=1.515,
        **dict.fromkeys(("haze", "background", "jitter_px", "bidirectional_px", "focus_um"), 0.0),
    )
    return Scene(config, 2, 0, "line_pairs")


def dip(image: NDArray[np.float64], pixel_um: float, line: tuple[float, float, float, float]) -> float:
    """1 - middle / peaks of the mean profile across a pair whose middle line runs from (y0, x0) to (y1, x1), in um."""
    y0, x0, y1, x1 = line
    length = float(np.hypot(y1 - y0, x1 - x0))
    uy, ux = (y1 - y0) / length, (x1 - x0) / length
    along, across = np.meshgrid(np.linspace(0.5, length - 0.5, 60), np.arange(-0.3, 0.3001, 0.01), indexing="ij")
    y, x = y0 + along * uy - across * ux, x0 + along * ux + across * uy
    size = torch.tensor(image.shape, dtype=torch.float64) * pixel_um
    grid = torch.stack((torch.from_numpy(2 * x) / size[1] - 1, torch.from_numpy(2 * y) / size[0] - 1), -1)
    drawn = torch.nn.functional.grid_sample(
        torch.from_numpy(np.asarray(image, dtype=np.float64))[None, None],
        grid[None],
        mode="bicubic",
        align_corners=False,
    )
    profile = drawn[0, 0].mean(0).numpy()
    middle = profile[25:36].min()
    return 1 - float(middle / min(profile[:30].max(), profile[30:].max()))


def pairs(seen: Scene) -> list[tuple[float, float, float, float]]:
    """The middles of all pairs of SPACING_UM that lie well within the field."""
    parameters = parameters_of("line_pairs")
    y, x = seen.drawn["y_um"], seen.drawn["x_um"]
    side = 320 * 0.06
    area = Area((y, x), (y + side, x + side))
    number = parameters.spacings_um.index(SPACING_UM)
    found = []
    for cell in cells_in("line_pairs", seen._specimen_seed, area, parameters):
        s = line_pair_segments(cell, parameters)
        line = [float(ends[2 * number : 2 * number + 2].mean()) for ends in s]
        corner = cell.window[0]
        line = [line[0] - corner[0], line[1] - corner[1], line[2] - corner[0], line[3] - corner[1]]
        if min(line) > 0.5 and max(line) < side - 0.5:
            found.append(tuple(line))
    return found


def test_200_nm_are_resolved_in_the_target_alone() -> None:
    seen = scene()
    assert seen.fwhm_um == pytest.approx(0.28, abs=0.005)
    degraded, target = seen.read(0, 320, 0, 320)
    lines = pairs(seen)
    assert lines
    for line in lines:
        assert dip(degraded[0] - seen.drawn["offset"], 0.06, line) < 0.05
        assert dip(target - seen.drawn["offset"], 0.03, line) > 0.26


def test_the_ruler_itself_on_a_closed_form() -> None:
    """A pair along y in the middle of an image, blurred by a Gaussian: Sparrow's law, and a dip of two thirds."""
    across = (np.arange(128) + 0.5) * 0.03 - 1.92
    for fwhm, resolved in ((0.28, False), (0.11, True)):
        image = np.tile(pair_profile(across, SPACING_UM, fwhm), (128, 1))
        found = dip(image, 0.03, (0.0, 1.92, 3.84, 1.92))
        line = pair_profile(np.array([0.0, SPACING_UM / 2]), SPACING_UM, fwhm)
        assert found == pytest.approx(max(0.0, 1 - line[0] / line[1]) if resolved else 0.0, abs=0.03)
