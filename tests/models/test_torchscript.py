"""Scripting, where torch takes a list for a function."""

from __future__ import annotations

import torch
from torch import nn
from torch.jit import _builtins

from fluorsr.models.torchscript import script


def test_a_list_where_a_function_was_is_no_function() -> None:
    module = nn.Conv2d(1, 1, 3, padding=1)
    _builtins._get_builtin_table()[id(module._reversed_padding_repeated_twice)] = "aten::relu"
    x = torch.rand(1, 1, 5, 6)
    assert torch.equal(script(module)(x), module(x))


def test_a_function_as_an_attribute_stays_one() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.function = torch.square

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.function(x)

    x = torch.rand(3)
    assert torch.equal(script(Squared())(x), x * x)
