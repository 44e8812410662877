"""Compare a results folder with its ``provenance.json`` and name what differs.

``python -m workflow.verify results/demo`` exits with 0 if every file is as it was written, with 1 if one was
changed, is missing or was added. The folder may have been moved or copied from elsewhere.
"""

import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.json_files import read_json
from workflow.provenance.files import FILE, hash_files, listed


@dataclass(frozen=True)
class Differences:
    """Relative paths that differ from the list, each group in order."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)


def read_outputs(results: Path) -> dict[str, str]:
    """Return relative path -> sha256, as ``provenance.json`` lists it.

    Raises:
        BadInput: there is no such file or it lists no files of this folder.
    """
    path = results / FILE
    again = "make it again with workflow.provenance"
    outputs: dict[str, str] = read_json(path, damaged=again, fields={"outputs": dict[str, str]})["outputs"]
    for name in outputs:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise BadInput(
                f"{path}: outputs lists {name!r}, which is outside the folder; make the file again"
            )
    return outputs


def compare(results: Path) -> Differences:
    """Hash a results folder anew and compare it with its list.

    Raises:
        BadInput: the folder or its list is missing or damaged.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    expected = read_outputs(results)
    present = set(listed(results))
    found = hash_files(results, sorted(present & set(expected)))
    return Differences(
        changed=tuple(name for name, sha256 in found.items() if sha256 != expected[name]),
        missing=tuple(sorted(set(expected) - present)),
        extra=tuple(sorted(present - set(expected))),
    )


@command
def verify(results: Annotated[Path, "folder of an experiment, such as results/demo"], /) -> None:
    """Print what differs; the exit status is 1 if anything does."""
    differences = compare(results)
    for word in ("changed", "missing", "extra"):
        for name in getattr(differences, word):
            sys.stdout.write(f"{word:8}{name}\n")
    if differences:
        counts = ", ".join(f"{len(getattr(differences, w))} {w}" for w in ("changed", "missing", "extra"))
        sys.exit(f"{results} differs from its {FILE}: {counts}")
    sys.stdout.write(f"{results}: all {len(read_outputs(results))} files are as listed\n")
