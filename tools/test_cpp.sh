#!/usr/bin/env bash
# Builds and runs the C++ tests under AddressSanitizer + UndefinedBehaviorSanitizer, and under ThreadSanitizer.
# Needs cmake and a C++17 compiler; uses .venv's cmake and ninja where they are. Fails where any build or test fails.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"
command -v ninja >/dev/null && export CMAKE_GENERATOR=Ninja

run() {
    local folder="build/cpp-$1"
    shift
    cmake -S . -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo "$@" >/dev/null
    cmake --build "$folder" --parallel 2
    ctest --test-dir "$folder" --output-on-failure --no-tests=error
}

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export TSAN_OPTIONS=halt_on_error=1
run asan -DFLUORSR_ASAN=ON -DFLUORSR_UBSAN=ON
run tsan -DFLUORSR_TSAN=ON
