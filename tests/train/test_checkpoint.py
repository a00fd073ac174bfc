"""Checkpoints are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fluorsr.errors import FormatError, NotFoundError, StorageError
from fluorsr.train.checkpoint import load_checkpoint, save_checkpoint


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(StorageError, match=r"cannot write .*; or choose another --out"):
        save_checkpoint(tmp_path / "none" / "last.pt", {})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError, match="is not a readable checkpoint"):
        load_checkpoint(path)
    with pytest.raises(NotFoundError, match="train without --resume"):
        load_checkpoint(tmp_path / "best.pt")
