#!/usr/bin/env bash
# Builds fluorsr-host and libfluorsr_host.so against the LibTorch inside .venv's torch: build/host/. Needs a C++ compiler.
#     bash tools/host.sh [--asan]          --asan: with AddressSanitizer in our own code, into build/host-asan/
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"
command -v ninja >/dev/null && export CMAKE_GENERATOR=Ninja

folder=build/host
options=()
if [[ "${1:-}" == --asan ]]; then
    folder=build/host-asan
    options=(-DFLUORSR_ASAN=ON -DFLUORSR_UBSAN=ON)
fi
prefix="$("$PYTHON" -c 'import torch; print(torch.utils.cmake_prefix_path)')"
cmake -S . -B "$folder" -DFLUORSR_HOST=ON -DFLUORSR_TESTS=OFF -DCMAKE_PREFIX_PATH="$prefix" \
    ${options[@]+"${options[@]}"} >/dev/null
nice cmake --build "$folder" -j1
echo "$folder/fluorsr-host"
