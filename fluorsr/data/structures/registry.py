"""The structures by name. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fluorsr.data.structures.actin import Actin, actin
from fluorsr.data.structures.cell import Cell
from fluorsr.data.structures.emitters import Emitters
from fluorsr.data.structures.microtubules import Microtubules, microtubules
from fluorsr.data.structures.mitochondria import Mitochondria, mitochondria
from fluorsr.data.structures.nuclei import Nuclei, nuclei
from fluorsr.data.structures.parameters import Parameters
from fluorsr.data.structures.targets import LinePairs, Lines, RingField, Stars, line_pairs, lines, rings, siemens_star
from fluorsr.data.structures.vesicles import Points, Vesicles, points, vesicles


class Structure(NamedTuple):
    """How a structure is drawn, and its usual parameters.

    draw   (cell, parameters) -> the emitters of all that starts in the cell, in micrometres from the cell's corner;
           of those outside the cell's window any may be missing
    """

    draw: Callable[[Cell, Any], Emitters]
    parameters: Parameters


STRUCTURES: dict[str, Structure] = {
    "microtubules": Structure(microtubules, Microtubules()),
    "even_microtubules": Structure(microtubules, Microtubules(labels_per_um=(2000.0, 2000.0), labelled=(1.0, 1.0))),
    "actin": Structure(actin, Actin()),
    "nuclei": Structure(nuclei, Nuclei()),
    "lamina": Structure(nuclei, Nuclei(envelope=(1.0, 1.0))),
    "mitochondria": Structure(mitochondria, Mitochondria()),
    "cristae": Structure(mitochondria, Mitochondria(cristae=(0.5, 0.8), membrane=(1.0, 1.0), thickness_um=(0.1, 0.6))),
    "vesicles": Structure(vesicles, Vesicles()),
    "points": Structure(points, Points()),
    "line_pairs": Structure(line_pairs, LinePairs()),
    "close_lines": Structure(line_pairs, LinePairs(stretch=(0.5, 2.0))),
    "lines": Structure(lines, Lines()),
    "rings": Structure(rings, RingField()),
    "siemens_star": Structure(siemens_star, Stars()),
}
"""Name -> structure."""
