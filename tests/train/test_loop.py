"""The loop: it learns, stops, resumes to the same bits, survives signals and NaN, and keeps its files whole."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fluorsr.errors import FormatError, InputError, ModelError, NotFoundError, OutputExistsError, StorageError
from fluorsr.models.weights import read_weights
from fluorsr.train.checkpoint import load_checkpoint, save_checkpoint
from fluorsr.train.loop import PATIENCE, Budget, Progress, fit
from fluorsr.train.recipe import Recipe
from fluorsr.train.run import prepare, train


def tiny(**changes: object) -> Recipe:
    values = {
        "name": "tiny",
        "architecture": "edsr",
        "model": {"blocks": 1, "width": 4, "scale": 2},
        "data": {"size_px": 32, "photons": [200, 200]},
        "steps": 6,
        "batch": 2,
        "patch": 16,
        "pool": 2,
        "warmup": 2,
        "validate_every": 3,
    }
    return Recipe(**{**values, **changes})


def batch(step: int) -> tuple[Tensor, Tensor]:
    """The same bright square for ever: a task that any network learns."""
    image = torch.zeros(1, 1, 16, 16)
    image[..., 4:12, 4:12] = 1.0
    return image, image.repeat_interleave(2, -1).repeat_interleave(2, -2)


def no_validation(objective: object) -> dict[str, float]:
    return {}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(tmp_path: Path, precision: str) -> None:
    recipe = tiny(precision=precision, learning_rate=5e-3)
    losses: list[float] = []
    objective = prepare(recipe)
    fit(
        objective,
        batch,
        no_validation,
        Budget(120, None, 5),
        tmp_path,
        recipe={},
        report=lambda progress: losses.append(progress.loss),
    )
    assert len(losses) == 120
    assert losses[-1] < 0.3 * losses[0]
    inputs, target = batch(0)
    assert (objective.restore(inputs) - target).abs().mean() < losses[0]


def test_the_rate_warms_up_and_falls_with_what_is_spent() -> None:
    budget = Budget(steps=100, minutes=2.0, warmup=9)
    assert budget.rate(0, 0.0) == pytest.approx(0.1)
    assert budget.rate(9, 0.0) == pytest.approx(1.0)
    assert budget.rate(50, 0.5) == pytest.approx(0.505)
    assert budget.rate(99, 1.0) == pytest.approx(0.01)
    assert budget.spent(50, 12.0) == 0.5
    assert budget.spent(1, 120.0) == 1.0


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, _ = train(tiny(), tmp_path / "whole")

    def stop_at_four(progress: Progress) -> None:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    _, end = train(tiny(), tmp_path / "parts", report=stop_at_four)
    assert end.step == 4
    parts, end = train(tiny(), tmp_path / "parts", resume=True)
    assert (end.step, end.spent) == (6, 1.0)
    first, second = read_weights(whole), read_weights(parts)
    assert first.spec == second.spec
    assert first.spec.scale == 2
    for name, weight in first.state.items():
        assert torch.equal(weight, second.state[name])
    lines = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert {"loss", "psnr_microtubules", "psnr_vesicles", "psnr_nuclei"} <= set(lines[0])


def test_a_run_is_not_overwritten_nor_mixed_with_another(tmp_path: Path) -> None:
    train(tiny(steps=1), tmp_path)
    with pytest.raises(OutputExistsError, match="holds a training run; resume it with --resume"):
        train(tiny(), tmp_path)
    with pytest.raises(InputError, match="is of a run with other batch, seed; resume with its recipe"):
        train(tiny(seed=9, batch=1), tmp_path, resume=True)
    with pytest.raises(NotFoundError, match=r"no checkpoint .* to resume from"):
        train(tiny(), tmp_path / "elsewhere", resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the folder"):
        train(tiny(), tmp_path / "file" / "below")


def test_a_batch_of_nan_changes_nothing_and_many_stop_the_run(tmp_path: Path) -> None:
    objective = prepare(tiny())
    before = [weight.clone() for weight in objective.shipped().parameters()]
    inputs, target = batch(0)
    figures = objective.step(inputs, target * torch.nan, 1.0)
    assert figures["loss"] != figures["loss"]
    for old, new in zip(before, objective.shipped().parameters(), strict=True):
        assert torch.equal(old, new)
    with pytest.raises(ModelError, match=f"not finite for {PATIENCE} steps up to step {PATIENCE}; lower the learning"):
        fit(
            objective,
            lambda step: (inputs, target * torch.nan),
            no_validation,
            Budget(100, None, 0),
            tmp_path,
            recipe={},
        )


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(StorageError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "none" / "checkpoint.pt", {})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError, match="is not a readable checkpoint"):
        load_checkpoint(path)
