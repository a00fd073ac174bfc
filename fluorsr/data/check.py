"""Check a set of pairs before anything is trained on it: every pair is looked at, and all faults are told together.

    opens         a partner, a readable file, no colour picture, a size that fits the scale, the set's frames and scale
    pixels        finite, not all one value, not burnt out
    belongs       shows the specimen of its partner, at the same place, and the target is the sharper of the two
    set           no field of view, and no picture, in two splits

Faults make a set unusable; warnings do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fluorsr.data.findings import Finding, Measured, Report
from fluorsr.data.judge import MAX_SHIFT_PX, judge
from fluorsr.data.listing import Listing, find_pairs
from fluorsr.data.pairs import Pair, open_listing
from fluorsr.data.sharpness import all_inputs_sharper
from fluorsr.data.survey import Survey, survey
from fluorsr.errors import FluorsrError, InputError

Progress = Callable[[int, int], None]


def check_pairs(
    path: str | Path,
    *,
    scale: int | None = None,
    max_shift_px: float = MAX_SHIFT_PX,
    progress: Progress = lambda done, of: None,
) -> Report:
    """Check all pairs at `path` (see `fluorsr.data.listing`). Nothing is changed; one pair is in memory at a time.

    scale          what every pair must have; that of most pairs where None
    max_shift_px   shift of the target in input pixels beyond which a pair is at fault; inf where it will be corrected
    progress       called with how many pairs are done, and of how many

    Raises NotFoundError and FormatError where `path` holds no pairs, and InputError for a faulty list; all else is in
    the report.
    """
    listings = find_pairs(path)
    findings: list[Finding] = []
    pairs: list[Pair] = []
    for listing in listings:
        try:
            pairs += open_listing(listing)
        except FluorsrError as error:
            rule = "missing" if listing.fault else _rule(error)
            findings.append(Finding(listing.name, _named(listing.files, error), rule, True, str(error)))
    findings += _odd_ones(pairs, scale)
    measured: list[Measured] = []
    digests: dict[str, tuple[str, str]] = {}
    for number, pair in enumerate(pairs):
        progress(number, len(pairs))
        files = (pair.input_path, pair.target_path)
        try:
            inputs = [survey(pair.input, plane) for plane in pair.input_planes]
            target = survey(pair.target, pair.target_plane, pair.scale)
            one, found = judge(pair, inputs, target, max_shift_px)
        except FluorsrError as error:
            findings.append(Finding(pair.name, _named(files, error), _rule(error), True, str(error)))
            continue
        measured.append(one)
        findings += found
        digests[pair.name] = _digest(inputs), target.digest
    findings = _together(measured, findings)
    findings += _leaks(listings) + _copies([one.pair for one in measured], digests)
    progress(len(pairs), len(pairs))
    order = {listing.name: number for number, listing in enumerate(listings)}
    findings.sort(key=lambda finding: order.get(finding.pair.partition("#")[0], -1))
    return Report(Path(path), len(listings), tuple(findings), tuple(measured))


def _together(measured: list[Measured], findings: list[Finding]) -> list[Finding]:
    """Where single pairs are too dim to tell which image is the sharper, all pairs together may tell."""
    verdicts = [(one.pair.name, one.sharpness) for one in measured if one.sharpness is not None]
    unclear = {name for name, sharp in verdicts if sharp.verdict == "unclear"}
    if not unclear or any(sharp.verdict == "target" for _, sharp in verdicts):
        return findings
    if not all_inputs_sharper([sharp for _, sharp in verdicts]):
        return findings
    text = "; all pairs of the set together tell that its inputs are the sharper ones: swap input and target"
    return [
        replace(one, rule="swapped", fault=True, message=one.message.removesuffix("; look at the two") + text)
        if one.rule == "unclear" and one.pair in unclear
        else one
        for one in findings
    ]


def _rule(error: FluorsrError) -> str:
    return "unfit" if isinstance(error, InputError) else "unreadable"


def _named(files: tuple[Path, ...], error: FluorsrError) -> tuple[Path, ...]:
    """Those of the files that the message names; all of them where it names none."""
    return tuple(file for file in files if str(file) in str(error)) or files


def _digest(surveys: Iterable[Survey]) -> str:
    return " ".join(one.digest for one in surveys)


def _odd_ones(pairs: list[Pair], scale: int | None) -> list[Finding]:
    """Pairs whose scale, frames or pixel types are not those of the others."""
    if not pairs:
        return []
    findings = []
    scale = scale or Counter(pair.scale for pair in pairs).most_common(1)[0][0]
    frames = Counter(pair.frames for pair in pairs).most_common(1)[0][0]
    dtypes = [
        Counter(image.dtype.name for image in images).most_common(1)[0][0]
        for images in ([pair.input for pair in pairs], [pair.target for pair in pairs])
    ]
    for pair in pairs:
        if pair.scale != scale:
            message = (
                f"{pair.target_path} has {pair.scale} times the pixels of its input {pair.input_path} along y and x, "
                f"but the set's scale is {scale}; a set has one scale: resample it or take it out"
            )
            findings.append(Finding(pair.name, (pair.input_path, pair.target_path), "scale", True, message))
        if pair.frames != frames:
            message = (
                f"{pair.input_path} has {pair.frames} frames, the other inputs have {frames}; a set has one number of "
                "frames: take it out or record it alike"
            )
            findings.append(Finding(pair.name, (pair.input_path,), "frames", True, message))
        for path, image, usual in zip(
            (pair.input_path, pair.target_path), (pair.input, pair.target), dtypes, strict=True
        ):
            if image.dtype.name != usual:
                message = f"{path} is {image.dtype.name}, most others are {usual}: was it rescaled at export?"
                findings.append(Finding(pair.name, (path,), "dtype", False, message))
        findings += _pixel_sizes(pair)
    return findings


def _pixel_sizes(pair: Pair) -> list[Finding]:
    own, other = pair.input.pixel_size_um.get("x"), pair.target.pixel_size_um.get("x")
    if own is None or other is None or abs(own / (other * pair.scale) - 1) < 0.02:
        return []
    message = (
        f"{pair.input_path} has pixels of {1000 * own:.4g} nm and {pair.target_path} of {1000 * other:.4g} nm, which "
        f"does not fit their scale {pair.scale}; correct the pixel size in one of them"
    )
    return [Finding(pair.name, (pair.input_path, pair.target_path), "pixel-size", False, message)]


def _leaks(listings: Iterable[Listing]) -> list[Finding]:
    """Fields of view that are in more than one split."""
    splits: dict[str, dict[str, Listing]] = {}
    for listing in listings:
        splits.setdefault(listing.fov, {}).setdefault(listing.split, listing)
    findings = []
    for fov, found in splits.items():
        if len(found) > 1:
            last = list(found.values())[-1]
            names = ", ".join(one.name for one in found.values())
            message = (
                f"the field of view {fov} is in {' and '.join(found)} (as {names}); "
                "what is tested must never have been trained on: keep a field in one split"
            )
            findings.append(Finding(last.name, last.files, "leak", True, message))
    return findings


def _copies(pairs: Iterable[Pair], digests: Mapping[str, tuple[str, str]]) -> list[Finding]:
    """Images with the very same pixels: in two splits a fault, in one a warning."""
    findings = []
    first: dict[str, tuple[Pair, Path]] = {}
    for pair in pairs:
        for digest, path in zip(digests[pair.name], (pair.input_path, pair.target_path), strict=True):
            other, where = first.setdefault(digest, (pair, path))
            if where == path:
                continue
            fault = other.split != pair.split or other.name == pair.name
            message = f"{path} has the very pixels of {where}; take one of them out"
            findings.append(Finding(pair.name, (where, path), "copy", fault, message))
    return findings
