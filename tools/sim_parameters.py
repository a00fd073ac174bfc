"""How well the stripes of SIM frames are measured, where they are known: python tools/sim_parameters.py [--out docs]

Random microscopes and specimens that no recipe or test can have drawn, of three beams (15 frames) and two (9), from
nearly noise-free to dim, and the middle of each field at several sizes. Writes OUT/sim_parameters.png and .md.

What is true: the stripes stand still against the camera, each frame's as the simulator drew them (angle errors, uneven
phases); what drifts is the specimen. Phases are compared at the middle of the field, about which an error of the vector
turns them least; at the corner, where they are given, it adds 2 pi times its product with half the field.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from fluorsr.classical.registry import make_optics
from fluorsr.classical.sim_orders import carrier, edge_window, frequencies, separate
from fluorsr.classical.sim_parameters import NoStripesError, SimParameters, estimate_parameters
from fluorsr.data.simulate import Field, configure, simulate_pair
from fluorsr.report.figures import BACKGROUND, FAINT, INK, new_figure, save_png

SEED = 2**32 + 41
BEAMS = {3: ("sim-3x5", 5), 2: ("sim-3x3", 3)}
LEVELS = (10000.0, 1000.0, 100.0)
"""Photons of a raw frame where the specimen is brightest; the first is nearly noise-free: the method's own error."""

SIDES = (128, 256, 512)
STRUCTURES = ("microtubules", "actin", "mitochondria", "vesicles", "nuclei", "microtubules")
THIN: dict[str, object] = {"thickness": 0.5, "haze": 0.2}
THICK: dict[str, object] = {"thickness": 3.0, "density": 2.0, "haze": 0.5}
WRONG = 2.0
"""Per cent of a period, or degrees, beyond which a vector is a chance peak's."""

LIMITS = {"period": 0.1, "angle": 0.05, "phase": 2.0, "phase_light": math.inf, "steps": 2.0} | dict.fromkeys(
    ("steps_light", "modulation", "first"), math.inf
)
HEADINGS = {
    "period": "period (%)",
    "angle": "angle (degrees)",
    "phase": "phase (degrees)",
    "phase_light": "phase, by the light (degrees)",
    "steps": "phase steps (degrees)",
    "steps_light": "one step, by the light (degrees)",
    "modulation": "modulation, highest order (%)",
    "first": "first of two orders (%)",
}
COLORS = ("#9a9aa4", "#f2b544", "#4fc3f7")

Key = tuple[int, int, float]
"""Beams, side in pixels, photons."""


