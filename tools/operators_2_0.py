"""Write down the operators of LibTorch 2.0, as torch 2.0.0 itself registers them.

Run with a Python that has torch 2.0.0, from the repository's root; last made with 2.0.0+cu117:
    PYTHONPATH=. python tools/operators_2_0.py > fluorsr/export/operators_2_0.txt
The lines of fft_ and linalg_ were added since, from the schemas inside the wheel of 2.0.0.

The registry at run time holds what native_functions.yaml does and what is registered in C++ beside it. Left out are
backward, `out=`, sparse, quantised and device-specific operators, which no exported model calls.
"""

from __future__ import annotations

import re

import torch

from fluorsr.export.operators import plain

LEFT_OUT = re.compile(
    r"^\w+::\w*(_out|backward\w*)[(.]|[._]out\(|_foreach|_fused|sparse|_mps|mkl|miopen|_copy|_dist|_cudnn"
    r"|^aten::(special|_nested|_slow|_test)"
)


def main() -> None:
    """Print a schema a line, sorted."""
    schemas = {str(schema) for schema in torch._C._jit_get_all_schemas()}
    kept = {plain(s) for s in schemas if s.startswith(("aten::", "prim::")) and not LEFT_OUT.search(s)}
    print("\n".join(sorted(kept)))


if __name__ == "__main__":
    main()
