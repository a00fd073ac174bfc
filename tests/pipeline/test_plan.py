"""The plan of a run: blocks cover the output once, tiles fit, and what does not fit is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.pipeline.plan import Selection, make_plan, whole
from fluorsr.restorer import RestorerSpec

EDSR = RestorerSpec("edsr", scale=2, halo=20)
UNET = RestorerSpec("unet", scale=1, halo=48, multiple=16)
GLOBAL = RestorerSpec("global", scale=1, halo=32, multiple=4, exact=False)


class _Shape:
    """An image without pixels."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "uint16") -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, key: object) -> object:
        raise AssertionError("planning reads no pixels")


def image(shape: tuple[int, ...], axes: str, dtype: str = "uint16", **more: object) -> Image:
    return Image(_Shape(shape, dtype), axes, **more)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 300), st.integers(1, 300), st.data())
def test_blocks_cover_every_output_pixel_once(t: int, c: int, z: int, y: int, x: int, data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([EDSR, UNET, RestorerSpec("x4", scale=4, halo=3)]))
    y0, x0 = data.draw(st.integers(0, y - 1)), data.draw(st.integers(0, x - 1))
    every = whole(image((t, c, z, y, x), "tczyx"))
    chosen = Selection(every.t, every.c[:1], every.z, (y0, y), (x0, x))
    plan = make_plan(image((t, c, z, y, x), "tczyx"), spec, chosen, block=64)
    seen = np.zeros(plan.layout.shape, np.uint8)
    for block in (plan.block(i) for i in range(len(plan))):
        assert block.y_out % 64 == block.x_out % 64 == 0
        height, width = (block.y[1] - block.y[0]) * spec.scale, (block.x[1] - block.x[0]) * spec.scale
        seen[
            (*block.output[:3], slice(block.y_out, block.y_out + height), slice(block.x_out, block.x_out + width))
        ] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("spec", [EDSR, UNET, GLOBAL, RestorerSpec("x4", scale=4, halo=7, multiple=3)])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (300, 300), (1100, 1100), (20_000, 90_000)])
def test_the_default_tile_fits_every_image(spec: RestorerSpec, size: tuple[int, int]) -> None:
    picture = image(size, "yx")
    if spec.name == "x4":
        spec = RestorerSpec("x4", scale=4, halo=9, multiple=3)
    plan = make_plan(picture, spec, whole(picture))
    assert all(tile <= 512 + 2 * spec.halo + 64 for tile in plan.grid.tile)
    assert plan.grid.overlap[1] == (0 if spec.exact else 64)


def test_large_exact_runs_compute_no_tile_twice() -> None:
    picture = image((32_768, 32_768), "yx")
    plan = make_plan(picture, EDSR, whole(picture))
    assert plan.block_input == (1024, 1024)
    assert plan.grid.stride == (1, 512, 512)


def test_small_images_are_not_padded_to_a_large_tile() -> None:
    picture = image((520, 130), "yx")
    plan = make_plan(picture, EDSR, whole(picture))
    (ny, nx), (sy, sx) = plan.grid.count[1:], plan.grid.stride[1:]
    assert ny * sy <= 520 * 1.1
    assert nx * sx <= 130 * 1.1


def test_pixel_size_shrinks_and_centres_move_but_edges_do_not() -> None:
    picture = image(
        (8, 100, 100), "zyx", pixel_size_um={"z": 0.3, "y": 0.06, "x": 0.06}, translation_um={"y": 1.0, "z": 5.0}
    )
    chosen = Selection((0,), (0,), (2, 3), (10, 60), (0, 100))
    layout = make_plan(picture, EDSR, chosen).layout
    assert layout.pixel_size_um == {"z": 0.3, "y": 0.03, "x": 0.03}
    first_edge = 1.0 + 10 * 0.06 - 0.06 / 2
    assert layout.translation_um["y"] - 0.03 / 2 == pytest.approx(first_edge)
    assert layout.translation_um["z"] == pytest.approx(5.6)
    assert layout.shape == (2, 100, 200)


def test_raw_frames_along_an_axis_become_one_plane() -> None:
    spec = RestorerSpec("sim", frames=3, scale=2)
    picture = image((2, 3, 50, 50), "tqyx")
    plan = make_plan(picture, spec, whole(picture))
    assert (plan.layout.axes, plan.layout.shape) == ("tyx", (2, 100, 100))
    assert plan.block(1).planes == tuple(PlaneIndex(1, 0, 0, frame) for frame in range(3))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (RestorerSpec("sim15", frames=15), {}, "sim15 takes 15 frames, and the image has 1 along q"),
        (UNET, {"tile": 200}, r"tile 200 must be a multiple of 16"),
        (EDSR, {"tile": 40}, r"40"),
        (EDSR, {"block": 33}, "block 33 must be a multiple of the scale, 2; try 32"),
        (EDSR, {"batch": 0}, "batch 0 must be at least 1"),
        (EDSR, {"dtype": "int8"}, "dtype 'int8' cannot be written; choose same or one of uint8, uint16, float32"),
    ],
)
def test_what_does_not_fit_is_told(spec: RestorerSpec, options: dict[str, object], message: str) -> None:
    picture = image((4, 64, 64), "zyx")
    with pytest.raises(InputError, match=message):
        make_plan(picture, spec, whole(picture), **options)  # type: ignore[arg-type]


def test_types_that_cannot_be_written_become_float32() -> None:
    for dtype, written in (("uint8", "uint8"), ("int16", "float32"), ("float64", "float32"), ("uint16", "uint16")):
        picture = image((4, 4), "yx", dtype)
        assert make_plan(picture, EDSR, whole(picture)).layout.dtype == written
