"""Does LibTorch 2.0 know every operator of a program? Checked against its registry, written down as types.

`operators_2_0.txt` holds a line an overload, made by tools/operators_2_0.py with torch 2.0.0:
    aten::leaky_relu(Tensor self, Scalar negative_slope) -> Tensor
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch

from fluorsr.models.operators import operators

LANGUAGE = frozenset(
    f"prim::{word}"
    for word in (
        *("Constant", "If", "Loop", "Return", "RaiseException", "Uninitialized", "unchecked_cast"),
        *("GetAttr", "SetAttr", "CreateObject", "CallMethod", "CallFunction"),
        *("TupleConstruct", "TupleUnpack", "TupleIndex", "ListConstruct", "ListUnpack", "DictConstruct"),
    )
)
"""Control flow and constructors of TorchScript itself, which LibTorch has had since 1.x."""


def newer_than_2_0(program: torch.jit.ScriptModule) -> list[str]:
    """The schemas that `program` calls and LibTorch 2.0 does not have; empty where it loads there."""
    return sorted(
        schema for schema, kind in operators(program).items() if kind not in LANGUAGE and plain(schema) not in _known()
    )


def plain(schema: str) -> str:
    """A schema as names and types: without defaults, fixed lengths, aliasing marks and symbolic integers.

    These differ between versions that understand the same call.
    """
    schema = re.sub(r"\([a-z]!?(?: -> \*)?\)", "", schema.replace("SymInt", "int"))
    schema = re.sub(r'=(\[[^\]]*\]|"[^"]*"|[^,)]*)', "", schema)
    return re.sub(r"\[\d+\]", "[]", schema)


@cache
def _known() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("operators_2_0.txt").read_text("utf-8").splitlines())
