# Shared by demo.sh, test.sh and .ci/run: find a Python, make .venv, install fluorsr into it. Sourced, not run.
#
# Nothing here is done twice: .venv/.fluorsr-stamp holds a hash of everything the installation depends on, and while
# that hash stands, `install` returns at once. An interrupted installation leaves no stamp and is simply done again.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
CONSTRAINTS="$ROOT/tools/constraints.txt"
STAMP="$VENV/.fluorsr-stamp"      # the hash, and the extra that was installed
OWN_TORCH="$VENV/.fluorsr-torch"  # the torch that was installed here; any other in .venv is the user's choice

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Prints the first Python that is new enough; PYTHON=/path/to/python overrides the search.
find_python() {
    local name names=(python3 python3.13 python3.12 python3.11 python)
    if [[ -n "${PYTHON:-}" ]]; then names=("$PYTHON"); fi
    for name in "${names[@]}"; do
        if new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    die "fluorsr needs Python 3.11 or newer, which none of these is: ${names[*]};" \
        "install one (Debian, Ubuntu: apt install python3 python3-venv) or name one: PYTHON=/path/to/python3 $0"
}

make_venv() {
    local python
    if [[ -x "$VENV/bin/python" ]] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        new_enough "$VENV/bin/python" ||
            die "$VENV holds $("$VENV/bin/python" --version), and fluorsr needs 3.11 or newer; remove it and run again"
        return
    fi
    python="$(find_python)"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv or ensurepip, which make $VENV; install them (Debian, Ubuntu: apt install python3-venv)"
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$VENV" || die "$VENV could not be made; is $ROOT writable?"
}

# Hash of the Python, the place, and every file that the built extension or the set of packages depends on.
installation_hash() {
    "$VENV/bin/python" - "$ROOT" <<'PY'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
files = [root / name for name in ("pyproject.toml", "setup.py", "CMakeLists.txt", "tools/constraints.txt")]
files += [path for folder in ("csrc", "cmake") for path in sorted((root / folder).rglob("*"))]
digest = hashlib.sha256(f"{sys.version} {sys.executable}".encode())
for path in files:
    if path.is_file():
        digest.update(f"{path} ".encode() + hashlib.sha256(path.read_bytes()).digest())
print(digest.hexdigest())
PY
}

pip_install() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }

installed_torch() {
    "$VENV/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true
}

# torch comes first and by itself. A torch that the user put into .venv stays. Otherwise the pinned one is installed,
# and where no NVIDIA driver is, its CPU build from FLUORSR_TORCH_INDEX, unless pip's own index offers one.
install_torch() {
    local here pinned offered cpu_index=()
    here="$(installed_torch)"
    if [[ -n "$here" && "$here" != "$(cat "$OWN_TORCH" 2>/dev/null)" ]]; then
        say "keeping the torch $here that is in .venv"
        return
    fi
    pinned="$(sed -n 's/^torch==//p' "$CONSTRAINTS")"
    [[ "${here%%+*}" == "$pinned" ]] && return
    if [[ "$(uname -s)" == Linux ]] && ! command -v nvidia-smi >/dev/null; then
        offered="$("$VENV/bin/python" -m pip index versions torch 2>/dev/null || true)"
        if [[ "$offered" != *"$pinned+cpu"* ]]; then
            if [[ -n "${FLUORSR_TORCH_INDEX:-}" ]]; then
                cpu_index=(--extra-index-url "$FLUORSR_TORCH_INDEX")
            else
                say "no NVIDIA driver here, but pip offers torch for CUDA only (3 GB); for its CPU build (0.2 GB) stop now" \
                    "and set FLUORSR_TORCH_INDEX to PyTorch's CPU index, as pytorch.org names it under Get Started"
            fi
        fi
    fi
    say "installing torch $pinned"
    pip_install "torch==$pinned" -c "$CONSTRAINTS" ${cpu_index[@]+"${cpu_index[@]}"}
    installed_torch >"$OWN_TORCH"
}

# install EXTRA: makes .venv hold fluorsr (editable) with the extra `dev`, or with none where EXTRA is empty.
install() {
    local extra="$1" hash constraints
    make_venv
    hash="$(installation_hash)"
    if [[ -z "$extra" && -f "$STAMP" ]]; then extra="$(sed -n 's/.* with //p' "$STAMP")"; fi # once there, it is kept
    if [[ "$(cat "$STAMP" 2>/dev/null)" == "$hash with $extra" ]]; then return; fi
    compiler_present || die "no C++ compiler was found, and fluorsr builds a small C++ library;" \
        "install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install) or set CXX"
    rm -f "$STAMP"
    pip_install --upgrade "pip==$(sed -n 's/^pip==//p' "$CONSTRAINTS")"
    install_torch
    # The pin of torch gives way to the torch that is there, or pip would replace a user's CUDA build.
    constraints="$VENV/fluorsr-constraints.txt"
    sed "s/^torch==.*/torch==$(installed_torch)/" "$CONSTRAINTS" >"$constraints"
    say "installing fluorsr${extra:+ with the extra $extra}"
    PIP_CONSTRAINT="$constraints" PIP_BUILD_CONSTRAINT="$constraints" \
        pip_install -e "$ROOT${extra:+[$extra]}" -c "$constraints"
    echo "$hash with $extra" >"$STAMP"
}

compiler_present() {
    local name
    for name in ${CXX:-c++ g++ clang++}; do
        command -v "$name" >/dev/null && return
    done
    return 1
}
