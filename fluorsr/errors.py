"""The errors fluorsr raises on purpose.

Every message states the rule, the value that broke it and the remedy. Each class also inherits the built-in that a
caller would expect, so `except ValueError` and `except FileNotFoundError` work as they do elsewhere. The command line
turns any `FluorsrError` into its message and exit code 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class FluorsrError(Exception):
    """Base of everything fluorsr raises on purpose."""


class InputError(FluorsrError, ValueError):
    """An argument or an image breaks a rule."""


class FormatError(FluorsrError, ValueError):
    """A file is not what it should be: unreadable, corrupt, or of a kind fluorsr does not read."""


class NotFoundError(FluorsrError, FileNotFoundError):
    """A file, store, model or level does not exist."""


class MissingWeightsError(NotFoundError):
    """Weights that fluorsr may not ship, and that nothing else can stand in for."""


class OutputExistsError(FluorsrError, FileExistsError):
    """The output exists and neither resuming nor overwriting was asked for."""


class InUseError(FluorsrError, RuntimeError):
    """Another run holds the output."""


class BlocksFailedError(FluorsrError, RuntimeError):
    """Some blocks of a run could not be made; the others are done and safe."""


class StorageError(FluorsrError, OSError):
    """The disk or store refused: full, not writable, gone."""


class ModelError(FluorsrError, ValueError):
    """A model file or a model's output breaks the Restorer contract."""


class MissingDependencyError(FluorsrError, ImportError):
    """An optional package is needed."""


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra of fluorsr brings it.

    Raises MissingDependencyError where `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"this needs the package {package}, which is not installed; try: pip install 'fluorsr[{extra}]'"
        ) from error
