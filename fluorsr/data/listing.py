"""Pairs of images on disk, found by name; nothing is opened yet.

    DIR/train/input/cell1.tif      DIR/input/cell1.tif      cells.ome.zarr          list.csv
    DIR/train/target/cell1.tif     DIR/target/cell1.tif     cells_truth.ome.zarr    input,target,split,fov
    DIR/val/...  DIR/test/...

Names must be the same in both folders; suffixes may differ. Any format that `open_image` reads will do. Hidden files
and files of other kinds are passed over.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from fluorsr.data.store import truth_path
from fluorsr.errors import FormatError, InputError, NotFoundError
from fluorsr.io.open import TIFF_SUFFIXES

SPLITS = ("train", "val", "test")

_SUFFIX = re.compile(r"(\.ome)?(\.tiff?|\.zarr)$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """One pair as it was found.

    name    unique within the set, as in train/cell1;  split   one of SPLITS, or "" where the set is not split
    fov     the field of view: pairs that share it show the same part of the specimen
    input, target   None where there is no such file
    fault   why this is no pair, or ""
    """

    name: str
    split: str
    fov: str
    input: Path | None
    target: Path | None
    fault: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.input, self.target) if path is not None)


def find_pairs(path: str | Path) -> tuple[Listing, ...]:
    """List the pairs at `path`: a folder, a CSV list, or an image with its truth beside it. Opens none.

    Raises NotFoundError, FormatError where no layout is recognised, InputError for a list with faulty lines (all told).
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist; check the name")
    if path.suffix.lower() == ".csv" and path.is_file():
        return _from_list(path)
    if _is_image(path):
        return (_beside(path),)
    if not path.is_dir():
        raise FormatError(f"{path} is neither a folder of pairs nor a .csv list nor an image")
    splits = [name for name in SPLITS if (path / name).is_dir()]
    if splits:
        found = [pair for split in splits for pair in _from_folders(path / split, split)]
    elif (path / "input").is_dir() or (path / "target").is_dir():
        found = _from_folders(path, "")
    else:
        found = [_beside(image) for same in images_in(path).values() for image in same if truth_path(image).exists()]
    if not found:
        raise FormatError(
            f"{path} holds no pairs: fluorsr looks for train/input/*.tif and train/target/*.tif (and val, test), for "
            "input/ and target/, and for images with a truth beside them (cells.tif, cells_truth.tif); or give a .csv"
        )
    return tuple(found)


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in TIFF_SUFFIXES if path.is_file() else path.suffix.lower() == ".zarr"


def images_in(folder: Path) -> dict[str, list[Path]]:
    """Name without suffixes -> images of that name: one, unless a folder holds both a.tif and a.ome.zarr."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _is_image(path):
            found.setdefault(_SUFFIX.sub("", path.name), []).append(path)
    return found


def _from_folders(folder: Path, split: str) -> list[Listing]:
    sides = {side: images_in(folder / side) for side in ("input", "target")}
    found = []
    for name in sorted(sides["input"].keys() | sides["target"].keys()):
        label = f"{split}/{name}" if split else name
        files = {side: images.get(name, []) for side, images in sides.items()}
        fault = ""
        for side, paths in files.items():
            if len(paths) > 1:
                fault = f"{' and '.join(map(str, paths))} have one name; keep one of them"
            elif not paths:
                there = files["target" if side == "input" else "input"][0]
                fault = _no_partner(there, side, folder / side / there.name)
        one, other = (next(iter(files[side]), None) for side in ("input", "target"))
        found.append(Listing(label, split, label, one, other, fault))
    return found


def _no_partner(there: Path, side: str, expected: Path) -> str:
    return f"{there} has no {side}: {expected} does not exist; add it, or take {there.name} out"


def _beside(path: Path) -> Listing:
    truth = truth_path(path)
    name = _SUFFIX.sub("", path.name)
    if truth.exists():
        return Listing(name, "", name, path, truth)
    return Listing(name, "", name, path, None, _no_partner(path, "target", truth))


def _from_list(path: Path) -> tuple[Listing, ...]:
    """A list with the columns input and target, and where wanted split and fov; paths relative to the list."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read as a list: {error}; save it as CSV in UTF-8") from error
    unknown = sorted(set(columns) - {"input", "target", "split", "fov"})
    if not {"input", "target"} <= set(columns) or unknown or len(set(columns)) != len(columns):
        raise FormatError(
            f"{path} has the columns {', '.join(columns) or 'none'}; its first line must name input and target, and "
            "may name split and fov"
        )
    faults, found, seen = [], [], set[Path]()
    for number, row in enumerate(rows, start=2):
        cells = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        split, one, other = cells.get("split", ""), path.parent / cells["input"], path.parent / cells["target"]
        if not cells["input"] or not cells["target"] or None in row:
            faults.append(f"line {number} must hold {len(columns)} cells, with an input and a target")
        elif split not in ("", *SPLITS):
            faults.append(f"line {number}: the split is one of {', '.join(SPLITS)}, not {split!r}")
        elif one in seen:
            faults.append(f"line {number}: {one} is listed twice")
        seen.add(one)
        name = _SUFFIX.sub("", cells["input"])
        missing = [path for path in (one, other) if not path.exists()]
        fault = (
            f"line {number} of {path}: {' and '.join(map(str, missing))} not found; check the name" if missing else ""
        )
        there = [path if path.exists() else None for path in (one, other)]
        found.append(Listing(name, split, cells.get("fov") or name, there[0], there[1], fault))
    if not found:
        faults.append("it lists no pairs")
    if faults:
        raise InputError(f"{path}: " + "; ".join(faults))
    return tuple(found)
