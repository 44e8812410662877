"""Give a copied results folder the times back that its files had, so that nothing is made again.

Snakemake compares inputs above 1 MB by time alone, so after a copy that does not keep times (``cp -r``, a
download) it would make a part of the results again. ``python -m workflow.restore_times results/demo``, in the
repository's root, takes the times from Snakemake's records (``.snakemake/metadata``, copied too). If a file
is not as ``provenance.json`` lists it, nothing is done.
"""

import argparse
import os
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

from data_prep.errors import BadInput, run_command
from data_prep.io.json_files import read_json
from workflow.provenance.files import FILE
from workflow.verify import compare, read_outputs

RECORDS = Path(".snakemake/metadata")


def recorded_times(records: Path) -> dict[str, float]:
    """Return for each output, by its path below the repository's root, when it was written (Unix time).

    Raises:
        BadInput: there are no records, or one is damaged.
    """
    if not records.is_dir():
        raise BadInput(f"{records}: no such folder; copy it from where the results were made")
    found = {}
    for path in sorted(records.rglob("*")):
        if path.is_file():
            # Snakemake names a record by its output in base64; long names continue below folders with an @.
            encoded = "".join(part.removeprefix("@") for part in path.relative_to(records).parts)
            time = read_json(path).get("endtime")
            try:
                name = urlsafe_b64decode(encoded).decode()
            except ValueError as error:
                raise BadInput(f"{path}: not a record of Snakemake; copy the folder again") from error
            if isinstance(time, int | float):
                found[name] = float(time)
    return found


def restore(results: Path, records: Path, root: Path) -> int:
    """Set the times of an experiment's files and return their number.

    Args:
        results: folder of the experiment.
        records: Snakemake's records.
        root: of the repository, to which the records' names are relative.

    Raises:
        BadInput: a file was changed, the list or the records are missing or damaged, the folder is elsewhere,
            or no record fits.
    """
    differences = compare(results)
    if differences.changed:
        raise BadInput(
            f"{results}: {len(differences.changed)} files are not as {FILE} lists them, such as "
            f"{differences.changed[0]}; python -m workflow.verify {results} names all, copy them again"
        )
    if not results.resolve().is_relative_to(root.resolve()):
        raise BadInput(
            f"{results}: not below {root.resolve()}, whose records name its files; copy it there, or run "
            "this in the root of the repository that holds it"
        )
    place = results.resolve().relative_to(root.resolve())
    times = recorded_times(records)
    restored = 0
    for name in [*sorted(set(read_outputs(results)) - set(differences.missing)), FILE]:
        time = times.get((place / name).as_posix())
        if time is not None:
            os.utime(results / name, (time, time))
            restored += 1
    if not restored:
        raise BadInput(f"{records}: holds no record of a file in {results}; copy both from the same place")
    return restored


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.restore_times", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of an experiment, such as results/demo")
    arguments = parser.parse_args()
    count = restore(arguments.results, RECORDS, Path.cwd())
    sys.stdout.write(f"{arguments.results}: {count} files have their times again\n")


if __name__ == "__main__":
    run_command(main)
