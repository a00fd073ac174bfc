"""Reports as one HTML file: of a comparison, of a training run, of an inference output.

comparison.json + pictures --+
RUN/metrics.jsonl ... -------+--> Page (html_page.py) --> report.html  +  report_figures/*.svg, *.png
OUT.zarr/fluorsr ... --------+
"""

from __future__ import annotations

from pathlib import Path

from fluorsr.errors import InputError, NotFoundError
from fluorsr.evaluate.results import Comparison, read_comparison
from fluorsr.pipeline.journal import GROUP
from fluorsr.report.html_charts import Gallery
from fluorsr.report.html_comparison import comparison_page
from fluorsr.report.html_inference import inference_page
from fluorsr.report.html_page import write_page
from fluorsr.report.html_training import training_page
from fluorsr.train.log import METRICS

COMPARISON = "comparison.json"


def write_report(comparison: Comparison, path: str | Path, *, pictures: str | Path | None = None) -> Path:
    """Write a comparison's report to `path` and its charts into a folder beside it, NAME_figures; returns `path`.

    pictures   the folder that the comparison's picture paths start from; default the report's own
    Raises StorageError where the report cannot be written.
    """
    path = Path(path)
    page = comparison_page(comparison, Path(pictures) if pictures is not None else path.parent, Gallery.beside(path))
    write_page(page, path)
    return path


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of whatever `run` is, with its charts in a folder beside; returns the HTML file's path.

    run   the folder of a comparison (or its comparison.json), of a training run, or an OME-Zarr that was restored
    out   the HTML file; default `report.html` in the folder, beside an OME-Zarr NAME.report.html

    Raises NotFoundError where there is no `run`, InputError where it is none of the three, FormatError where it is
    damaged, StorageError where the report cannot be written.
    """
    run = Path(run)
    if not run.exists():
        raise NotFoundError(f"{run} does not exist; name a comparison, a training run or a restored OME-Zarr")
    if run.is_file() and run.name != COMPARISON:
        raise InputError(
            f"{run} is a file, and only a folder keeps a record to report on: restore to OME-Zarr instead of TIFF, "
            f"or name a folder with {COMPARISON} or {METRICS}"
        )
    folder = run if run.is_dir() else run.parent
    usual = folder.with_name(f"{folder.name}.report.html") if (folder / GROUP).is_dir() else folder / "report.html"
    path = Path(out) if out is not None else usual
    gallery = Gallery.beside(path)
    if (folder / COMPARISON).is_file():
        page = comparison_page(read_comparison(folder / COMPARISON), folder, gallery)
    elif (folder / METRICS).is_file():
        page = training_page(folder, gallery)
    elif (folder / GROUP).is_dir():
        page = inference_page(folder, gallery)
    else:
        raise InputError(
            f"{run} is nothing to report on: it holds neither {COMPARISON} (of fluorsr compare) nor {METRICS} (of "
            f"fluorsr train) nor the record {GROUP}/ (of fluorsr infer)"
        )
    write_page(page, path)
    return path
