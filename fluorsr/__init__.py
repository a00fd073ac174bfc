"""fluorsr: super-resolution for fluorescence microscopy.

import fluorsr

image = fluorsr.open("cells.ome.zarr")                  # lazy: axes, pixel size, channels
restored = fluorsr.restore(image)                       # in memory, with the default model
fluorsr.infer("cells.ome.zarr", "restored.zarr")        # out of core, any size
model = fluorsr.load("edsr-confocal-sted-x2")           # the model itself
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluorsr.errors import FluorsrError
    from fluorsr.evaluate.check import check
    from fluorsr.evaluate.compare import compare
    from fluorsr.evaluate.sim_support import support_of as sim_support
    from fluorsr.image import Image
    from fluorsr.io.open import open_image as open
    from fluorsr.models.load import load
    from fluorsr.pipeline.memory import restore
    from fluorsr.pipeline.run import infer
    from fluorsr.pipeline.verify import verify
    from fluorsr.restorer import RestorerSpec

__version__ = "0.1.0"

_WHERE = {
    "FluorsrError": ("fluorsr.errors", "FluorsrError"),
    "Image": ("fluorsr.image", "Image"),
    "RestorerSpec": ("fluorsr.restorer", "RestorerSpec"),
    "check": ("fluorsr.evaluate.check", "check"),
    "compare": ("fluorsr.evaluate.compare", "compare"),
    "infer": ("fluorsr.pipeline.run", "infer"),
    "load": ("fluorsr.models.load", "load"),
    "open": ("fluorsr.io.open", "open_image"),
    "restore": ("fluorsr.pipeline.memory", "restore"),
    "sim_support": ("fluorsr.evaluate.sim_support", "support_of"),
    "verify": ("fluorsr.pipeline.verify", "verify"),
}
__all__ = [
    "FluorsrError",
    "Image",
    "RestorerSpec",
    "__version__",
    "check",
    "compare",
    "infer",
    "load",
    "open",
    "restore",
    "sim_support",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import fluorsr` takes no time."""
    if name not in _WHERE:
        raise AttributeError(f"fluorsr has no {name!r}; it has {', '.join(_WHERE)}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
