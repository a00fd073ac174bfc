"""What taking orders apart and measuring stripes is tuned to, in one place.

Those functions run in Python and, compiled, inside exported programs. TorchScript takes a number from outside a
function only as a member of a module, as in math.pi: so `from fluorsr.classical import sim_constants as usual`.
"""

from __future__ import annotations

import math

TINY = 2.0**-1022
"""The smallest normal float64: keeps divisions by nothing finite."""

# of a microscope's stripes
STEP_ERROR = math.radians(15)
"""Standard deviation of a phase step from the declared one, before anything is measured."""
LEAST_PHASES = 5
"""Of so many phases the steps are taken to be even; fewer may be any part of a series."""

# of the scene (fluorsr.classical.sim_scene)
LEAST_TRANSFER = 0.02
"""Frequencies that the microscope passes worse than this tell nothing."""
NOTCH_PER_UM = 1.0
"""Width of what is left out around each order: out-of-focus light."""
SMALLEST = 32
"""Pixels along each side of the smallest frames that tell of a specimen."""
FEWEST = 60.0
"""Frequencies in which the wide-field image must show the specimen: noise alone passes for it in some dozen."""

LIKENESS = math.radians(1)
"""What chance likeness of order 0 to the others adds to the error of a single frame's phase, at least."""
LEFT_LOOSE = 3.0
"""Variance of what an order has left in another over what white noise makes: brightness and the window add to it."""
LEAST_LEFT = 1e-3
"""Error, at least, of what an order has left in another: without noise it would outweigh all else beyond rounding."""
LEAST_SHARE = 1e-3
"""Of signal in an order's power, at least: orders without any leave everything as it was."""
OF_NOISE = 0.98
"""How much of the noise is taken off an order's own power: all of it would leave nothing to divide by."""
DRIFT_UM = 0.005
"""Standard deviation of where the specimen stands in a frame, before anything is measured."""

# of what two orders share (fluorsr.classical.sim_overlap)
COHERENT = 0.95
"""Of the power that two orders share, at most: light out of focus is not the same in both."""
LEAK = 0.03
"""Of order 0 in another, that wrong steps leave."""
USUAL_CONTRAST, LEAST_CONTRAST = 0.3, 0.02
"""Of an order, half its modulation: before anything is measured, and at least."""
LENS_SLOPE = 1.0
"""Standard deviation of the logarithm of a lens's damping from the one assumed."""
LENSES, FITS = 2, 3
"""How often the orders are made alike, and each time their contrast and the lens's slope are fitted."""

# of the measurement (fluorsr.classical.sim_parameters)
ROUNDS = 4
STEADY = 2
"""After so many of them the frames are put back by the specimen's drift."""
ZOOM = (0.12, 0.03, 0.008, 0.002, 0.0005)
"""Steps of the refinement of a vector, in frequency steps of the field: five of the first, to stay at the peak."""

REGION = 384
"""Side in pixels of the part that is measured: a second of work, and periods to a part in 10,000."""

# of single frames (fluorsr.classical.sim_autocorrelation)
LOWEST = 0.15
"""Share of the cut-off below which out-of-focus light prevails, and no frequency votes."""
NEIGHBOURS = 9
"""Rings of one frequency step."""

# of orders taken apart (fluorsr.classical.sim_orders)
POWER = (1.0, 0.09, 0.06)
"""Of orders 0 to 2, relative: modulations of 0.6 and 0.5 halved and squared."""
NOISE = 0.01
"""Of bright frames, in the same units."""
WORST_CONDITION = 30.0
"""Equal steps have a condition of 1; beyond this, noise grows thirtyfold."""

# of orders put in their place (fluorsr.classical.sim_demodulate)
SCALE = 2
BLUR_PX = 2.0
"""Full width at half maximum of the blur, a little less than any lens's: beyond its cut-off there is noise only."""
BLUR_RADIUS = 4
USUAL_MODULATION = (0.7, 0.5)
"""Of the first and second order of three beams."""
LEAST_MODULATION = 0.3
"""Contrast below this is taken for this: an estimate that noise has spoilt would blow the noise up."""