def taken(beams: int, index: int, photons: float) -> Field:
    """Field `index` at the largest size: even ones thin with little haze, odd ones deep in a dense cell under haze."""
    preset, _ = BEAMS[beams]
    # A camera of one count an electron: brightest pixels stay below 65535 at the highest level.
    changes = {"gain": 1.0, "size_px": max(SIDES), "photons": photons, **(THICK if index % 2 else THIN)}
    return simulate_pair(
        configure(preset, fixed=False, **changes), SEED, index, STRUCTURES[index // 2 % len(STRUCTURES)]
    )


def measured(field: Field, beams: int, side: int) -> dict[str, float] | None:
    """Errors in the middle `side` pixels of a field; None where no stripes are found."""
    phases = BEAMS[beams][1]
    first = (max(SIDES) - side) // 2
    middle = field.degraded[:, first : first + side, first : first + side].astype(np.float64)
    frames = torch.from_numpy(middle).reshape(-1, phases, side, side)
    optics = make_optics(field.drawn["numerical_aperture"], field.drawn["emission_nm"], field.pixel_size_um)
    try:
        found = estimate_parameters(frames, optics, beams=beams)
    except NoStripesError:
        return None
    return errors(found, field, phases, side) | light_limits_deg(frames, field, phases)


def light_limits_deg(frames: Tensor, field: Field, phases: int) -> dict[str, float]:
    """How surely photons tell phases in frames [A, N, Y, X]: standard deviations of the worst direction.

    steps_light  of one frame's step. Of specimen and lens nothing is known but that all angles have the same order 0.
        N = 2 M + 1 frames of an angle hold as many orders, so they tell their steps by that alone: steps off by d_n
        leave of order m in order 0 sum_n i m d_n exp(i m theta_n) / N (`sim_steps.finer`), against the noise of the
        orders 0. Of even steps, where brightness and drift are known, that is a Cramer-Rao bound of
            var d = 2 / N  A / (A - 1)  sum_m sigma^2 / (m^2 sum_r |C_m(r)|^2)
        with sigma^2 the mean variance of a pixel; noise is taken off the power of C_m.
    phase_light  of order 1 of a direction, its vector known and its transfer function real: the bound on the phase
        between two spectra whose likeness g^2 only their noise lowers (Carter 1987, Proc. IEEE 75, 236),
            1 / var = sum_q 2 g^2 / (1 - g^2),  g^2 the product of signal over signal and noise of orders 0 and 1 at q
        over what both pass; powers are means of 9 x 9 frequencies.
    """
    assert field.stripes is not None
    angles, shape = len(frames), (frames.shape[2], frames.shape[3])
    m = torch.arange(1, (phases - 1) // 2 + 1)
    window = edge_window(shape)
    level = frames.mean((-2, -1), keepdim=True)
    orders = separate((frames - level) * window, field.stripes.phase_rad.reshape(angles, phases, 1) * m)
    y, x = frequencies(shape, field.pixel_size_um)
    cutoff = 2e3 * field.drawn["numerical_aperture"] / field.drawn["emission_nm"]
    passed = torch.hypot(y, x) < cutoff
    variance = float(level.mean()) - field.drawn["offset"] + field.drawn["read_noise"] ** 2
    noise = variance / phases * float((window**2).mean())
    spectra = torch.fft.fft2(orders[:, 1:], norm="ortho").abs() ** 2
    power = ((spectra - noise) * passed).sum((-2, -1)).clamp(min=1e-9)
    step = 2 / phases * angles / (angles - 1) * (variance / (m**2 * power)).sum(1)
    zero = signal_share(orders[:, 0].mean(0), noise / angles)
    apart = float((window**2).mean() ** 2 / (window**4).mean())
    surest = []
    for first, wave in zip(orders[:, 1], field.stripes.wave_per_um[::phases], strict=True):
        back = first * carrier(-wave, shape, field.pixel_size_um)
        both = passed & (torch.hypot(y + wave[0], x + wave[1]) < cutoff)
        likeness = zero * signal_share(back, noise) * both
        surest.append(apart * float((2 * likeness / (1 - likeness).clamp(min=1e-9)).sum()))
    return {
        "steps_light": math.degrees(math.sqrt(float(step.max()))),
        "phase_light": math.degrees(min(surest) ** -0.5),
    }


def signal_share(image: Tensor, noise: float) -> Tensor:
    """The part of an image's power that is not noise, around every frequency: [Y, X]."""
    power = torch.fft.fftshift(torch.fft.fft2(image, norm="ortho").abs() ** 2)
    around = torch.nn.functional.pad(power[None, None], (4, 4, 4, 4), mode="circular")
    mean = torch.fft.ifftshift(torch.nn.functional.avg_pool2d(around, 9, 1)[0, 0])
    share: Tensor = (1 - noise / mean).clamp(0, 1)
    return share


def errors(found: SimParameters, field: Field, phases: int, side: int) -> dict[str, float]:
    """Of the worst direction; of the phase steps, the worst frame."""
    assert field.stripes is not None
    true = field.stripes.wave_per_um[::phases]
    sign = torch.sign((found.wave_per_um * true).sum(1, keepdim=True))
    wave = sign * found.wave_per_um
    angle = torch.atan2(wave[:, 0], wave[:, 1]) - torch.atan2(true[:, 0], true[:, 1])
    # Both at the middle of the field, each from the corner that its phases hold at.
    seen = sign * found.phase_rad + math.pi * side * field.pixel_size_um * wave.sum(1, keepdim=True)
    drawn = field.stripes.phase_rad.reshape(-1, phases)
    drawn = drawn + math.pi * max(SIDES) * field.pixel_size_um * true.sum(1, keepdim=True)
    off = torch.exp(1j * (seen - drawn))
    mean = off.mean(1, keepdim=True)
    modulation = found.modulation / field.stripes.modulation[::phases] - 1
    worst = {
        "period": 100 * (true.norm(dim=1) / wave.norm(dim=1) - 1),
        "angle": torch.rad2deg(torch.angle(torch.exp(1j * angle))),
        "phase": torch.rad2deg(torch.angle(mean)),
        "steps": torch.rad2deg(torch.angle(off / mean)),
        "modulation": 100 * modulation[:, -1],
    }
    if modulation.shape[1] > 1:
        worst["first"] = 100 * modulation[:, 0]
    return {name: float(each.abs().max()) for name, each in worst.items()}


def measure(fields: int, levels: list[float]) -> dict[Key, list[dict[str, float] | None]]:
    """Every field's errors at every size and light level."""
    table: dict[Key, list[dict[str, float] | None]] = {}
    for beams in BEAMS:
        for photons in levels:
            for index in range(fields):
                field = taken(beams, index, photons)
                for side in SIDES:
                    table.setdefault((beams, side, photons), []).append(measured(field, beams, side))
            for side in SIDES:
                print(beams, "beams", row((beams, side, photons), table[beams, side, photons]), flush=True)
    return table


def right(rows: list[dict[str, float] | None]) -> list[dict[str, float]]:
    """Fields whose vectors were found."""
    return [each for each in rows if each is not None and max(each["period"], each["angle"]) < WRONG]


def row(key: Key, rows: list[dict[str, float] | None]) -> str:
    """One line of the page's tables."""
    good = right(rows)
    wrong = sum(each is not None for each in rows) - len(good)
    cells = [f"{key[1]}", f"{key[2]:g}", f"{len(good)} / {wrong}"]
    for name, limit in LIMITS.items():
        values = sorted(each[name] for each in good if name in each)
        if not values:
            cells.append("")
            continue
        within = f" ({sum(value < limit for value in values)})" if math.isfinite(limit) else ""
        digits = 3 if limit < 1 else 1
        cells.append(f"{np.median(values):.{digits}f}, {values[-1]:.{digits}f}{within}")
    return f"| {' | '.join(cells)} |"


def draw(table: dict[Key, list[dict[str, float] | None]], path: Path) -> None:
    """A row of beams, a column of errors, over the field's side; dots are fields, lines their medians."""
    names = [name for name in LIMITS if math.isfinite(LIMITS[name])]
    levels = list(dict.fromkeys(photons for _, _, photons in table))
    figure = new_figure(3.4 * len(names), 2.9 * len(BEAMS), dpi=120)
    for r, beams in enumerate(BEAMS):
        for c, name in enumerate(names):
            axes = figure.add_subplot(len(BEAMS), len(names), r * len(names) + c + 1, facecolor=BACKGROUND)
            for k, photons in enumerate(levels):
                color = COLORS[k % len(COLORS)]
                spread = 1.06 ** (k - (len(levels) - 1) / 2)
                values = [[each[name] for each in right(table[beams, side, photons])] for side in SIDES]
                for side, each in zip(SIDES, values, strict=True):
                    axes.plot([side * spread] * len(each), each, ".", color=color, markersize=3, alpha=0.5)
                medians = [float(np.median(each)) if each else math.nan for each in values]
                at = [side * spread for side in SIDES]
                axes.plot(at, medians, color=color, marker="o", markersize=4, label=f"{photons:g} photons")
            axes.axhline(LIMITS[name], color="#e57373", linewidth=1, linestyle="--")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(SIDES, [str(side) for side in SIDES])
            axes.set_title(f"{beams} beams" if c == 0 else "", color=INK, fontsize=9, loc="left")
            axes.set_xlabel("pixels along each side" if r else "", color=INK, fontsize=8)
            axes.set_ylabel(HEADINGS[name], color=INK, fontsize=8)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(colors=FAINT, labelsize=7, which="both")
            for spine in axes.spines.values():
                spine.set_color(FAINT)
            if r == 0 and c == 0:
                axes.legend(loc="upper right", fontsize=7, facecolor=BACKGROUND, labelcolor=INK, edgecolor=FAINT)
    figure.tight_layout()
    save_png(figure, path)


def page(table: dict[Key, list[dict[str, float] | None]], fields: int) -> str:
    """The tables and how they were made, as Markdown."""
    parts, levels = [], list(dict.fromkeys(photons for _, _, photons in table))
    for beams, (_, phases) in BEAMS.items():
        headings = ["side (pixels)", "photons", "right / wrong", *HEADINGS.values()]
        parts += [
            f"{beams} beams, {3 * phases} frames:\n",
            f"| {' | '.join(headings)} |",
            "|---:" * len(headings) + "|",
        ]
        parts += [row((beams, side, photons), table[beams, side, photons]) for side in SIDES for photons in levels]
        parts += [""]
    given = " ".join(f"{photons:g}" for photons in levels)
    return PAGE.format(tables="\n".join(parts), fields=fields, levels=given)


PAGE = """\
# How well stripes are measured

![errors over the size of the field](sim_parameters.png)

{fields} simulated microscopes and specimens of each number of beams, which no test or recipe has drawn: half of them
thin with little haze, half in up to 6 um of dense cell under haze; microtubules, actin, mitochondria, vesicles and
nuclei. Every microscope has angle errors, uneven phases (up to 6 degrees a frame), bleaching, a specimen that drifts by
up to 3 nm from frame to frame, aberrations, and a lens of which only aperture and wavelength are told.

Each cell: median, worst (how many are within the limit: 0.1 % of the period, 0.05 degrees of the angle, 2 degrees of
the phases). Of each field the worst of its three directions counts, and of the phase steps the worst of all frames.

{tables}
- *Photons* of a raw frame where the specimen is brightest. At 10,000 next to nothing is noise.
- *Right / wrong*: fields whose vectors are right to 2 %, and those where a chance peak passes for them; the others are
  refused, as their stripes do not stand out.
- *Phase*: of a direction's stripes at the middle of the field, mean of its frames; *phase steps*: by how much single
  frames differ from that mean. Against the camera, where the stripes stand still; it is the specimen that drifts.
- *By the light*: how surely the photons tell a direction's phase, and a single frame's step, as standard deviations
  (Cramer-Rao bounds, `light_limits_deg` in the tool): the step where nothing is known of specimen and lens, the phase
  where nothing but noise makes order 1 differ from order 0, which light out of focus does too. The worst of three
  directions is usually 1.5 times that, the worst of 9 or 15 frames twice; what is beyond is the method's. In dim light
  errors of steps may be less, as steps are taken to be as even as their errors allow.
- *Modulation* against that of the light in focus. The highest order's stripes are the same at all heights; the *first
  of two* (three beams) fade and turn over out of focus, so a thick specimen's light shows less of them than its plane
  in focus does. The frames hold no more: without the specimen's heights and haze (`thickness=0.01`, `haze=0`, four
  fields of another seed, 256 pixels) the first is found to 1 to 8 % and the second to 1 to 3 %.

Made by `python tools/sim_parameters.py --photons {levels}`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--fields", type=int, default=12, help="of each number of beams")
    parser.add_argument("--photons", type=float, nargs="+", default=LEVELS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(arguments.fields, arguments.photons)
    draw(table, arguments.out / "sim_parameters.png")
    (arguments.out / "sim_parameters.md").write_text(page(table, arguments.fields), encoding="utf-8")


if __name__ == "__main__":
    main()
