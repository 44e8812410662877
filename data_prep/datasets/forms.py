"""What a folder holds in place of a dataset's published form, and what mends it; only names are looked at."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from data_prep.datasets.contract import Dataset, Scans, discover
from data_prep.datasets.misnamed import misnamed
from data_prep.errors import BadInput
from data_prep.volumes import absence

# As Dataset.other_forms, for all datasets.
_COMMON = {
    "*.tar": "not unpacked; run tar -xf {path} -C {root}",
    "*.tar.*": "not unpacked; run tar -xf {path} -C {root}",
    "*.tgz": "not unpacked; run tar -xf {path} -C {root}",
    "*.zip": "not unpacked; run unzip {path} -d {root}",
    "sub-*": (
        "BIDS, which goes by other names; give the scans the published names, by links for example, or make "
        "them a dataset of their own (docs/adding_a_dataset.md)"
    ),
}
_MOST_NAMES, _MOST_FOLDERS = 4, 50


def fault(dataset: Dataset, subject: str, scans: Scans) -> str:
    """Say which scan of a subject is missing or there twice; empty if none is."""
    for path in map(Path, (scans.target, scans.auxiliary)):
        if said := absence(path, f"subject {subject} has no such scan; add the file"):
            return said
        if others := dataset.twins(path):
            return f"{path}: {others[0]} is the same scan of subject {subject}; keep one of the two"
    return ""


def unfilled(dataset: Dataset, found: Mapping[str, Scans]) -> str:
    """Say which published split has too few subjects for its splits, one each; empty if none has."""
    for pool, splits in dataset.pools.items():
        members = {subject: scans for subject, scans in found.items() if scans.split_hint == pool}
        sound, example = 0, ""
        for subject, scans in members.items():
            said = fault(dataset, subject, scans)
            sound, example = sound + (not said), example or said
            if sound == len(splits):
                break
        else:
            of = f"{len(members)} subjects" + (f" of {pool}" if pool else "")
            seen = f" ({example})" if example else ""
            return f"{sound or 'none'} of {of} can fill {', '.join(splits)}{seen}"
    return ""


def advice(folder: Path, sought: Sequence[Dataset], lists: Mapping[str, Path] | None = None) -> str:
    """Say what lies in a folder and one level down in place of scans, and what to do about each.

    Args:
        folder: where scans of the published form were looked for.
        sought: the datasets they could be of.
        lists: of their subjects.
    """
    if not folder.is_dir():
        return "there is no such folder"
    said = [*_elsewhere(folder, sought, lists or {}), *_otherwise(folder, sought), *_misnamed(folder, sought)]
    if not said:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        said = [f"it holds {_some(names)}" if names else "it is empty"]
    return "; ".join(said)


def nothing_in(folder: Path, sought: Sequence[Dataset], lists: Mapping[str, Path] | None = None) -> BadInput:
    """Return the error of a folder without any scan; see ``advice``."""
    expected = " or ".join(f"{dataset.label} ({dataset.form})" for dataset in sought)
    return BadInput(f"{folder}: no scans of {expected} here; {advice(folder, sought, lists)}")


def _elsewhere(folder: Path, sought: Sequence[Dataset], lists: Mapping[str, Path]) -> Iterator[str]:
    """Yield in which folder nearby the scans are, and what other dataset's are here."""
    below = (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith("."))
    near = [folder.parent, *islice(below, _MOST_FOLDERS)]
    for dataset in sought:
        for place in near:
            # Above only from among a dataset's scans: else it could be anything, and large.
            if (place != folder.parent or _found(dataset, folder)) and not unfilled(
                dataset, _found(dataset, place, lists)
            ):
                yield f"the scans of {dataset.label} are in {place}: point datasets.{dataset.id}.root there"
    for _, other in discover().values():
        if other not in sought and _found(other, folder):
            yield f"it holds scans of {other.label}: configure datasets.{other.id}"


def _found(dataset: Dataset, folder: Path, lists: Mapping[str, Path] | None = None) -> Mapping[str, Scans]:
    try:
        return dataset.scans(folder, lists)
    except BadInput:
        return {}


def _otherwise(folder: Path, sought: Sequence[Dataset]) -> Iterator[str]:
    """Yield what is in another form."""
    # What is taken for scans is in the published one, whatever pattern its names have too.
    taken = [
        Path(path)
        for dataset in sought
        for scans in _found(dataset, folder).values()
        for path in (scans.target, scans.auxiliary)
    ]
    seen = {place for path in taken for place in (path, *path.parents)}
    forms = [*(form for dataset in sought for form in dataset.other_forms.items()), *_COMMON.items()]
    for pattern, what in forms:
        paths = [path for above in ("", "*/") for path in sorted(folder.glob(above + pattern))]
        if new := [path for path in paths if path not in seen]:
            seen.update(new)
            names = _some([path.relative_to(folder).as_posix() for path in new])
            yield f"{names}: {_filled_in(what, new[0])}"


def _filled_in(what: str, path: Path) -> str:
    """Put path and root into an advice; what else stands in braces, such as {subject}, is to be read."""
    places = {"path": path, "root": path.parent}
    return re.sub(r"\{(path|root)}", lambda match: shlex.quote(str(places[match[1]])), what)


def _misnamed(folder: Path, sought: Sequence[Dataset]) -> Iterator[str]:
    """Yield what would be scans by other names."""
    for dataset in sought:
        if found := misnamed(dataset, folder):
            yield f"{_some([file for finding in found for file in finding.files])}: {found[0].reason}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
