"""An endless plane of a structure, of which any rectangle can be had from its own cells alone.

       reach
      <----->+---------+---------+---------+      The plane is divided into square cells. What starts in a cell is
             |  cell   |         |         |      drawn from random numbers keyed by (seed, structure, row, column),
             |    +----|---------|--+      |      and reaches at most `reach_um` beyond the cell. An area therefore
             +----|----+---------+--|------+      needs the cells within `reach_um` of it and nothing else, and holds
             |    |  area        |  |      |      the very same emitters whatever it was cut into, in any order, by
             |    +----|---------|--+      |      any worker. Emitters belong to half-open areas, so each is in
             +---------+---------+---------+      exactly one part of a partition.

Cell coordinates are integers and positions within a cell small numbers, so nothing loses precision far from the origin.
"""

from __future__ import annotations

import math

import numpy as np
import pydantic

from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.emitters import Area, Emitters, choose, join
from fluorsr.data.structures.parameters import Parameters
from fluorsr.data.structures.registry import STRUCTURES, Structure
from fluorsr.errors import InputError

MOST_CELLS = 1_000_000
"""In one area: some centimetres squared, whose emitters would fill any memory."""

FARTHEST_UM = 1e9
"""Largest coordinate of an area: a kilometre, at which a double still tells 0.1 nm."""


def emitters_in(structure: str, seed: int, area: Area, parameters: Parameters | None = None) -> Emitters:
    """The emitters of the plane of `structure` and `seed` that lie in `area`: float32 columns, y and x from its start.

    parameters   of the structure; its usual ones where None

    Light outside the area is not included: ask for as much more as the optics blur.
    Raises InputError for an unknown structure, a seed below 0, parameters of another structure, or an area that is
    empty, not finite, too large, or beyond FARTHEST_UM.
    """
    known = _structure(structure)
    if not 0 <= seed < 2**64:
        raise InputError(f"seed {seed} must be at least 0 and below 2**64")
    chosen = known.parameters if parameters is None else parameters
    if type(chosen) is not type(known.parameters):
        raise InputError(
            f"{structure} takes {type(known.parameters).__name__}, not {type(chosen).__name__}; "
            f"make them with parameters_of({structure!r}, ...)"
        )
    return join(_of_cell(known, cell, chosen) for cell in cells_in(structure, seed, area, chosen))


def parameters_of(structure: str, **ranges: object) -> Parameters:
    """The usual parameters of a structure with some of them replaced; a number stands for a range of itself alone.

    Raises InputError that names every fault, or the structures there are.
    """
    known = _structure(structure)
    try:
        return type(known.parameters).model_validate({**known.parameters.model_dump(), **ranges})
    except pydantic.ValidationError as error:
        names = ", ".join(type(known.parameters).model_fields)
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"cannot make {structure}: {faults}; it takes {names}") from error


def _structure(name: str) -> Structure:
    if name not in STRUCTURES:
        raise InputError(f"there is no structure {name!r}; use one of {', '.join(STRUCTURES)}")
    return STRUCTURES[name]


def _check(area: Area) -> None:
    numbers = (*area.start, *area.stop)
    if not all(math.isfinite(number) and abs(number) <= FARTHEST_UM for number in numbers):
        raise InputError(f"the area {numbers} um must be finite and within {FARTHEST_UM:g} um of the origin")
    if min(area.size) <= 0:
        raise InputError(
            f"the area from {area.start} to {area.stop} um is empty; stop must lie beyond start on each axis"
        )


def cells_in(structure: str, seed: int, area: Area, parameters: Parameters) -> list[Cell]:
    """Every cell whose light can lie in the area, in rows, its window being the area.

    A position of a cell less the start of its window is the position in the area, for the exact shapes of targets.
    """
    _check(area)
    side, reach = parameters.cell_um, parameters.reach_um
    rows, columns = (
        range(math.floor((start - reach) / side), math.floor((stop + reach) / side) + 1)
        for start, stop in zip(area.start, area.stop, strict=True)
    )
    if len(rows) * len(columns) > MOST_CELLS:
        raise InputError(
            f"an area of {area.size[0]:g} x {area.size[1]:g} um has {len(rows) * len(columns)} cells, more than "
            f"{MOST_CELLS}; ask for it in parts, which are the same as the whole"
        )
    cells = []
    for row in rows:
        for column in columns:
            start = area.start[0] - row * side, area.start[1] - column * side
            stop = area.stop[0] - row * side, area.stop[1] - column * side
            cells.append(Cell(seed, structure, row, column, side, (start, stop)))
    return cells


def _of_cell(structure: Structure, cell: Cell, parameters: Parameters) -> Emitters:
    """What a cell puts into the area, in the coordinates of the area."""
    points = structure.draw(cell, parameters)
    low, high = -parameters.reach_um, cell.side_um + parameters.reach_um
    for along in (points.y, points.x):
        assert not along.size or (along.min() >= low and along.max() <= high), f"{cell.structure} reaches too far"
    # In double precision, with the very numbers that a neighbouring area compares: no emitter is lost or shared.
    y, x = points.y.astype(np.float64), points.x.astype(np.float64)
    (y0, x0), (y1, x1) = cell.window
    inside = (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
    kept = choose(points, inside)
    return kept._replace(y=(y[inside] - y0).astype(np.float32), x=(x[inside] - x0).astype(np.float32))
