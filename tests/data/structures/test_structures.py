"""Each structure against the numbers its parameters promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.emitters import Area
from fluorsr.data.structures.field import cells_in, emitters_in, parameters_of
from fluorsr.data.structures.nuclei import Nuclei, ellipsoids
from fluorsr.data.structures.parameters import draw, mean
from fluorsr.data.structures.registry import STRUCTURES
from fluorsr.data.structures.vesicles import Vesicles, spheres

EVERYWHERE = ((-1e6, -1e6), (1e6, 1e6))


def cell(structure: str, row: int, column: int, side: float, seed: int = 0) -> Cell:
    return Cell(seed, structure, row, column, side, EVERYWHERE)


def test_ranges_are_log_uniform_where_wide() -> None:
    rng = np.random.default_rng(0)
    for span in ((2.0, 3.0), (0.1, 10.0), (0.0, 5.0), (4.0, 4.0)):
        values = draw(rng, span, 200_000)
        assert values.min() >= span[0]
        assert values.max() <= span[1]
        assert values.mean() == pytest.approx(mean(span), rel=0.01)
    assert np.median(draw(rng, (0.1, 10.0), 200_000)) == pytest.approx(1.0, rel=0.03)
    assert np.median(draw(rng, (2.0, 3.0), 200_000)) == pytest.approx(2.5, rel=0.01)


def test_microtubule_density() -> None:
    """Length per area: sites are 10 a micrometre, all labelled, so that their number is ten times the length."""
    parameters = parameters_of(
        "microtubules", density_um_per_um2=1.3, labels_per_um=10, labelled=1, centrosomes_per_um2=0, unevenness=0
    )
    side = 160.0
    counts = [emitters_in("microtubules", seed, Area((0.0, 0.0), (side, side)), parameters).y.size for seed in (1, 2)]
    assert np.mean(counts) / 10 / side**2 == pytest.approx(1.3, rel=0.06)
    uneven = parameters_of("microtubules", **{**parameters.model_dump(), "unevenness": 0.6})
    counts = [emitters_in("microtubules", seed, Area((0.0, 0.0), (side, side)), uneven).y.size for seed in range(6)]
    assert np.mean(counts) / 10 / side**2 == pytest.approx(1.3, rel=0.2)
    assert np.std(counts) > 0


def test_microtubules_are_tubes_about_their_axis() -> None:
    """Flat and straight filaments: labels lie on two edges a diameter apart, and as far above as below."""
    parameters = parameters_of(
        "microtubules",
        persistence_um=1e7,
        depth_um=0,
        thickness_um=0,
        radius_um=0.025,
        paired=0,
        centrosomes_per_um2=0,
        labels_per_um=200,
        labelled=1,
    )
    z = emitters_in("microtubules", 3, Area((0.0, 0.0), (30.0, 30.0)), parameters).z
    assert np.abs(z).max() == pytest.approx(0.025, rel=1e-3)
    # Of points evenly around a circle, heights have the variance r^2 / 2.
    assert z.std() == pytest.approx(0.025 / math.sqrt(2), rel=0.02)


def test_a_centrosome_is_where_filaments_meet() -> None:
    parameters = parameters_of(
        "microtubules", density_um_per_um2=0, centrosomes_per_um2=0.002, astral=60, persistence_um=30, labels_per_um=50
    )
    area = Area((0.0, 0.0), (100.0, 100.0))
    points = emitters_in("microtubules", 1, area, parameters)
    counts = np.histogram2d(points.y, points.x, bins=100, range=((0, 100), (0, 100)))[0]
    assert counts.max() > 15 * counts.mean()
    # Along rays the light is even, so that its density falls as one over the distance.
    y, x = (float(at) + 0.5 for at in np.unravel_index(counts.argmax(), counts.shape))
    out = np.hypot(points.y - y, points.x - x)
    near, far = ((out > a) & (out < a + 1) for a in (1.5, 3.5))
    assert near.sum() == pytest.approx(far.sum(), rel=0.35)


def test_actin_fibres_run_with_the_region_and_mesh_does_not() -> None:
    only = {"bundles_um_per_um2": 0, "mesh_um_per_um2": 0, "alignment": 1, "fibres_um_per_um2": 1.0}
    area = Area((0.0, 0.0), (6.0, 6.0))
    directed = anisotropy(emitters_in("actin", 6, area, parameters_of("actin", **only)))
    mesh = {"bundles_um_per_um2": 0, "fibres_um_per_um2": 0, "mesh_um_per_um2": 20.0}
    any_way = anisotropy(emitters_in("actin", 6, area, parameters_of("actin", **mesh)))
    assert directed > 0.4
    assert any_way < 0.2


def anisotropy(points) -> float:  # type: ignore[no-untyped-def]
    """0 to 1: how far the gradients of the image, blurred by 100 nm, point one way."""
    image = np.histogram2d(points.y, points.x, bins=120, weights=points.light)[0]
    f = np.fft.fftfreq(120)
    blur = np.exp(-2 * (math.pi * 0.85) ** 2 * (f[:, None] ** 2 + f**2))
    gy, gx = np.gradient(np.fft.ifft2(np.fft.fft2(image) * blur).real)
    tensor = np.array([[np.sum(gy * gy), np.sum(gy * gx)], [np.sum(gy * gx), np.sum(gx * gx)]])
    low, high = np.linalg.eigvalsh(tensor)
    return float((high - low) / (high + low))


def test_vesicle_sizes_and_density() -> None:
    parameters = Vesicles(per_um2=2.0, radius_um=0.08, spread=0.3, unevenness=0.0, clustered=0.3)
    every = [spheres(cell("vesicles", row, column, 8.0), parameters) for row in range(12) for column in range(12)]
    radius = np.concatenate([ball.radius for ball in every])
    assert radius.size / (144 * 64.0) == pytest.approx(2.0, rel=0.05)
    assert np.median(radius) == pytest.approx(0.08, rel=0.02)
    assert np.log(radius).std() == pytest.approx(0.3, rel=0.03)
    assert radius.max() <= parameters.largest_um


@pytest.mark.parametrize(("filled", "mean_square"), [(0.0, 1.0), (1.0, 0.6)])
def test_vesicles_are_shells_or_balls(filled: float, mean_square: float) -> None:
    """<r^2> is R^2 on a sphere and 3/5 R^2 in a ball; each component has a third of it."""
    parameters = Vesicles(
        per_um2=0.3, radius_um=0.2, spread=0.0, filled=filled, clustered=0, thickness_um=0, unevenness=0
    )
    z = emitters_in("vesicles", 4, Area((0.0, 0.0), (60.0, 60.0)), parameters).z.astype(np.float64)
    assert np.abs(z).max() <= 0.2
    assert (z**2).mean() == pytest.approx(mean_square * 0.2**2 / 3, rel=0.02)


def test_points_are_poisson() -> None:
    parameters = parameters_of("points", per_um2=0.5, light=(3, 3))
    points = emitters_in("points", 9, Area((0.0, 0.0), (200.0, 200.0)), parameters)
    np.testing.assert_allclose(points.light, 3.0)
    counts = np.histogram2d(points.y, points.x, bins=50, range=((0, 200), (0, 200)))[0]
    assert counts.mean() == pytest.approx(8.0, rel=0.03)
    assert counts.var() == pytest.approx(8.0, rel=0.12)


def test_nuclei_never_overlap_and_have_their_sizes() -> None:
    parameters = Nuclei(per_um2=0.0015, length_um=(12, 16), aspect=(0.6, 0.9))
    found = []
    for row in range(8):
        for column in range(8):
            here = cell("nuclei", row, column, 24.0)
            bodies = ellipsoids(here, parameters)
            found.append(np.stack((bodies.y + 24 * row, bodies.x + 24 * column, bodies.half[1], bodies.half[2])))
    y, x, long, short = np.concatenate(found, axis=1)
    assert y.size / (8 * 24.0) ** 2 == pytest.approx(0.0015, rel=0.25)
    apart = np.hypot(y[:, None] - y, x[:, None] - x) + 1e9 * np.eye(y.size)
    assert (apart > 1.04 * (long[:, None] + long)).all()
    assert 6 <= long.min() < long.max() <= 8
    assert 0.6 <= (short / long).min() < (short / long).max() <= 0.9


def test_nucleoli_are_dark_and_the_lamina_is_a_shell() -> None:
    plain = {"spacing_um": 0.15, "length_um": 14, "aspect": 0.8, "height_um": 5, "per_um2": 0.003}
    area = Area((0.0, 0.0), (30.0, 30.0))
    dark, bright = (
        emitters_in("nuclei", 2, area, parameters_of("nuclei", **plain, contrast=0, rim=0, envelope=0, nucleoli=n))
        for n in (5, 0)
    )
    assert dark.light.min() < 0.4 * bright.light.min()
    assert dark.light.max() == pytest.approx(bright.light.max(), rel=1e-3)
    # Without texture the light of a nucleus is its volume times its density; all of it lies within the ellipsoids.
    parameters = STRUCTURES["nuclei"].parameters.model_copy(update={"spacing_um": 0.15})
    assert isinstance(parameters, Nuclei)
    shell = emitters_in("lamina", 2, area, parameters_of("lamina", **plain))
    bodies = [(c, ellipsoids(c, parameters_of("lamina", **plain))) for c in cells_in("lamina", 2, area, parameters)]  # type: ignore[arg-type]
    worst = np.full(shell.y.size, np.inf)
    for where, body in bodies:
        for i in range(body.y.size):
            dy, dx = shell.y - (body.y[i] - where.window[0][0]), shell.x - (body.x[i] - where.window[0][1])
            cos, sin = math.cos(body.turn[i]), math.sin(body.turn[i])
            a, b = (dy * sin + dx * cos) / body.half[1][i], (dy * cos - dx * sin) / body.half[2][i]
            radius = np.sqrt(((shell.z - body.z[i]) / body.half[0][i]) ** 2 + a**2 + b**2)
            worst = np.minimum(worst, np.abs(radius - 1))
    assert worst.max() < 0.12


def test_mitochondria_are_as_wide_as_told() -> None:
    parameters = parameters_of(
        "mitochondria", radius_um=0.2, beading=0, branches_per_um=0, membrane=1, persistence_um=1e7, thickness_um=0
    )
    z = emitters_in("mitochondria", 5, Area((0.0, 0.0), (60.0, 60.0)), parameters).z
    assert np.abs(z).max() < 0.23
    # On a tube's surface, heights have the variance r^2 / 2 (a little less because of the round ends).
    assert 0.19 < math.sqrt(2) * z.std() < 0.202


def test_cristae_have_their_period() -> None:
    """Along a straight mitochondrion the labels of the cristae bunch at their distance."""
    parameters = parameters_of(
        "cristae",
        radius_um=0.15,
        beading=0,
        branches_per_um=0,
        persistence_um=1e7,
        thickness_um=0,
        cristae=1,
        crista_um=0.1,
        density_um_per_um2=0.02,
        length_um=8,
        unevenness=0,
    )
    points = emitters_in("cristae", 3, Area((0.0, 0.0), (24.0, 24.0)), parameters)
    assert points.y.size > 1000
    # Take the neighbourhood of one point, turn it along its longest axis, and look at the spectrum along it.
    middle = points.y.size // 2
    near = np.hypot(points.y - points.y[middle], points.x - points.x[middle]) < 2.0
    flat = np.stack((points.y[near], points.x[near])).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    assert values[1] > 20 * values[0]
    along = vectors[:, 1] @ flat
    frequency = np.linspace(4, 30, 300)
    power = np.abs(np.exp(2j * math.pi * frequency[:, None] * along).mean(axis=1))
    assert frequency[power.argmax()] == pytest.approx(10.0, rel=0.1)
