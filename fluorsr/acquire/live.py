"""Restore while a microscope acquires: a worker beside Micro-Manager's acquisition engine (pymmcore-plus).

engine -> frameReady -> a queue of a few frames -> worker: restore -> OME-Zarr, show
             |
             +-- returns at once: the engine never waits. Where the queue is full its oldest frame is left out,
                 and the report and the store say which. Raw frames are the engine's own business, none is touched.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fluorsr.errors import InputError, import_extra
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io.open import create_image
from fluorsr.io.writer import ImageWriter, Layout
from fluorsr.models.load import LoadedModel, load
from fluorsr.pipeline.memory import restore
from fluorsr.pipeline.run import DEFAULT_MODEL

Show = Callable[[PlaneIndex, NDArray[Any]], None]


@dataclass(frozen=True)
class Acquired:
    """What a live acquisition did.

    frames    that the camera gave
    dropped   (t, c, z) of those that were not restored, because newer ones came
    seconds   from the first frame to the last restored one
    """

    frames: int
    restored: int
    dropped: tuple[PlaneIndex, ...]
    seconds: float


def acquire(
    core: Any,
    sequence: Any,
    output: str | Path | None = None,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    *,
    queue: int | None = 4,
    show: Show | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> Acquired:
    """Run `sequence` (a useq.MDASequence) on `core` (a CMMCorePlus), and restore its frames meanwhile.

    output   OME-Zarr for the restored planes; what was dropped stays zero and is listed in its attributes
    queue    frames that may wait; when it is full the oldest is dropped. None: none is dropped, memory may grow
    show     called by the worker with each plane's index and restored pixels [sY, sX]

    Raises MissingDependencyError without the extra `acquire`, InputError where sequence and model do not fit, and what
    restoring or writing raised, after the acquisition has ended undisturbed.
    """
    import_extra("pymmcore_plus", "acquire")
    loaded = model if isinstance(model, LoadedModel) else load(model)
    sizes = {axis: int(size) for axis, size in sequence.sizes.items() if size > 1}
    if loaded.spec.frames != 1:
        raise InputError(f"{loaded.spec.name} makes one image of {loaded.spec.frames} frames; live it takes one of 1")
    if other := sorted(set(sizes) - set("tcz")):
        raise InputError(f"the sequence has the axes {', '.join(other)} beside t, c and z; acquire each on its own")
    if queue is not None and queue < 1:
        raise InputError(f"queue {queue} must be at least 1, or None for no limit")
    writer = None
    if output is not None:
        layout = _layout(core, sequence, sizes, loaded.spec.scale)
        writer = create_image(output, layout, provenance={"model": loaded.spec.name}, overwrite=overwrite)
    worker = _Worker(loaded, writer, queue, show, threads)
    core.mda.events.frameReady.connect(worker.take)
    try:
        core.run_mda(sequence, block=True)
    finally:
        core.mda.events.frameReady.disconnect(worker.take)
        done = worker.finish()
    if writer is not None and output is not None:
        for level in writer.tail:
            for block in writer.tail_blocks(level):
                writer.build_tail(level, block)
        writer.finish()
        zarr.open_group(str(output), mode="r+").attrs["fluorsr-acquisition"] = {
            **asdict(done),
            "dropped": [index._asdict() for index in done.dropped],
        }
    return done


class _Worker:
    def __init__(
        self, model: LoadedModel, writer: ImageWriter | None, queue: int | None, show: Show | None, threads: int | None
    ) -> None:
        self._model, self._writer, self._queue, self._show, self._threads = model, writer, queue, show, threads
        self._waiting: deque[tuple[PlaneIndex, NDArray[Any]]] = deque()
        self._changed = threading.Condition()
        self._closed, self._fault = False, None  # type: tuple[bool, BaseException | None]
        self._frames, self._restored, self._dropped = 0, 0, list[PlaneIndex]()
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._work, name="restore", daemon=True)
        self._thread.start()

    def take(self, frame: NDArray[Any], event: Any) -> None:
        """Called by the engine with every frame: copies it and returns."""
        index = PlaneIndex(**{axis: event.index.get(axis, 0) for axis in "tcz"})
        with self._changed:
            self._began = time.perf_counter() if self._frames == 0 else self._began
            self._frames += 1
            if self._fault is not None or (self._queue is not None and len(self._waiting) == self._queue):
                self._dropped.append(self._waiting.popleft()[0] if self._waiting else index)
            if self._fault is None:
                self._waiting.append((index, frame.copy()))
            self._changed.notify()

    def finish(self) -> Acquired:
        """Wait for the frames that wait. Raises what the worker met."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        seconds = time.perf_counter() - self._began
        return Acquired(self._frames, self._restored, tuple(self._dropped), seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                index, frame = self._waiting.popleft()
            try:
                pixels = np.asarray(restore(frame, self._model, threads=self._threads).data)
                if self._writer is not None:
                    _write(self._writer, index, pixels)
                if self._show is not None:
                    self._show(index, pixels)
                self._restored += 1
            except BaseException as error:  # noqa: BLE001 - told to the caller; the engine must go on
                self._fault = error
                return


def _write(writer: ImageWriter, index: PlaneIndex, pixels: NDArray[Any]) -> None:
    step_y, step_x = writer.layout.block
    for y in range(0, pixels.shape[0], step_y):
        for x in range(0, pixels.shape[1], step_x):
            writer.write(index, y, x, np.ascontiguousarray(pixels[y : y + step_y, x : x + step_x]))


def _layout(core: Any, sequence: Any, sizes: dict[str, int], scale: int) -> Layout:
    axes = "".join(axis for axis in "tcz" if axis in sizes) + "yx"
    shape = (*(sizes[axis] for axis in axes[:-2]), core.getImageHeight() * scale, core.getImageWidth() * scale)
    names = [channel.config for channel in sequence.channels] if "c" in sizes else ["camera"]
    size = float(core.getPixelSizeUm())
    return Layout(
        axes=axes,
        shape=shape,
        dtype={1: "uint8", 2: "uint16"}.get(core.getBytesPerPixel(), "float32"),
        pixel_size_um={"y": size / scale, "x": size / scale} if size > 0 else {},
        channels=tuple(Channel(name) for name in names),
    )
