"""Compare a results folder with its ``provenance.json`` and name what differs.

``python -m workflow.verify results/demo`` exits with 0 if every file is as it was written, with 1 if one was
changed, is missing or was added. Leftovers of another configuration, which the list names and does not count
as results, are named here too. Shared files of the list (results/shared) are compared where their folder is
there, and it is said where it is not. The folder may have been moved or copied from elsewhere, and may be
hostile: only regular files that the list names are read, and names are printed so that they stay within their
line.

With ``--part`` the folder may hold some of the files of its list, as results/reference does in Git: those
that are here are compared, the others counted.

With ``--share`` it names instead what tells of places, users, hosts, logins or patients in any file of the
folder, listed or not, and exits with 1 if anything does.

Not covered: who made the list, which has no signature; whether the numbers are right; and logs/, benchmarks/,
resume/, tensorboard/, weights/, gpu/, README.md, report.html, report.zip, ro-crate-metadata.json and names
that begin with a dot.
"""

import sys
from pathlib import Path, PurePosixPath
from typing import Annotated

from data_prep.errors import BadInput, printable
from data_prep.io.command import command, exclusive
from data_prep.prepare.places import SHARED, shared_folder
from workflow.provenance.files import FILE, hash_files, listed, read_list


def compare(results: Path) -> dict[str, list[str]]:
    """Hash a results folder anew and return the paths that differ from its list, each group in order.

    Raises:
        BadInput: the folder or its list is missing or damaged.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    expected, disowned, shared = read_list(results)
    present = set(listed(results))
    left = {name for name in present for other in disowned if f"{name}/".startswith(f"{other}/")}
    both = sorted(present & set(expected))
    found = hash_files(results, [name for name in both if (results / name).is_file()])
    differences = {
        "changed": [name for name in both if found.get(name) != expected[name]],
        "missing": sorted(set(expected) - present),
        "extra": sorted(present - set(expected) - left),
        "leftover": [name for name in disowned if (results / name).exists()],
    }
    return _with_shared(differences, shared_folder(results), shared)


def _with_shared(
    differences: dict[str, list[str]], folder: Path, expected: dict[str, str]
) -> dict[str, list[str]]:
    """Add what differs in the shared folder; "absent" are its folders that are not here at all."""
    absent = sorted({place for place in map(_place, expected) if not (folder / place).is_dir()})
    here = sorted(name for name in expected if _place(name) not in absent)
    there = [name for name in here if (folder / name).is_file()]
    found = hash_files(folder, there)
    changed = [name for name in there if found[name] != expected[name]]
    missing = sorted(set(here) - set(there))
    for word, names in (("changed", changed), ("missing", missing)):
        differences[word] += [f"../{folder.name}/{name}" for name in names]
    return differences | {"absent": [f"../{folder.name}/{place}" for place in absent]}


def _compared(results: Path, absent: list[str]) -> int:
    """Count the files of the list that are here."""
    expected = read_list(results)
    gone = {place.split("/", 2)[2] for place in absent}
    return len(expected.outputs) + sum(_place(name) not in gone for name in expected.shared)


def _place(name: str) -> str:
    """Return the folder of a shared file that experiments have as a whole or not."""
    return "/".join(PurePosixPath(name).parts[: 1 if name.startswith("donors/") else 2])


def print_private(results: Path) -> None:
    """Print what is private in a folder, a line for each kind in each file; exit with 1 if anything is.

    Raises:
        BadInput: there is no such folder.
    """
    # Imported here: the comparison needs no readers of files.
    from workflow.provenance.sharing import find_private

    shown, (found, files) = printable(str(results)), find_private(results)
    for entry in found:
        more = f" and {entry.more} more" if entry.more else ""
        sys.stdout.write(f"{printable(entry.file)}: {entry.kind} {entry.example}{more}\n")
    if found:
        sys.exit(
            f"{shown}: {len({entry.file for entry in found})} of {files} files tell of places or persons"
        )
    sys.stdout.write(f"{shown}: nothing of that kind found in {files} files; see docs/reproducibility.md\n")


@command
def verify(
    results: Annotated[Path, "folder of an experiment, such as results/demo"],
    /,
    share: Annotated[bool, "name what is private: places, users, hosts, logins, ids of patients"] = False,
    part: Annotated[bool, "the folder holds a part of what it lists; count what is not here"] = False,
) -> None:
    """Print what differs; the exit status is 1 if anything does, leftovers apart."""
    exclusive({"--share": share, "--part": part})
    if share:
        print_private(results)
        return
    differences, shown = compare(results), printable(str(results))
    absent = differences.pop("absent")
    elsewhere = len(differences.pop("missing")) if part else 0
    for word, names in differences.items():
        sys.stdout.writelines(f"{word:8} {printable(name)}\n" for name in names)
    leftover = differences.pop("leftover")
    if any(differences.values()):
        counts = ", ".join(f"{len(names)} {word}" for word, names in differences.items())
        sys.exit(f"{shown} differs from its {FILE}: {counts}")
    compared = _compared(results, absent) - elsewhere
    if not compared:
        raise BadInput(f"{shown}: none of the files that its {FILE} lists is here; give their folder")
    said = f"all {compared} files are as listed"
    if elsewhere:
        said = f"{compared} files are as listed, {elsewhere} others are not here"
    if leftover:
        said += f"; {len(leftover)} leftovers of another configuration are no results of this one"
    sys.stdout.write(f"{shown}: {said}\n")
    if absent:
        sys.stdout.write(f"not covered: {len(absent)} folders of {SHARED}/, which are not here\n")
    sys.stdout.write("not covered: who made the list, and files that differ from run to run (see --help)\n")
