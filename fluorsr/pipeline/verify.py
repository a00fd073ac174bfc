"""Re-read a run's output and check every block against the record; do again what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fluorsr.errors import NotFoundError
from fluorsr.io.open import open_image
from fluorsr.io.writer import Layout
from fluorsr.pipeline.damage import find_damage
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.run import infer


@dataclass(frozen=True)
class Verification:
    """What a check found: blocks in the run, those recorded as done, what is wrong and what was mended, a line each."""

    output: str
    blocks: int
    done: int
    faults: tuple[str, ...]
    repaired: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return self.done == self.blocks and not self.faults

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {**asdict(self), "complete": self.complete}


def verify(
    output: str | Path,
    *,
    repair: bool = False,
    source: str | Path | None = None,
    model: str | Path | None = None,
    trust: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check an output of `fluorsr.infer`, and where `repair` is set, first make again what is damaged or missing.

    Every block recorded as done is read back and its CRC32C compared; each pyramid level must be the 2 x 2 mean of the
    level before or, above those written with the block, have its recorded CRC32C. Repairing goes on with the run as it
    was begun, so it needs its input and model: `source` and `model` say where they are now, if not where they were
    (`trust` as in `fluorsr.infer`).
    What is made again has the bytes that it had. Raises NotFoundError where there is no such output or it holds no
    record, and whatever `fluorsr.infer` raises.
    """
    path = Path(output)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    repaired: tuple[str, ...] = ()
    if repair:
        call = Journal.open(path).call
        options = {**call["options"], "model": model or call["options"]["model"]}
        repaired = infer(source or call["source"], path, **options, trust=trust, resume=True, verify=True).repaired
    journal = Journal.open(path)
    image = open_image(path)
    layout = Layout(image.axes, image.shape, image.dtype.name, block=tuple(journal.fingerprint["block"]))
    damage = find_damage(journal, path, layout, progress or (lambda done, of: None))
    blocks = Places(layout).blocks
    # What the tail lacks is a fault only where the blocks below it are done: else the run is just not there yet.
    done = int(journal.done[:blocks].sum())
    faults = damage.faults
    if done == blocks and not journal.done.all():
        faults = (
            *faults,
            f"{int((~journal.done).sum())} blocks of the pyramid are not built; --resume or --repair builds them",
        )
    return Verification(str(path), blocks, done, faults, repaired)
