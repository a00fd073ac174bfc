#!/usr/bin/env bash
# Installs fluorsr with what its tests need (once), then runs the tests. Arguments go to pytest:
#
#     bash tools/test.sh                  everything
#     bash tools/test.sh -k edsr -x       what matches `edsr`, up to the first failure
#
# For the CUDA build of torch on a machine with a GPU: the one from PyPI is taken where nvidia-smi is found. To choose
# another, install it into .venv first; it is kept:  python3 -m venv .venv && .venv/bin/pip install torch --index-url ...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

install dev
cd "$ROOT"
exec "$VENV/bin/python" -m pytest "$@"
