"""Every shipped model in every runtime: how far each is from Python, as a table for docs/measured.md.

    bash tools/host.sh && python tools/parity.py [MODEL ...] [--count 20] [--steps 2]

Each model is exported and restores 20 images of random sizes from 1 to 150 pixels, odd ones and single rows among
them, in uint8, uint16 and float32; raw SIM frames show stripes, which programs measure. A cell is the largest
difference from the eager network in float32, as a share of the range; more than 1e-5 anywhere, and the exit code is 1.
A model takes seconds to minutes; a diffusion model half an hour, as each of its samples is ten evaluations with a halo
of 140 pixels in five runtimes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from fluorsr.export.runtimes import compare_runtimes
from fluorsr.export.torchscript import PARITY
from fluorsr.models.zoo_index import zoo

LIBRARY = Path(__file__).parents[1] / "build/host/libfluorsr_host.so"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="shipped names or weights files; all shipped ones by default")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--steps", type=int, help="evaluations of a diffusion model; its own number by default")
    arguments = parser.parse_args()
    host = LIBRARY if LIBRARY.is_file() else None
    if host is None:
        print("the C++ host is not built (bash tools/host.sh), so its column is missing", file=sys.stderr)
    header, worst = False, 0.0
    for model in arguments.models or zoo():
        print(f"{model} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            found = compare_runtimes(model, Path(folder), host=host, count=arguments.count, steps=arguments.steps)
        if not header:
            print("| model | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found), flush=True)
            header = True
        largest = [max(case.difference for case in cases) for cases in found.values()]
        print(f"| {Path(model).stem} | " + " | ".join(f"{value:.1e}" for value in largest) + " |", flush=True)
        worst = max(worst, *largest)
    return int(worst > PARITY["fp32"])


if __name__ == "__main__":
    sys.exit(main())
