"""What a run tells: progress, warnings before it starts, and the closing summary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fluorsr.image import Image
from fluorsr.pipeline.journal import BlockFacts
from fluorsr.restorer import RestorerSpec

PIXEL_SIZE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `pixels` are input pixels restored since it was started or resumed."""

    stage: str
    done: int
    total: int
    pixels: int = 0


@dataclass(frozen=True)
class Summary:
    """What a run did. Pixel counts cover the whole image, blocks of an earlier, interrupted run included."""

    source: str
    output: str
    model: str
    device: str
    precision: str
    input_shape: dict[str, int]
    output_shape: dict[str, int]
    dtype: str
    pixel_size_um: dict[str, float]
    tile: tuple[int, int]
    overlap: tuple[int, int]
    blocks: int
    blocks_resumed: int
    normalization: dict[str, tuple[float, float]]
    nonfinite_input: int
    saturated_output: int
    nonfinite_output: int
    input_pixels: int
    seconds: float
    restore_seconds: float
    megapixels_per_second: float
    notes: tuple[str, ...]
    repaired: tuple[str, ...] = ()
    samples: int | None = None
    tiles_skipped: int = 0

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)


def warnings_before(image: Image, spec: RestorerSpec, dtype: str) -> list[str]:
    """What a user should know before the run: a pixel size the model was not trained at, a dtype that changes."""
    notes = []
    size = image.pixel_size_um.get("x")
    trained = spec.pixel_size_um
    if trained is not None and size is None:
        notes.append(
            f"the image does not tell its pixel size; {spec.name} was trained at {trained * 1000:.0f} nm, and at "
            "another size what it restores cannot be trusted"
        )
    elif trained is not None and size is not None and abs(size / trained - 1) > PIXEL_SIZE_TOLERANCE:
        notes.append(
            f"the image's pixels are {size * 1000:.1f} nm, {spec.name} was trained at {trained * 1000:.1f} nm: more "
            "than 10 % apart, so what it restores cannot be trusted; resample the image or choose another model"
        )
    if dtype != image.dtype.name:
        notes.append(f"pixels are {image.dtype.name} and will be written as {dtype}")
    return notes


def notes_after(dtype: str, totals: BlockFacts) -> list[str]:
    """What a user should know of the restored image, by the counts of all blocks."""
    notes = []
    if totals.nonfinite:
        notes.append(f"{totals.nonfinite} NaN or infinite input pixels were taken as background")
    if totals.saturated:
        notes.append(
            f"{totals.saturated} output pixels were clipped to the range of {dtype} "
            "(a sharper image has higher peaks and deeper valleys); --dtype float32 keeps them"
        )
    if totals.diverged:
        notes.append(f"the model made {totals.diverged} NaN or infinite pixels: do not trust this output")
    return notes
