"""Small models of every architecture, as weights files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fluorsr.models.architectures import build
from fluorsr.models.reach import measure_module
from fluorsr.models.weights import save_weights
from fluorsr.restorer import RestorerSpec

SMALL = {
    "edsr": {"blocks": 2, "width": 8},
    "srgan": {"blocks": 1, "width": 8},
    "sr3": {"width": 8, "multipliers": (1, 2), "predicts": "v", "steps": 2},
    "unet_sim": {"frames": 3, "widths": (4, 8)},
}
"""Configurations that compute in milliseconds; another architecture is tested at its defaults."""


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Architecture -> a weights file of it, with random weights and its measured spec."""
    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            torch.manual_seed(1)
            config = SMALL.get(architecture, {})
            module = build(architecture, config).eval()
            for weight in module.parameters():
                if not weight.any():  # a fresh diffusion model ends in zeros: whatever the steps, all samples are alike
                    torch.nn.init.normal_(weight.requires_grad_(False), std=0.1)
            spec = RestorerSpec(architecture, **vars(measure_module(module)))
            path = tmp_path_factory.mktemp("weights") / f"{architecture}.safetensors"
            save_weights(path, module, architecture=architecture, config=config, spec=spec, notes={})
            made[architecture] = path
        return made[architecture]

    return make
