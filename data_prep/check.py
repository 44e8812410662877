"""Tell in seconds whether a folder of published scans can be used, what is excluded, and why.

``python -m data_prep.check /data/IXI`` reads names and headers only; ``--deep`` reads every voxel, too. The
exit code is the verdict: 0 all can be used, 3 some are to be excluded (``bad_scans: exclude``), 1 too few are
left to give each split one, or two splits would share a person. Whether they fill the splits of a
configuration, ``snakemake -n`` tells.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from rich.console import Console

from data_prep.datasets.contract import DatasetId, dataset_of, discover
from data_prep.datasets.folder import empty, exit_code, print_report, write_csv
from data_prep.datasets.forms import advice, nothing_in
from data_prep.datasets.misnamed import misnamed
from data_prep.errors import BadInput, printable
from data_prep.io.command import Choices, command
from data_prep.io.files import check_place, then_print


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


def list_options() -> Iterable[str]:
    """Return what datasets call the lists of subjects that they come with."""
    return dict.fromkeys(key for _, dataset in discover().values() for key in dataset.lists)


@command
def main(
    folder: Annotated[Path, "what datasets.<name>.root names"],
    /,
    dataset: Annotated[DatasetId | None, "default: by content"] = None,
    slices: Annotated[int, "axial slices wanted; of pairs all (default: 100)"] = 100,
    deep: Annotated[bool, "read every voxel too (minutes)"] = False,
    csv: Annotated[Path | None, "write every subject with status and reason here"] = None,
    **lists: Annotated[
        Path,
        Choices(list_options),
        "list of subjects, of datasets that have some (default: in the folder)",
    ],
) -> None:
    """Print the findings and leave with the verdict as exit code."""
    if csv:
        check_place("--csv", csv)
    if slices < 1:
        raise BadInput(f"--slices: is {slices}; give a whole number, at least 1")
    entry = dataset_of(recognise(folder, dataset, lists))
    for key in lists:
        if key not in entry.lists:
            option = f"--{key.replace('_', '-')}"
            raise BadInput(
                f"{option}: {folder} holds scans of {entry.label}, which has no such list; leave it out"
            )
    found, summary = entry.check(entry, folder, slices, deep, lists)
    if unnamed := misnamed(entry, folder):
        found, summary = [*found, *unnamed], summary | {"not taken because of their names": str(len(unnamed))}
    with then_print(partial(print_report, Console(), folder, entry, found, summary)):
        if csv:
            write_csv(csv, entry.id, found)
    if empty(found, entry):
        print(printable(f"Expected: {entry.form}. In {folder}: {advice(folder, [entry])}."))
    sys.exit(exit_code(found, entry))
