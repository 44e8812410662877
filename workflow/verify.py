"""Compare a results folder with its ``provenance.json`` and name what differs.

``python -m workflow.verify results/demo`` exits with 0 if every file is as it was written, with 1 if one was
changed, is missing or was added. Leftovers of another configuration, which the list names and does not count
as results, are named here too. The folder may have been moved or copied from elsewhere.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_prep.errors import BadInput, run_command
from data_prep.io.json_files import read_json
from workflow.provenance.files import FILE, hash_files, listed


@dataclass(frozen=True)
class Differences:
    """Relative paths that differ from the list, each group in order; ``leftover``: what it disowns."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    leftover: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)


def read_outputs(results: Path) -> tuple[dict[str, str], list[str]]:
    """Return relative path -> sha256, as ``provenance.json`` lists it, and what it names as left over.

    Raises:
        BadInput: there is no such file or it lists no files of this folder.
    """
    path = results / FILE
    again = "make it again with workflow.provenance"
    content = read_json(path, damaged=again, fields={"outputs": dict[str, str]})
    outputs: dict[str, str] = content["outputs"]
    for name in outputs:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise BadInput(
                f"{path}: outputs lists {name!r}, which is outside the folder; make the file again"
            )
    return outputs, content.get("leftovers", [])


def compare(results: Path) -> Differences:
    """Hash a results folder anew and compare it with its list.

    Raises:
        BadInput: the folder or its list is missing or damaged.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    expected, disowned = read_outputs(results)
    present = set(listed(results))
    left = {name for name in present for other in disowned if f"{name}/".startswith(f"{other}/")}
    found = hash_files(results, sorted(present & set(expected)))
    return Differences(
        changed=tuple(name for name, sha256 in found.items() if sha256 != expected[name]),
        missing=tuple(sorted(set(expected) - present)),
        extra=tuple(sorted(present - set(expected) - left)),
        leftover=tuple(name for name in disowned if (results / name).exists()),
    )


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.verify", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of an experiment, such as results/demo")
    arguments = parser.parse_args()
    differences = compare(arguments.results)
    for word in ("changed", "missing", "extra", "leftover"):
        for name in getattr(differences, word):
            sys.stdout.write(f"{word:8} {name}\n")
    if differences:
        counts = ", ".join(f"{len(getattr(differences, w))} {w}" for w in ("changed", "missing", "extra"))
        sys.exit(f"{arguments.results} differs from its {FILE}: {counts}")
    said = f"all {len(read_outputs(arguments.results)[0])} files are as listed"
    if differences.leftover:
        said += f"; {len(differences.leftover)} leftovers of another configuration are no results of this one"
    sys.stdout.write(f"{arguments.results}: {said}\n")


if __name__ == "__main__":
    run_command(main)
