"""What a raw SIM series is, as measured: angles, periods, contrast, phase errors; and a picture of its spectra.

one panel an angle: log power of its frames          o  the first order     edge of the circle: the cut-off
      .  o  +  o  .                                  .  the second          +  frequency 0
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Circle
from numpy.typing import NDArray

from fluorsr.classical.sim_orders import SimOptics, edge_window
from fluorsr.classical.sim_parameters import SimParameters, estimate_parameters
from fluorsr.classical.sim_stripes import Stripes
from fluorsr.data.sim_frames import FrameOrder, check_frames, phase_step_errors_deg
from fluorsr.errors import InputError
from fluorsr.image import Image, PlaneIndex
from fluorsr.pipeline.frames import find_frames
from fluorsr.pipeline.measure import read_part, strongest_place
from fluorsr.report.figures import BACKGROUND, INK, new_figure, save_png

FIRST, SECOND = "#ffb000", "#4ac8ff"


@dataclass(frozen=True)
class AngleFacts:
    """One angle: direction against the x axis, period of the first order, contrast of each order, phases.

    phase_errors_deg   of each frame against even steps, their mean taken off;  uncertainty_deg  standard error of them
    strength           of its stripes over what chance reaches
    """

    angle_deg: float
    period_nm: float
    modulation: tuple[float, ...]
    phase_errors_deg: tuple[float, ...]
    uncertainty_deg: float
    strength: float


@dataclass(frozen=True)
class SeriesFacts:
    """A raw series as measured on the part of a plane whose stripes are strongest.

    fault     what is wrong with it against its declaration; empty where nothing is
    spectra   [angles, Y, X] float32: log10 of the frames' mean power, frequency 0 in the middle
    """

    order: FrameOrder
    optics: SimOptics
    angles: tuple[AngleFacts, ...]
    fault: str
    parameters: SimParameters
    spectra: NDArray[np.float32]

    def stripes(self, source: str = "") -> Stripes:
        """What to hand over to darker recordings; `source` names this one. Raises InputError where it is at fault."""
        if self.fault:
            raise InputError(f"the stripes are not saved, since the frames are not what was declared: {self.fault}")
        return Stripes.measured(self.parameters, self.optics, source)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {"order": str(self.order), "fault": self.fault, "angles": [vars(angle) for angle in self.angles]}


def describe_series(
    image: Image,
    optics: SimOptics,
    frames_axis: str,
    *,
    angles: int = 3,
    phases: int = 5,
    slowest: str = "angle",
    beams: int | None = None,
    plane: PlaneIndex | None = None,
) -> SeriesFacts:
    """Measure one plane of raw frames.

    beams    2 or 3; by default 3 where there are five phases or more
    plane    the image of a time-lapse, channel or stack to look at; the first by default

    Raises InputError where the axis does not hold whole series, and where no stripes are found, with what is wrong.
    """
    found = find_frames(image, "a series", angles * phases, frames_axis, None, slowest, angles)
    if found is None or found.order is None:
        raise InputError(f"{angles} angles and {phases} phases are no series: give at least 2 and 3")
    as_stored = replace(found, chosen=tuple(range(found.series))).view(image)
    plane = plane or PlaneIndex()
    pixels = read_part(as_stored, plane, range(found.series), strongest_place(as_stored, plane))
    arranged, count, fault = found.order.arrange(pixels), beams or (3 if phases >= 5 else 2), ""
    try:
        check_frames(pixels, found.order, optics, beams=count)
    except InputError as error:
        fault = str(error)
    try:
        measured = estimate_parameters(arranged, optics, beams=count)
    except InputError as error:
        raise InputError(fault or str(error)) from error
    errors = phase_step_errors_deg(measured)
    facts = tuple(
        AngleFacts(
            angle_deg=float(measured.angle_deg[a]),
            period_nm=float(measured.period_nm[a]),
            modulation=tuple(measured.modulation[a].tolist()),
            phase_errors_deg=tuple(errors[a].tolist()),
            uncertainty_deg=math.degrees(float(measured.phase_error_rad[a].mean())),
            strength=float(measured.strength[a]),
        )
        for a in range(angles)
    )
    window = edge_window((pixels.shape[-2], pixels.shape[-1]))
    flat = (arranged.double() - arranged.double().mean((-2, -1), keepdim=True)) * window
    power = torch.fft.fftshift((torch.fft.fft2(flat).abs() ** 2).mean(1), dim=(-2, -1))
    spectra = torch.log10(power.clamp(min=1e-9)).float().numpy()
    return SeriesFacts(found.order, optics, facts, fault, measured, spectra)


def draw_spectra(facts: SeriesFacts, path: str | Path) -> None:
    """Draw each angle's spectrum with the orders and the cut-off marked, as a PNG."""
    count = len(facts.angles)
    figure = new_figure(3.2 * count, 3.6, dpi=150)
    nyquist = 0.5 / facts.optics.pixel_size_um
    reach = min(nyquist, 1.15 * facts.optics.cutoff_per_um)
    low, high = np.percentile(facts.spectra, (20, 99.9))
    for a, angle in enumerate(facts.angles):
        axes = figure.add_axes((a / count + 0.01, 0.06, 1 / count - 0.02, 0.87))
        half = [0.5 / n / facts.optics.pixel_size_um for n in facts.spectra.shape[1:]]  # pixels lie around frequencies
        extent = (-nyquist - half[1], nyquist - half[1], nyquist - half[0], -nyquist - half[0])
        axes.imshow(facts.spectra[a], cmap="gray", vmin=low, vmax=high, extent=extent)
        axes.add_patch(Circle((0, 0), facts.optics.cutoff_per_um, fill=False, color=INK, lw=0.8, ls=(0, (4, 3))))
        wave_y, wave_x = facts.parameters.wave_per_um[a].tolist()
        for m, color in zip(range(1, facts.parameters.modulation.shape[1] + 1), (FIRST, SECOND), strict=False):
            for sign in (1, -1):
                axes.add_patch(
                    Circle((sign * m * wave_x, sign * m * wave_y), 0.045 * reach, fill=False, color=color, lw=1.2)
                )
        axes.set_xlim(-reach, reach)
        axes.set_ylim(reach, -reach)
        axes.set_axis_off()
        contrast = " / ".join(f"{m:.2f}" for m in angle.modulation)
        axes.set_title(
            f"{angle.angle_deg:.1f}°  {angle.period_nm:.1f} nm  contrast {contrast}", color=INK, fontsize=8, pad=4
        )
    figure.text(
        0.5,
        0.012,
        "log power of raw frames, out to the cut-off (dashed); first order orange, second blue",
        color=INK,
        fontsize=7,
        ha="center",
    )
    figure.set_facecolor(BACKGROUND)
    save_png(figure, Path(path))
