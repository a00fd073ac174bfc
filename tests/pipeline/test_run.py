"""Whole runs: the same bytes however they are computed, interrupted, resumed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import fluorsr
from fluorsr.errors import FormatError, InputError, NotFoundError, OutputExistsError
from fluorsr.image import Channel, Image, PlaneIndex
from fluorsr.io.open import create_image, open_image
from fluorsr.io.writer import Layout
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.run import infer
from fluorsr.pipeline.summary import Progress


def contents(store: Path) -> dict[str, str]:
    """Every file below a store, and the hash of its bytes."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare zarr array c 2, z 3, y 150, x 170 of uint16."""
    path = tmp_path_factory.mktemp("input") / "cells.zarr"
    pixels = np.random.default_rng(0).poisson(200, (2, 3, 150, 170)).astype(np.uint16)
    zarr.create_array(path, data=pixels, chunks=(1, 1, 64, 64), dimension_names=("c", "z", "y", "x"))
    return path


def test_threads_and_workers_change_no_byte(cells: Path, small_model: Path, tmp_path: Path) -> None:
    one = infer(cells, tmp_path / "one.zarr", model=small_model, block=128, threads=1)
    infer(cells, tmp_path / "four.zarr", model=small_model, block=128, threads=4)
    infer(cells, tmp_path / "two.zarr", model=small_model, block=128, workers=2)
    assert one.blocks == 6 * 3 * 3
    reference = contents(tmp_path / "one.zarr")
    assert contents(tmp_path / "four.zarr") == reference
    assert contents(tmp_path / "two.zarr") == reference


