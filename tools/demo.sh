#!/usr/bin/env bash
# Installs fluorsr (once), then runs its demo. Arguments go to `fluorsr demo`:
#
#     bash tools/demo.sh                          4096 x 4096 pixels, results in ./demo-output
#     bash tools/demo.sh --size 1024 --out /tmp/d
#
# For the CUDA build of torch on a machine with a GPU: see tools/test.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

install ""
exec "$VENV/bin/fluorsr" demo "$@"
