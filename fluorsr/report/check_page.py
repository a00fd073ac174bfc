"""A check on one page: the verdict in words, and the map."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from fluorsr.errors import StorageError
from fluorsr.evaluate.check import Check
from fluorsr.report.figures import Panel, contrast_window, draw_panel, draw_row, new_figure, save_png

MARKS = {"fine": "ok", "warning": "WARNING", "unknown": "unknown"}
WORDS = {
    "rsp": ("correlation with the input, blurred back (RSP)", "{:.3f}"),
    "rse": ("error of it, in the input's counts (RSE)", "{:.2f}"),
    "disagreement_over_noise": ("that error over the noise", "{:.2f}"),
    "fitted_blur_nm": ("blur that leads back to the input", "{:.0f} nm"),
    "unsupported_light": ("light where the camera saw none", "{:.2%}"),
    "missing_light": ("light of the camera that is missing", "{:.2%}"),
    "slope": ("input's light per restored light", "{:.3f}"),
    "intercept": ("and offset, in counts", "{:.2f}"),
    "curvature": ("greatest deviation from proportion", "{:.1%}"),
    "resolution_before_nm": ("resolution before (decorrelation)", "{:.0f} nm"),
    "resolution_after_nm": ("resolution after (decorrelation)", "{:.0f} nm"),
    "resolution_before_frc_nm": ("resolution before (one-image FRC)", "{:.0f} nm"),
    "finest_in_input_nm": ("finest detail above the input's noise", "{:.0f} nm"),
    "power_kept": ("least power kept up to there", "{:.0%}"),
    "uncertain_light": ("light where samples differ by more than half", "{:.1%}"),
    "seam_score": ("score of tile borders", "{:.1f}"),
}


def to_markdown(found: Check) -> str:
    """The page as Markdown: verdict, tests, figures."""
    count = len(found.warnings)
    head = "no warnings" if not count else f"{count} warning{'s' if count > 1 else ''}"
    lines = [f"# Check of {found.output}: {head}", ""]
    lines += [f"Made from {found.source}; {found.plane}; scale {found.scale}.", ""]
    lines += ["## Can be trusted", "", *(f"- {line}" for line in found.trusted or ("Nothing.",)), ""]
    lines += ["## Cannot be trusted", "", *(f"- {line}" for line in found.doubted), ""]
    lines += ["## Tests", "", "| | test | found |", "|---|---|---|"]
    lines += [f"| {MARKS[one.status]} | {one.rule} | {one.message} |" for one in found.findings]
    lines += ["", "## Figures", "", "| figure | value |", "|---|---:|"]
    for key, (name, form) in WORDS.items():
        value = found.figures[key]
        lines.append(f"| {name} | {form.format(value) if math.isfinite(value) else 'cannot be told'} |")
    return "\n".join(lines) + "\n"


def write_check(found: Check, folder: Path) -> tuple[Path, Path]:
    """Write check.md and check.png into a folder; returns both. Raises StorageError."""
    page, picture = folder / "check.md", folder / "check.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(to_markdown(found), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}; choose another with --out") from error
    draw_check(found, picture)
    return page, picture


def draw_check(found: Check, path: Path) -> None:
    """Draw input, restored, what it looks like blurred back, and where the two disagree. Raises StorageError."""
    height, width = found.image.shape
    size = found.pixel_size_um or 1.0
    extent = height * size, width * size
    inches = 1.0 + 10.5 / 4 * height / width
    figure = new_figure(11.0, inches)
    row = figure.subplots(1, 4)
    figure.subplots_adjust(left=0.01, right=0.99, wspace=0.03, top=1 - 0.35 / inches, bottom=0.6 / inches)
    image, seen, restored = (each.numpy() for each in (found.image, found.seen, found.restored))
    window = contrast_window(image)
    draw_row(row[:1], [Panel(image, "input")], extent, window)
    draw_row(row[1:2], [Panel(restored, "restored")], extent, contrast_window(restored))
    caption = f"RSP {found.figures['rsp']:.3f}, error {found.figures['disagreement_over_noise']:.2f} times the noise"
    draw_row(row[2:3], [Panel(seen, "restored, blurred back", caption)], extent, window)
    limit = max(10.0, float(np.quantile(np.abs(found.disagreement.numpy()), 0.9999)))
    caption = f"blue: in the restored image only, red: in the input\nonly; full colour at {limit:.0f} times the noise"
    panel = Panel(found.disagreement.numpy(), "disagreement", caption)
    draw_panel(row[3], panel, extent, (-limit, limit), "coolwarm")
    if bool(found.invented.any()):
        places = found.invented.numpy().astype(float)
        row[3].contour(places, levels=[0.5], extent=(0, extent[1], 0, extent[0]), colors="black", linewidths=0.7)
    save_png(figure, path)
