"""Symmetries: a restorer asked eight times, once for each symmetry of the square; the mean of its answers.

    tile -> turned, mirrored -> restore -> turned back -> running mean                    "geometric self-ensemble",
                                                                                          Lim et al. 2017, section 4.3

What a network does by chance in one orientation only becomes weaker, at eight times the cost. Halo and grid stay as
they are: both are the same on all sides, and a tile's far end lies on the grid as its near end does. So an exact
restorer stays exact, also in tiles that are not square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fluorsr.errors import InputError
from fluorsr.restorer import Restorer

TURNS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))


class Symmetries:
    """The mean of `inside` over the eight symmetries of the square, added up in this order in float32.

    Raises InputError for a restorer of raw SIM frames: mirrored or turned stripes are those of other angles, and their
    phases may step backwards, so the frames would have to change places by angles that a run does not know. For one
    that draws samples, too: its noise belongs to the place and would be turned away from it.
    """

    def __init__(self, inside: Restorer) -> None:
        spec = inside.spec
        if spec.frames > 1:
            raise InputError(
                f"{spec.name} takes {spec.frames} raw frames, whose stripes turn with the image and are told apart by "
                "their order, so it cannot be asked in eight orientations; leave out tta"
            )
        if spec.stochastic:
            raise InputError(f"{spec.name} draws samples: their mean is had with samples; leave out tta")
        self.inside = inside
        self.spec = spec

    @property
    def batch_limit(self) -> int | None:
        """See fluorsr.models.network.Network."""
        found: int | None = getattr(self.inside, "batch_limit", None)
        return found

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See Restorer. Tiles [B, 1, Y, X] of any sides; the result in their orientation."""
        total: Tensor | None = None
        for turns, mirror in TURNS:
            given = torch.rot90(tiles.flip(-1) if mirror else tiles, turns, (-2, -1)).contiguous()
            found = torch.rot90(self.inside.restore(given, origin, seed), -turns, (-2, -1))
            found = found.flip(-1) if mirror else found
            total = found.clone() if total is None else total.add_(found)
        assert total is not None
        return total.div_(len(TURNS)).contiguous()
