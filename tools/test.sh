#!/usr/bin/env bash
# Installs fluorsr with what its tests need (once), then runs the tests. Arguments go to pytest:
#
#     bash tools/test.sh                  everything
#     bash tools/test.sh -k edsr -x       what matches `edsr`, up to the first failure
#     bash tools/test.sh -n 0 --pdb       in this process, as a debugger needs
#
# One process of one thread on each of up to 8 cores, some 2 GiB each: the threads of several processes would wait for
# each other's cores.
#
# For the CUDA build of torch on a machine with a GPU: the one from PyPI is taken where nvidia-smi is found. To choose
# another, install it into .venv first; it is kept:  python3 -m venv .venv && .venv/bin/pip install torch --index-url ...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

install dev
cd "$ROOT"
cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS=1
exec "$VENV/bin/python" -m pytest -n "$((cores < 8 ? cores : 8))" "$@"
