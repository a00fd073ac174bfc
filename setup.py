"""Builds fluorsr._core with CMake; all metadata stands in pyproject.toml.

cmake, ninja and pybind11 come as build requirements, so a C++17 compiler is the only thing the machine must have.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
COMPILERS = ("c++", "g++", "clang++")
NO_COMPILER = """
fluorsr needs a C++17 compiler to build its native core, and none was found{looked}. Install one and try again:
    Debian/Ubuntu:  apt install g++
    Fedora/RHEL:    dnf install gcc-c++
    macOS:          xcode-select --install
    conda:          conda install -c conda-forge cxx-compiler
or name one in the environment variable CXX.
"""


def check_compiler() -> None:
    """Stop with a message that helps, before CMake stops with one that does not."""
    named = shlex.split(os.environ.get("CXX", ""))
    candidates = (named[0],) if named else COMPILERS
    if not any(shutil.which(name) for name in candidates):
        raise SystemExit(NO_COMPILER.format(looked=f" (looked for {', '.join(candidates)} on PATH)"))


def program(name: str, folder: str) -> str:
    """Path of cmake or ninja: from the package of that name, whose `folder` constant says where, or from PATH."""
    if importlib.util.find_spec(name) is not None:
        packaged = Path(getattr(__import__(name), folder)) / name
        if packaged.exists():
            return str(packaged)
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"fluorsr needs {name} to build; try: pip install {name}")
    return found


class CMakeBuild(build_ext):
    """One extension, built by CMake straight to where setuptools wants it."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11  # noqa: PLC0415  (a build requirement; `setup.py --version` does without it)

        check_compiler()
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve() / "core"
        target.parent.mkdir(parents=True, exist_ok=True)
        cmake = program("cmake", "CMAKE_BIN_DIR")
        configure = [
            cmake,
            *("-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={program('ninja', 'BIN_DIR')}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DFLUORSR_PYTHON=ON",
            "-DFLUORSR_TESTS=OFF",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DPYBIND11_FINDPYTHON=ON",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
        ]
        # A cache from another environment would keep that one's Python and pybind11.
        (build / "CMakeCache.txt").unlink(missing_ok=True)
        subprocess.run(configure, check=True)
        subprocess.run([cmake, "--build", str(build)], check=True)
        if not target.exists():
            raise SystemExit(f"CMake built, but {target} is missing: its Python differs from {sys.executable}")


setup(ext_modules=[Extension("fluorsr._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
