"""The operators that a TorchScript program is made of: of every method, function, class, block and submodule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


def operators(program: torch.jit.ScriptModule) -> dict[str, str]:
    """What `program` may call, as {schema: kind}: {"aten::relu(Tensor self) -> Tensor": "aten::relu"}.

    Control flow and constructors have no schema and stand there by kind. Calls are inlined first; one that cannot be,
    because it is decided at run time, stays as `prim::CallMethod` or `prim::CallFunction`.
    """
    found = {}
    for graph in _graphs(program):
        for node in nodes(graph):
            schema = node.schema()
            found[node.kind() if schema == "(no schema)" else schema] = node.kind()
    return found


def nodes(block: Any) -> Iterator[Any]:
    """Every node of a graph or block, branches, loops and subgraphs included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes(inner)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":
                yield from nodes(node.g(name))


def _graphs(program: torch.jit.ScriptModule) -> Iterator[Any]:
    for module in program.modules():
        native: Any = module._c  # the Python face does not know every method
        hooks = (*native._get_forward_hooks(), *native._get_forward_pre_hooks())
        for function in (*map(native._get_method, native._method_names()), *hooks):
            graph = function.graph.copy()
            torch._C._jit_pass_inline(graph)
            yield graph