def test_a_run_leaves_torchs_threads_as_they_were(cells: Path, small_model: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers in (1, 2):
            infer(cells, tmp_path / f"{workers}.zarr", model=small_model, z="0", workers=workers)
            assert torch.get_num_threads() == 2
            assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tile")]
    finally:
        torch.set_num_threads(before)


def test_blocks_and_memory_change_no_pixel(cells: Path, small_model: Path, tmp_path: Path) -> None:
    reference = fluorsr.restore(open_image(cells), small_model, tile=68).to_numpy()
    for block in (64, 192, 2048):
        infer(cells, tmp_path / f"{block}.zarr", model=small_model, block=block, tile=68)
        np.testing.assert_array_equal(open_image(tmp_path / f"{block}.zarr").to_numpy(), reference)


def test_a_selection_equals_that_part_of_the_whole(cells: Path, small_model: Path, tmp_path: Path) -> None:
    whole = fluorsr.restore(open_image(cells), small_model, tile=68).to_numpy()
    infer(cells, tmp_path / "part.zarr", model=small_model, tile=68, channels="1", z="1:3", region="31:100,7:170")
    part = open_image(tmp_path / "part.zarr")
    assert part.axes == "czyx"
    np.testing.assert_array_equal(part.to_numpy(), whole[1:2, 1:3, 62:200, 14:])


def test_killed_and_resumed_equals_undisturbed(cells: Path, slow_model: Path, tmp_path: Path) -> None:
    undisturbed = infer(cells, tmp_path / "whole.zarr", model=slow_model, block=64, threads=1)
    output = tmp_path / "killed.zarr"
    program = (
        "import fluorsr.pipeline.journal as journal; journal.FLUSH_S = 0;"  # a short run: record each block at once
    )
    program += "from fluorsr.pipeline.run import infer; import sys; infer(*sys.argv[1:3], model=sys.argv[3], block=64)"
    run = subprocess.Popen([sys.executable, "-c", program, str(cells), str(output), str(slow_model)])
    done = 0
    while done < 10:
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
        done = int(Journal.open(output).done.sum()) if (output / "fluorsr" / "zarr.json").exists() else 0
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    done = int(Journal.open(output).done.sum())
    assert done < undisturbed.blocks
    with pytest.raises(OutputExistsError, match="--resume to continue"):
        infer(cells, output, model=slow_model, block=64)
    steps: list[Progress] = []
    summary = infer(cells, output, model=slow_model, block=64, resume=True, progress=steps.append)
    assert summary.blocks_resumed == done  # not one finished block is done again
    assert summary.input_pixels < undisturbed.input_pixels
    assert contents(output) == contents(tmp_path / "whole.zarr")
    assert fluorsr.verify(output).complete


def test_resuming_what_is_complete_does_nothing_and_without_output_starts(
    cells: Path, small_model: Path, tmp_path: Path
) -> None:
    first = infer(cells, tmp_path / "out.zarr", model=small_model, resume=True)
    before = contents(tmp_path / "out.zarr")
    again = infer(cells, tmp_path / "out.zarr", model=small_model, resume=True)
    assert (first.blocks_resumed, again.blocks_resumed) == (0, again.blocks)
    assert again.input_pixels == 0
    assert contents(tmp_path / "out.zarr") == before


def test_resuming_with_other_parameters_is_refused(cells: Path, small_model: Path, tmp_path: Path) -> None:
    infer(cells, tmp_path / "out.zarr", model=small_model, tile=68)
    before = contents(tmp_path / "out.zarr")
    with pytest.raises(InputError, match=r"tile: was \[68, 68\], now \[132, 132\]"):
        infer(cells, tmp_path / "out.zarr", model=small_model, tile=132, resume=True)
    assert contents(tmp_path / "out.zarr") == before


def test_overwriting_replaces_only_when_asked_and_leaves_nothing_beside(
    cells: Path, small_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    infer(cells, out, model=small_model, z="0")
    infer(cells, out, model=small_model, overwrite=True)
    assert open_image(out).size("z") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(OutputExistsError, match="does not delete it"):
        infer(cells, tmp_path / "photos", model=small_model, overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_corrupt_chunk_stops_the_run_and_is_named(cells: Path, small_model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zarr"
    subprocess.run(["cp", "-r", str(cells), str(damaged)], check=True)
    (damaged / "c" / "1" / "2" / "0" / "1").write_bytes(b"not a chunk")
    with pytest.raises(FormatError, match=r"chunk \(1, 2, 0, 1\)"):
        infer(damaged, tmp_path / "out.zarr", model=small_model)
    summary = infer(damaged, tmp_path / "rest.zarr", model=small_model, channels="0")
    assert summary.blocks == 3


def test_nan_is_counted_and_reported(small_model: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((70, 70), np.float32)
    pixels[5, 5:8] = [np.nan, np.inf, -np.inf]
    zarr.create_array(tmp_path / "in.zarr", data=pixels)
    summary = infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model)
    assert summary.nonfinite_input == 3
    assert any("3 NaN or infinite input pixels" in note for note in summary.notes)
    assert np.isfinite(open_image(tmp_path / "out.zarr").to_numpy()).all()


def test_metadata_is_kept(small_model: Path, tmp_path: Path) -> None:
    layout = Layout(
        "cyx",
        (2, 40, 40),
        "uint16",
        {"y": 0.06, "x": 0.06},
        channels=(Channel("tubulin", "00FF00"), Channel("DNA", "0000FF")),
        name="cell 7",
    )
    writer = create_image(tmp_path / "in.zarr", layout, provenance={})
    for c in range(2):
        writer.write(PlaneIndex(c=c), 0, 0, np.full((40, 40), 100 + c, np.uint16))
    writer.finish()
    infer(tmp_path / "in.zarr", tmp_path / "out.zarr", model=small_model)
    restored = open_image(tmp_path / "out.zarr")
    assert restored.channels == layout.channels
    assert restored.name == "cell 7"
    assert restored.pixel_size_um == {"y": 0.03, "x": 0.03}
    assert restored.translation_um["y"] == pytest.approx(-0.015)
    attributes = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["fluorsr"]
    assert attributes["model"] == "small"
    assert len(attributes["model_sha256"]) == 64


def test_output_and_input_stay_apart(cells: Path, small_model: Path) -> None:
    for output, message in (
        (cells, "are the same"),
        (cells / "restored", "lies inside the input"),
        (cells.parent, "lies inside the output"),
    ):
        with pytest.raises(InputError, match=message):
            infer(cells, output, model=small_model, overwrite=True)


def test_verify_finds_what_changed_and_what_is_missing(cells: Path, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    infer(cells, out, model=small_model, block=128)
    assert fluorsr.verify(out).complete
    shard = out / "0" / "c" / "1" / "2" / "0" / "1"
    original = shard.read_bytes()
    flipped = bytearray(original)
    flipped[100] ^= 1
    shard.write_bytes(flipped)
    damaged = fluorsr.verify(out)
    assert len([fault for fault in damaged.faults if "block" in fault]) == 1
    assert "c 1, z 2, y 0:128, x 128:256" in damaged.faults[0]
    shard.unlink()
    missing = fluorsr.verify(out)
    assert "has changed" in missing.faults[0]  # a missing shard reads as zeros: only the record tells
    shard.write_bytes(original)
    assert fluorsr.verify(out).complete
    with pytest.raises(NotFoundError, match="does not exist"):
        fluorsr.verify(tmp_path / "nothing.zarr")


def test_restore_takes_arrays_of_every_rank_and_no_other(small_model: Path) -> None:
    for shape in ((9, 11), (2, 9, 11), (2, 1, 9, 11), (1, 2, 1, 9, 11)):
        restored = fluorsr.restore(np.ones(shape, np.uint8), small_model)
        assert restored.shape == (*shape[:-2], 18, 22)
    with pytest.raises(InputError, match="1 axes has no default meaning"):
        fluorsr.restore(np.ones(5), small_model)
    transposed = Image(np.arange(99, dtype=np.uint16).reshape(9, 11), "xy")
    assert fluorsr.restore(transposed, small_model).shape == (22, 18)


class Mean(torch.nn.Module):
    """Three frames -> their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 1, 1, bias=False)
        torch.nn.init.constant_(self.mix.weight, 1 / 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(x)
        return mixed


def test_raw_frames_along_an_axis_make_one_image(
    tmp_path: Path, save_script: Callable[[torch.nn.Module, Path], Path]
) -> None:
    frames = np.random.default_rng(0).integers(0, 1000, (2, 3, 60, 50)).astype(np.uint16)
    zarr.create_array(tmp_path / "raw.zarr", data=frames, dimension_names=("t", "z", "y", "x"))
    model = save_script(Mean(), tmp_path / "mean.pt")
    infer(tmp_path / "raw.zarr", tmp_path / "out.zarr", model=model, frames_axis="z", dtype="float32", precision="fp32")
    restored = open_image(tmp_path / "out.zarr")
    assert restored.axes == "tyx"
    np.testing.assert_allclose(restored.to_numpy(), frames.mean(axis=1), rtol=1e-5)
