"""Tell in seconds whether a folder of published scans can be used, what is excluded, and why.

``python -m data_prep.check /data/IXI`` reads names and headers only; ``--deep`` reads every voxel, too. The
exit code is the verdict: 0 all can be used, 3 some are to be excluded (``bad_scans: exclude``), 1 too few are
left to fill every split.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from data_prep.datasets.contract import Finding, dataset_of, datasets, discover
from data_prep.datasets.folder import NOT_USABLE, exit_code, print_report, write_csv
from data_prep.datasets.forms import advice, nothing_in
from data_prep.errors import BadInput, run_command


def recognise(folder: Path, name: str | None = None, lists: Mapping[str, Path] | None = None) -> str:
    """Return which dataset a folder holds.

    Args:
        folder: of scans.
        name: the dataset, if it is known.
        lists: of its subjects.

    Raises:
        BadInput: there is no such folder, or it holds none, or several.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the one that datasets.<name>.root names")
    known = [dataset_of(name)] if name else [dataset for _, dataset in discover().values()]
    held = [dataset for dataset in known if dataset.find(folder)]
    if not held:
        raise nothing_in(folder, known, lists)
    if len(held) > 1:
        labels = " and ".join(dataset.label for dataset in held)
        raise BadInput(f"{folder}: holds scans of {labels}; give another folder, or name one with --dataset")
    return held[0].id


def _lists() -> list[str]:
    return list(dict.fromkeys(key for _, dataset in discover().values() for key in dataset.lists))


def check(options: argparse.Namespace) -> tuple[str, list[Finding], dict[str, str]]:
    """Check a folder as the command line asks; returns dataset, findings and summary."""
    given = {key: path for key in _lists() if (path := getattr(options, key)) is not None}
    dataset = dataset_of(recognise(options.folder, options.dataset, given))
    lists = {key: path for key, path in given.items() if key in dataset.lists}
    return dataset.id, *dataset.check(dataset, options.folder, options.slices, options.deep, lists)


def main() -> None:
    """Print the findings and leave with the verdict as exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.check", description=__doc__)
    parser.add_argument("folder", type=Path, help="what datasets.<name>.root names")
    parser.add_argument("--dataset", choices=datasets(), help="default: by content")
    parser.add_argument(
        "--slices", type=int, default=100, help="axial slices wanted; of pairs all (default: %(default)s)"
    )
    for key in _lists():
        parser.add_argument(
            f"--{key.replace('_', '-')}",
            type=Path,
            help="list of subjects, of datasets that come with some (default: in the folder, by its name)",
        )
    parser.add_argument("--deep", action="store_true", help="read every voxel too (minutes)")
    parser.add_argument("--csv", type=Path, help="write every subject with status and reason here")
    options = parser.parse_args()
    name, found, summary = check(options)
    dataset = dataset_of(name)
    print_report(Console(), options.folder, dataset, found, summary)
    if options.csv:
        write_csv(options.csv, name, found)
    if (code := exit_code(found, dataset)) == NOT_USABLE:
        print(f"Expected: {dataset.form}. In {options.folder}: {advice(options.folder, [dataset])}.")
    sys.exit(code)


if __name__ == "__main__":
    run_command(main)
