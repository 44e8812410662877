"""Scans that are not taken because their names are of another form; only names are looked at."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.datasets.contract import FIELD, SUBJECT, Dataset, Finding, patterns_of, searched

_ALPHABET = "with A-Z, a-z, 0-9, _ and - alone for {subject}"


def misnamed(dataset: Dataset, root: Path) -> list[Finding]:
    """Return a finding for each subject whose scans are not taken because of their names, in their order.

    None where the dataset locates its scans in a way of its own, of which nobody knows what it passes over,
    and does not tell.
    """
    if dataset.misnamed is not None:
        found = dataset.misnamed(root)
    elif dataset.locate is None:
        found = misnamed_by_names(root, [(dataset.target_file, dataset.auxiliary_file)])
    else:
        return []
    how = f"{dataset.form}, {_ALPHABET}" if FIELD in dataset.form else dataset.form
    reason = f"not taken because of its name, which is not as in {how}; rename it, or move it elsewhere"
    return [
        Finding(name, "excluded", reason, tuple(path.relative_to(root).as_posix() for path in paths))
        for name, paths in found.items()
    ]


def misnamed_by_names(root: Path, forms: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[Path]]:
    """Find visible files that end as scans do, but match no pattern: by the rest of their names, sorted.

    What lies in or below the folder of a subject whose scans are taken was made of them.

    Args:
        root: folder of the scans.
        forms: as of ``scans_by_names``.
    """
    patterns = patterns_of(forms)
    ends = {form[which].rpartition(FIELD)[2].lower() for form in forms for which in (0, 1)}
    own: set[Path] = set()
    others: dict[Path, str] = {}
    for path in searched(root, forms):
        name = path.relative_to(root).as_posix()
        taken = [form[which] for which, form, pattern in patterns if pattern.fullmatch(name)]
        if any(FIELD in form.rpartition("/")[0] for form in taken):
            own.add(path.parent)
        end = max((end for end in ends if name.lower().endswith(end)), key=len, default=None)
        if not taken and end is not None and not f"/{name}".count("/.") and not path.is_dir():
            rest = name[: len(name) - len(end)]
            # Of a copy in a folder of another name, the whole: the id alone would be the subject's own.
            others[path] = (rest if re.fullmatch(SUBJECT, Path(rest).name) else Path(rest).name) or name
    found: dict[str, list[Path]] = {}
    for path, subject in sorted(others.items()):
        if own.isdisjoint(path.parents):
            found.setdefault(subject, []).append(path)
    return found
