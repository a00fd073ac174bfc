"""Image: a lazy array with named axes and a physical scale. It knows no file format.

axes      letters out of "t c z y x", each at most once, in the order of the array's axes; y and x must be there.
          q may be there too: raw frames of structured illumination, many of which make one image
plane     the [y, x] image at one (t, c, z, q); what every restorer here works on
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fluorsr.errors import InputError

AXES = "tczyx"
"""Axis letters fluorsr writes, in the canonical order in which it writes them."""

READABLE_AXES = AXES + "q"
"""Axis letters fluorsr reads."""

DTYPES = ("uint8", "uint16", "int16", "float32", "uint32", "int32", "int8", "float16", "float64")
"""Pixel types that can be read; the last five are converted to float32 block by block."""


class LazyArray(Protocol):
    """What an Image needs of its pixels: a shape, a dtype, and slices that read only what they name."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, key: tuple[slice | int, ...], /) -> Any: ...


@dataclass(frozen=True)
class Channel:
    """Name and display colour (`RRGGBB`) of one channel."""

    name: str
    color: str = "FFFFFF"


class PlaneIndex(NamedTuple):
    """Which plane of an image: indices along t, c, z and q (0 where the image lacks the axis)."""

    t: int = 0
    c: int = 0
    z: int = 0
    q: int = 0


@dataclass(frozen=True)
class Image:
    """A lazy array of shape [one length per letter of `axes`].

    pixel_size_um    micrometres per pixel along z, y, x; an axis whose size is unknown is absent
    translation_um   position of the centre of pixel 0 along z, y, x; absent means 0
    channels         one per index along c (or exactly one where there is no c axis)

    Raises InputError where axes, shape, dtype and channels do not fit together.
    """

    data: LazyArray
    axes: str
    pixel_size_um: Mapping[str, float] = field(default_factory=dict)
    translation_um: Mapping[str, float] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.axes) - set(READABLE_AXES))
        if unknown or len(set(self.axes)) != len(self.axes):
            raise InputError(
                f"axes {self.axes!r}: each must be one of t c z y x q, at most once; select or rename the others first"
            )
        if not {"y", "x"} <= set(self.axes):
            raise InputError(f"an image needs the axes y and x; these are {self.axes!r}")
        shape = tuple(self.data.shape)
        if len(shape) != len(self.axes):
            raise InputError(f"axes {self.axes!r} name {len(self.axes)} axes, but the array has shape {shape}")
        if 0 in shape:
            raise InputError(f"the image is empty: axes {self.axes!r} have lengths {shape}; each must be at least 1")
        if np.dtype(self.data.dtype).newbyteorder("=").name not in DTYPES:
            raise InputError(f"dtype {self.data.dtype} is not an image's: use one of {', '.join(DTYPES)}")
        if not self.channels:
            names = tuple(Channel(f"channel {i}") for i in range(self.size("c")))
            object.__setattr__(self, "channels", names)
        if len(self.channels) != self.size("c"):
            raise InputError(f"{len(self.channels)} channels are described, but the c axis has {self.size('c')}")
        for axis, value in self.pixel_size_um.items():
            if axis not in "zyx" or not np.isfinite(value) or value <= 0:
                raise InputError(f"pixel_size_um[{axis!r}] = {value}: must be a positive number for z, y or x")

    def size(self, axis: str) -> int:
        """Length along `axis`; 1 where the image lacks it."""
        return int(self.data.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type in native byte order."""
        return np.dtype(self.data.dtype).newbyteorder("=")

    def planes(self) -> Iterator[PlaneIndex]:
        """Every plane, t slowest and q fastest."""
        for t in range(self.size("t")):
            for c in range(self.size("c")):
                for z in range(self.size("z")):
                    for q in range(self.size("q")):
                        yield PlaneIndex(t, c, z, q)

    def to_numpy(self) -> NDArray[Any]:
        """All pixels, in the order of `axes` and native byte order. The whole image must fit in memory."""
        return np.asarray(self.data[tuple(slice(0, length) for length in self.shape)], dtype=self.dtype)

    def read(self, plane: PlaneIndex, y: slice, x: slice) -> NDArray[Any]:
        """Read part of one plane: [y, x] in native byte order, C-contiguous.

        Types the C++ core does not take (`DTYPES`, the last five) come back as float32.
        """
        at: dict[str, slice | int] = {**plane._asdict(), "y": y, "x": x}
        pixels = np.asarray(self.data[tuple(at[axis] for axis in self.axes)])
        if self.axes.index("x") < self.axes.index("y"):
            pixels = pixels.T
        dtype = self.dtype if self.dtype.name in DTYPES[:4] else np.dtype("float32")
        return np.ascontiguousarray(pixels, dtype=dtype)
