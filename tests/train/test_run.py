"""Whole runs: their folder, resuming to the same bits, refusals, fine-tuning on real pairs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml

import fluorsr.train.run as library
from fluorsr.errors import InputError, ModelError, NotFoundError, OutputExistsError, StorageError
from fluorsr.models.load import load
from fluorsr.models.weights import read_weights
from fluorsr.train.checkpoint import load_checkpoint, save_checkpoint
from fluorsr.train.loop import Progress
from fluorsr.train.recipe import Recipe
from fluorsr.train.run import Trained


def train(recipe: Recipe, folder: Path, **options: object) -> Trained:
    return library.train(recipe, folder, **{"workers": 0, **options})  # type: ignore[arg-type]


def same_weights(first: Path, second: Path) -> None:
    one, other = read_weights(first), read_weights(second)
    assert one.spec == other.spec
    for name, weight in one.state.items():
        assert torch.equal(weight, other.state[name]), name


def test_a_run_leaves_everything_that_tells_of_it(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny()
    end = train(recipe, tmp_path)
    assert (end.ended, end.state.step) == ("done", 6)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"recipe.yaml", "environment.json", "metrics.jsonl", "curves.png", "last.pt", "best.pt"} <= names
    assert Recipe(**yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == recipe
    assert json.loads((tmp_path / "environment.json").read_text())["packages"]["torch"] == torch.__version__
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert {"psnr", "ssim", "frc", "psnr_microtubules", "psnr_nuclei", "loss", "rate"} <= set(lines[1])
    assert [path.name for path in sorted((tmp_path / "validation").iterdir())] == [
        "step-0000003.png",
        "step-0000006.png",
    ]
    weights = read_weights(tmp_path / "tiny.safetensors")
    assert (weights.spec.scale, weights.spec.halo, weights.spec.structures) == (2, 6, ("microtubules", "nuclei"))
    assert weights.notes["validation"] == end.state.validation
    assert load(tmp_path / "tiny.safetensors").spec == weights.spec


def test_a_resumed_run_ends_with_the_same_bits(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    whole = train(tiny(), tmp_path / "whole")

    def stop_at_four(progress: Progress) -> None:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    part = train(tiny(), tmp_path / "parts", report=stop_at_four)
    assert (part.ended, part.state.step) == ("interrupted", 4)
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')  # from after the checkpoint, cut short by a crash
    kept = load_checkpoint(tmp_path / "parts" / "last.pt")
    del kept["recipe"]["optimiser"]  # as earlier versions left it
    save_checkpoint(tmp_path / "parts" / "last.pt", kept)
    end = train(tiny(), tmp_path / "parts", resume=True)
    assert (end.ended, end.state.step) == ("done", 6)
    same_weights(whole.weights, end.weights)
    assert end.state.best == whole.state.best
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]


def test_sigterm_half_way_exits_0_and_resume_gives_the_same_bits(tiny_yaml: Path, tmp_path: Path) -> None:
    """As a cluster does it: another process, its data made by a worker process, ended from outside."""
    command = [sys.executable, "-m", "fluorsr", "train", str(tiny_yaml)]
    options = ["--set=steps=24", "--set=validate_every=8", "--set=watch=null", "--workers=1", "--threads=1"]
    parts, whole = ([*command, "--out", str(tmp_path / name), *options] for name in ("parts", "whole"))
    with subprocess.Popen(parts, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()  # the first validation
        running.send_signal(signal.SIGTERM)
        rest = running.stdout.read()
    assert running.returncode == 0
    assert "step 8" in first
    assert "interrupted; --resume goes on from here" in rest
    step = load_checkpoint(tmp_path / "parts" / "last.pt")["state"]["step"]
    assert 8 <= step < 24
    for each in ([*parts, "--resume"], whole):
        subprocess.run(each, check=True, stdout=subprocess.DEVNULL)
    same_weights(*(tmp_path / name / "tiny.safetensors" for name in ("whole", "parts")))


def test_the_best_state_is_shipped(
    tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psnr = iter([30.0, 20.0])
    monkeypatch.setattr(library.Validation, "__call__", lambda self, step: {"psnr": next(psnr)})
    end = train(tiny(), tmp_path)
    assert (end.state.best, end.state.best_step) == (30.0, 3)
    best = load_checkpoint(tmp_path / "best.pt")
    assert best["state"]["step"] == 3
    shipped = read_weights(end.weights)
    assert shipped.notes["best_step"] == 3
    for name, weight in shipped.state.items():
        assert torch.equal(weight, best["objective"]["average"][name].contiguous())
    monkeypatch.setattr(library.Validation, "__call__", lambda self, step: {"psnr": 1.0 / step})
    end = train(tiny(watch=None), tmp_path / "last")
    last = load_checkpoint(tmp_path / "last" / "last.pt")["objective"]["average"]
    assert not (tmp_path / "last" / "best.pt").exists()
    for name, weight in read_weights(end.weights).state.items():
        assert torch.equal(weight, last[name].contiguous())


def test_a_run_is_not_overwritten_nor_mixed_with_another(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    train(tiny(steps=1), tmp_path)
    with pytest.raises(OutputExistsError, match="holds a training run; resume it with --resume"):
        train(tiny(), tmp_path)
    with pytest.raises(InputError, match="is of a run with other batch, seed; resume with its recipe, of which steps"):
        train(tiny(seed=9, batch=1), tmp_path, resume=True)
    with pytest.raises(NotFoundError, match=r"no checkpoint .* to resume from"):
        train(tiny(), tmp_path / "elsewhere", resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the folder"):
        train(tiny(), tmp_path / "file" / "below")


def test_a_run_that_lost_its_loss_goes_on_with_a_smaller_rate(
    tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library.combined

    def breaks(weights: dict[str, float]) -> object:
        count = iter(range(99))
        return lambda x, y: real(weights)(x, y) * (torch.nan if next(count) >= 4 else 1.0)

    monkeypatch.setattr(library, "combined", breaks)
    with pytest.raises(ModelError, match="--resume and --set"):
        train(tiny(steps=40), tmp_path)
    assert load_checkpoint(tmp_path / "last.pt")["state"]["step"] in (3, 6, 9, 12)
    monkeypatch.setattr(library, "combined", real)
    end = train(tiny(steps=16, learning_rate=1e-4), tmp_path, resume=True)
    assert (end.ended, end.state.step) == ("done", 16)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no tmpfs can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_during_a_checkpoint_keeps_the_one_before(
    tiny: Callable[..., Recipe], small_disk: Path
) -> None:
    def fill(progress: Progress) -> None:
        if progress.step == 4:
            free = shutil.disk_usage(small_disk).free
            (small_disk / "filler").write_bytes(bytes(max(0, free - 8192)))

    with pytest.raises(StorageError, match=r"the one before is whole, so free some space .* No space left on device"):
        train(tiny(log_every=99), small_disk, report=fill)
    assert load_checkpoint(small_disk / "last.pt")["state"]["step"] == 3
    assert not [path for path in small_disk.iterdir() if path.name.endswith(".partial")]
    (small_disk / "filler").unlink()
    end = train(tiny(log_every=99), small_disk, resume=True)
    assert end.state.step == 6


def test_what_does_not_fit_the_network_is_told_before_training(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    model = {"blocks": 1, "width": 4, "scale": 2, "in_channels": 3}
    with pytest.raises(
        InputError, match=r"the data have 1 frames and scale 2, so .* expected input.* to have 3 channels"
    ):
        train(tiny(model=model), tmp_path)
    with pytest.raises(InputError, match=r"init .* is another network than edsr .* set architecture and model"):
        train(tiny(init="edsr-confocal-sted-x2"), tmp_path)
    with pytest.raises(InputError, match=r"has percentiles \(0.1, 99.9\); set percentiles"):
        train(tiny(init="edsr-confocal-sted-x2", percentiles=(1.0, 99.0)), tmp_path)
    assert not (tmp_path / "last.pt").exists()


def finetuning(pairs: Path, **changes: object) -> dict[str, object]:
    values = {
        "model": {"blocks": 2, "width": 8, "scale": 1},
        "data": {"pairs": str(pairs)},
        "patch": 32,
        "batch": 4,
        "steps": 40,
        "validate_every": 20,
        "learning_rate": 3e-3,
        "jitter": 0.1,
    }
    return values | changes


def test_fine_tuning_on_ten_pairs_improves_on_fields_it_never_saw(
    tiny: Callable[..., Recipe], pairs_folder: Path, tmp_path: Path
) -> None:
    """From a model of simulated images; where it started from is what a vanishing learning rate leaves."""
    same = {"model": {"blocks": 2, "width": 8, "scale": 1}, "jitter": 0.1}
    simulated = {"size_px": 32, "scale": 1, "structures": {"microtubules": 1.0}}
    first = train(tiny(**same, data=simulated, steps=30, validate_every=30), tmp_path / "first")
    tuning = finetuning(pairs_folder, init=str(first.weights), warmup=0)
    before = train(tiny(**{**tuning, "steps": 1, "learning_rate": 1e-9}), tmp_path / "before").state.best
    second = train(tiny(**tuning), tmp_path / "second")
    assert before is not None
    assert second.state.best is not None
    assert second.state.best > before + 1.0
    assert read_weights(second.weights).notes["recipe"]["init"] == str(first.weights)
    assert read_weights(second.weights).spec.structures == ()


def test_pairs_at_fault_are_refused_all_at_once(
    tiny: Callable[..., Recipe], pairs_folder: Path, tmp_path: Path
) -> None:
    (pairs_folder / "target" / "cell3.tif").unlink()
    tifffile.imwrite(pairs_folder / "input" / "cell5.tif", np.zeros((96, 96), np.uint16))
    with pytest.raises(InputError) as error:
        train(tiny(**finetuning(pairs_folder)), tmp_path / "run")
    assert "cell3" in str(error.value)
    assert "cell5" in str(error.value)
    with pytest.raises(NotFoundError, match="does not exist"):
        train(tiny(**finetuning(tmp_path / "nowhere")), tmp_path / "run")
    with pytest.raises(InputError, match="set's scale is 2"):
        train(tiny(**finetuning(pairs_folder, model={"blocks": 1, "width": 4, "scale": 2})), tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()
