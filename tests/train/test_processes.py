"""Several processes train as one with a batch as large as all of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fluorsr.models.weights import read_weights
from fluorsr.train.log import read_metrics
from fluorsr.train.recipe import Recipe
from fluorsr.train.run import train


def launch(recipe: Recipe, folder: Path, processes: int) -> str:
    """Run a recipe under `accelerate launch` on CPUs. Its --multi_gpu is its word for several processes a machine."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    rest = ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    command = ["-m", "fluorsr", "train", str(path), "--out", str(folder), "--workers=0", "--threads=1"]
    done = subprocess.run(
        [*launcher, *rest, *command],
        env={**os.environ, "ACCELERATE_USE_CPU": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(
    tiny: Callable[..., Recipe], pairs_folder: Path, tmp_path: Path
) -> None:
    """On pairs the batches are the very same, so only rounding differs."""
    changes = {
        "model": {"blocks": 1, "width": 4, "scale": 1},
        "data": {"pairs": str(pairs_folder)},
        "steps": 30,
        "validate_every": 30,
        "log_every": 10,
        "learning_rate": 3e-3,
    }
    told = launch(tiny(**changes, batch=4), tmp_path / "two", 2)
    assert told.count("done: 30 steps") == 1
    one = train(tiny(**changes, batch=8), tmp_path / "one", workers=0)
    losses = [[line["loss"] for line in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("two", "one")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    both = read_weights(tmp_path / "two" / "tiny.safetensors").state
    for key, weight in read_weights(one.weights).state.items():
        torch.testing.assert_close(both[key], weight, rtol=1e-2, atol=1e-4)
