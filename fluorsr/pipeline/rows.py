"""Make the rows that a run's record does not hold, on a cluster, and record them as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fluorsr.image import Image
from fluorsr.io.chunk_cache import chunk_sides
from fluorsr.models.load import LoadedModel
from fluorsr.pipeline.cluster import Where, cluster, opened_workshops
from fluorsr.pipeline.journal import Journal
from fluorsr.pipeline.places import Places
from fluorsr.pipeline.plan import Plan
from fluorsr.pipeline.probe import probe
from fluorsr.pipeline.summary import Progress
from fluorsr.pipeline.window import Window
from fluorsr.pipeline.worker import Job


def make_rows(
    job: Job,
    image: Image,
    model: LoadedModel,
    journal: Journal,
    where: Where,
    tell: Callable[[str], None],
    report: Callable[[Progress], None],
) -> tuple[int, int, list[str]]:
    """Make the rows that the record does not hold: input pixels restored, tries that failed, and what workers told."""
    places = Places(job.plan.layout) if job.lease else None  # a TIFF has no storage objects to name
    stages = [("restore", range(len(job.plan)))]
    order = chunk_order(job.plan, image)
    if places:
        stages += [(f"pyramid level {level}", places.rows(level)) for level in places.tail]

    def describe(row: int) -> str:
        return f"block {row} ({places[row]})" if places else f"block {row}"

    pixels, notes = 0, dict[str, None]()
    with cluster(where) as client:
        if where.elsewhere:
            probe(client, job, image, tell)
        with opened_workshops(client, where, job, image, model):
            window = Window(client, job.name, tell)
            for stage, rows in stages:
                finished = journal.done[rows.start : rows.stop]
                done = int(finished.sum())
                report(Progress(stage, done, len(rows)))
                waiting = (row for row in (rows if rows.start else order) if not finished[row - rows.start])
                for results in window.run(waiting, describe):
                    for result in results:
                        pixels += result.pixels
                        journal.record(result.facts)
                        if result.note and result.note not in notes:
                            tell(result.note)
                            notes[result.note] = None
                    journal.flush_when_due()
                    done += len(results)
                    report(Progress(stage, done, len(rows), pixels))
                journal.flush()
    return pixels, window.lost, list(notes)


def chunk_order(plan: Plan, image: Image) -> Sequence[int]:
    """The blocks in the order in which to make them: as numbered or, where chunks are kept, chunk by chunk."""
    sides = chunk_sides(image)
    if sides is None:
        return range(len(plan))
    rest, column = np.divmod(np.arange(len(plan)), plan.blocks_yx[1])
    plane, row = np.divmod(rest, plan.blocks_yx[0])
    chunk_y, chunk_x = (
        (first + index * side) // chunk
        for first, index, side, chunk in zip(
            (plan.selection.y[0], plan.selection.x[0]), (row, column), plan.block_input, sides, strict=True
        )
    )
    return [int(i) for i in np.lexsort((column, row, chunk_x, chunk_y, plane))]
